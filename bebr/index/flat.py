"""FlatIndex: every code is scored."""

from __future__ import annotations

from numpy.typing import ArrayLike

from bebr import core
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import PreparedQueries, Query
from bebr.device import Device, on_a_device
from bebr.index.base import Hits, RangeHits, check_binarizer, check_oversampling, row_format
from bebr.index.device import DeviceIndex, Resident
from bebr.index.raw import RawType, RawVectors

# Fewer candidates than this a query are not worth saving.
_FEWEST_CANDIDATES = 64


class FlatIndex(DeviceIndex):
    """An index that scores every code, so it misses only what the codes themselves lose.

    >>> index = bebr.FlatIndex(bebr.train(x, bytes_per_vector=52))
    >>> index.add(x)
    >>> scores, ids = index.search(queries, 10)

    A search reads the sign plane of every row, and all planes of the best few (``oversampling``). Any number of threads
    may search while one adds or removes. An index opened by :func:`open_index` with ``mmap=True`` refuses ``add``.

    rescore: ``"float16"`` or ``"int8"`` keeps the vectors with the codes; the best by code then get exact scores.
    device: ``"cuda"`` or ``"cuda:1"``: searches run there, over all planes of all rows, and find what ``exact=True``
        finds on the CPU, to the bit (docs/gpu.md). ``["cuda:0", "cuda:1"]``: each has a part of the rows. Host memory
        keeps rows and vectors as well. ``DeviceUnavailable`` says why a device cannot be used.
    resident: as in :meth:`to`.
    """

    def __init__(
        self,
        binarizer: Binarizer,
        *,
        rescore: RawType | None = None,
        device: Device = "cpu",
        resident: Resident = None,
    ) -> None:
        self._binarizer = check_binarizer(binarizer)
        self._raw = RawVectors.make(rescore, binarizer)
        self._engine = core.Index.flat(row_format(binarizer))
        self._next_id = 0
        self.to(device, resident=resident)

    @classmethod
    def _of(cls, bz: Binarizer, engine: core.Index) -> FlatIndex:
        """An index of rows that are there already."""
        index = cls.__new__(cls)
        index._binarizer, index._engine, index._next_id = bz, engine, 0
        return index

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        query: Query = "float",
        oversampling: int | None = None,
        exact: bool = False,
        radius: float | None = None,
        allow: ArrayLike | None = None,
        rescore: int | None = None,
        binarizer: Binarizer | None = None,
    ) -> Hits:
        """The k best rows for each query.

        queries: float32[n, d] or [d]. If they are on this index's device, so is the answer (docs/gpu.md).
        query: ``"float"`` (ADC) or ``"code"`` (SDC, the paper's mode).
        oversampling: fewest candidates kept after the first stage, as a multiple of k. Larger is slower and recalls
            more. None: as many as training measured. Large batches then score all planes of all rows, which is faster
            for them and finds no less.
        exact: the result equals scoring all planes of all rows: a row is ruled out only by an upper bound on its score.
            Not together with ``oversampling``. On a device every search is exact.
        radius: only rows at least this similar (l2: at most this squared distance).
        allow: int64 ids; only these are considered.
        rescore: how many of the best by code get exact scores from the kept vectors, at least k; the k best of these
            are returned with those scores. 0: scores by code. None: 3 k + 20 if vectors are kept
            (docs/experiments/rescoring-candidates.md). The exact score is always that of the float query.
        binarizer: the model of the queries where it is a newer one than the codes'; the scores come out as on its own
        codes (:meth:`Binarizer.prepare_for`). Raises ``ValueError``; :class:`IncompatibleModel`.
        """
        model = binarizer or self._binarizer
        prepared = model._given(self._binarizer, self._on_host(queries, model.query_dim), query)
        return self.search_prepared(
            prepared,
            k,
            oversampling=oversampling,
            exact=exact,
            radius=radius,
            allow=allow,
            rescore=rescore,
            there=on_a_device(queries),
        )

    def search_prepared(
        self,
        prepared: PreparedQueries,
        k: int,
        *,
        oversampling: int | None = None,
        exact: bool = False,
        radius: float | None = None,
        allow: ArrayLike | None = None,
        rescore: int | None = None,
        batch_invariant: bool = False,
        there: bool = False,
    ) -> Hits:
        """:meth:`search` for queries that :meth:`Binarizer.prepare` has already projected into code space.

        batch_invariant: results do not depend on which queries share the batch. Servers set this, because they merge
        requests of different clients into one call. It costs up to half the throughput of large batches.
        there: the answer is arrays on this index's device (docs/gpu.md).
        """
        candidates = self._candidates(prepared, k, rescore)
        if (device := self._device) is not None:
            if check_oversampling(oversampling, exact) is not None:
                raise ValueError(
                    f"oversampling is {oversampling!r} on {device.device!r}: want None, for all rows are scored"
                )
            return self._found_on(device, prepared, k, candidates, radius, allow, there)
        self._check_there(there)
        return self._found(
            prepared,
            k,
            candidates,
            radius,
            allow,
            exact=exact,
            batch_invariant=batch_invariant or oversampling is not None,
            first_stage_rows=self._first_stage(k, oversampling, exact, candidates),
        )

    def search_range(
        self, queries: ArrayLike, radius: float, *, query: Query = "float", allow: ArrayLike | None = None
    ) -> RangeHits:
        """Every row at least ``radius`` similar (l2: at most that squared distance), by the score of its whole code."""
        self._refuse("search_range")
        prepared = self._binarizer.prepare(queries, query)
        return self._range(prepared, radius, allow, exact=True)

    def _first_stage(self, k: int, oversampling: int | None, exact: bool, candidates: int) -> int:
        """How many rows the first stage keeps."""
        times = check_oversampling(oversampling, exact)
        if times is None:
            return first_stage_rows(self._binarizer, len(self), max(k, candidates))
        return min(max(times * k, candidates), max(len(self), 1))


def first_stage_rows(bz: Binarizer, rows: int, k: int) -> int:
    """How many of ``rows`` the first stage keeps unless a search says otherwise."""
    return max(bz.settings.first_stage_rows(rows), _FEWEST_CANDIDATES, 4 * k)
