"""IVFIndex: rows in lists by their nearest centroid; a search probes the lists nearest to its query."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr import core
from bebr.arrays import Floats, check_seed
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import PreparedQueries, Query
from bebr.device import Device, on_a_device
from bebr.errors import CorruptFile
from bebr.index.base import Hits, RangeHits, check_binarizer, check_integer, check_k, row_format
from bebr.index.calibration import calibrated
from bebr.index.device import DeviceIndex, Resident
from bebr.index.kmeans import kmeans
from bebr.index.raw import RawType, RawVectors
from bebr.index.sizes import MOST_LISTS

Margin = float | Literal["exact"] | None

# Lists probed by default, unless a target was calibrated.
_NPROBE = 16
_FILE_NPROBE = "probes"  # its name in files, which is a format and stays
# Tried by a calibration, beside the measured one: a smaller margin with more lists may be faster.
_MARGINS = (2.0, 2.3, 2.6, 3.0, 3.5)


class IVFIndex(DeviceIndex):
    """An inverted file (IVF): rows are in k-means lists, and a search scans the lists nearest to the query.

    >>> index = bebr.IVFIndex(bz, nlist=1024)
    >>> index.add(x)
    >>> index.calibrate(queries, target_recall=0.95)  # sets nprobe and margin
    >>> scores, ids = index.search(queries, 10)

    Centroids come from :meth:`train`, or from the first vectors added. An index opened by :func:`open_index` with
    ``mmap=True`` refuses ``add``.

    nlist: number of lists. About 2 to 4 times the square root of the number of rows suits most data.
    rescore, device, resident: as in :class:`FlatIndex`. On a device a search finds what ``margin="exact"`` finds on the
        CPU in the same lists, to the bit; the lists are chosen on the CPU.
    """

    _placed_by_vector = True

    def __init__(
        self,
        binarizer: Binarizer,
        nlist: int = 256,
        seed: int = 0,
        *,
        rescore: RawType | None = None,
        device: Device = "cpu",
        resident: Resident = None,
    ) -> None:
        self._binarizer = check_binarizer(binarizer)
        self._raw = RawVectors.make(rescore, binarizer)
        self._nlist, self._seed = check_integer("nlist", nlist, MOST_LISTS), check_seed(seed)
        self._next_id = 0
        self._nprobe = min(_NPROBE, self._nlist)
        self._margin: float | None = None
        # Until it is trained: no rows, and one list that stands for none.
        self._trained = False
        self._engine = self._with(np.zeros((1, binarizer.inner_dim), np.float32))
        self.to(device, resident=resident)

    def _opened(self, extra: dict[str, NDArray[np.uint8]], path: str) -> None:
        try:
            options = json.loads(extra["search"].tobytes())
            self._nprobe, self._seed = int(options[_FILE_NPROBE]), int(options["seed"])
            self._margin = None if options["margin"] is None else float(options["margin"])
        except (KeyError, ValueError, TypeError) as e:
            raise CorruptFile(f"{path}: section 'search' is missing or unreadable ({e})") from e
        self._nlist, self._trained = len(self._engine.list_sizes), True

    @property
    def nlist(self) -> int:
        """How many lists there are."""
        return self._nlist

    @property
    def list_sizes(self) -> list[int]:
        """Rows of each list."""
        return self._engine.list_sizes if self._trained else [0] * self._nlist

    @property
    def nprobe(self) -> int:
        """Lists that a search probes by default; :meth:`calibrate` sets it."""
        return self._nprobe

    @nprobe.setter
    def nprobe(self, nprobe: int) -> None:
        self._nprobe = self._check_nprobe(nprobe)

    @property
    def margin(self) -> float:
        """The margin of a search unless told otherwise: :meth:`calibrate`'s, else what the binarizer's training
        measured."""
        return self._binarizer.settings.margin if self._margin is None else self._margin

    @margin.setter
    def margin(self, margin: float) -> None:
        if not isinstance(margin, float | int | np.number):
            raise ValueError(f"margin is {margin!r}: want a number >= 0")
        self._margin = float(self._check_margin(margin))

    def calibrate(
        self, queries: ArrayLike, target_recall: float = 0.95, k: int = 10, *, truth: ArrayLike | None = None
    ) -> float:
        """Set :attr:`nprobe` and :attr:`margin` to the fastest found, on ``queries`` float32[n, d], that reach
        ``target_recall``; return the recall@k they have. Both are saved with the index.

        truth: int64[n, >= k], the ids of the exact neighbours, best first; None: recall is against looking at every
        list of codes. Use queries like those to come, not rows of the index: those find themselves too easily.
        ``ValueError`` if the codes do not reach the target, saying what they reach; on a device, where no margin is
        read.
        """
        self._refuse("calibrate")
        prepared = self._binarizer.prepare(queries)
        k = check_k(k)
        if not 0 < target_recall <= 1:
            raise ValueError(f"target_recall is {target_recall!r}: want above 0, at most 1")
        if truth is None:
            wanted = self.search_prepared(prepared, k, nprobe=self._nlist, margin="exact").ids
        else:
            wanted = np.asarray(truth)
            if wanted.ndim != 2 or len(wanted) != len(prepared.y) or wanted.shape[1] < k:
                raise ValueError(f"truth has shape {wanted.shape}: want ({len(prepared.y)}, {k} or more)")
            wanted = wanted[:, :k]
        margins = sorted({*_MARGINS, self._binarizer.settings.margin})
        found = calibrated(self, self.nlist, prepared, wanted, target_recall, margins)
        self._nprobe, self._margin = found.nprobe, found.margin
        return found.recall

    def train(self, x: ArrayLike) -> None:
        """Find the centroids of the lists by k-means over vectors float32[n, d], n >= nlist.

        ``ValueError`` if there are centroids already, or too few vectors.
        """
        if self._trained:
            raise ValueError("this index has its centroids already")
        self._train(self._binarizer.vectors(x))

    def _train(self, vectors: Floats) -> None:
        if len(vectors) < self._nlist:
            raise ValueError(f"x has {len(vectors)} vectors for {self._nlist} lists: want at least one a list")
        self._engine = self._with(kmeans(vectors, self._nlist, self._seed))
        self._trained = True

    def _with(self, centroids: Floats) -> core.Index:
        by_product = self._binarizer.metric == "ip"
        return core.Index.ivf(row_format(self._binarizer), np.ascontiguousarray(centroids), by_product)

    def _lists_of(self, vectors: Floats | None) -> NDArray[np.uint32] | None:
        assert vectors is not None
        if not self._trained:
            self._train(vectors)
        return self._engine.assign(vectors)

    def emptied(self) -> IVFIndex:
        """A new index without rows, of this one's binarizer, lists and settings."""
        return self._of(self._with(self._engine.centroids) if self._trained else None, self.raw_type)

    def _of(self, engine: core.Index | None, rescore: RawType | None = None) -> IVFIndex:
        """An index of what is in the lists of this one, with its settings; ``engine`` None: without lists so far."""
        made = IVFIndex(self._binarizer, self._nlist, self._seed, rescore=rescore)
        if engine is not None:
            made._engine, made._trained = engine, True
        made._nprobe, made._margin = self._nprobe, self._margin
        return made

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        query: Query = "float",
        nprobe: int | None = None,
        margin: Margin = None,
        radius: float | None = None,
        allow: ArrayLike | None = None,
        rescore: int | None = None,
        binarizer: Binarizer | None = None,
    ) -> Hits:
        """The k best rows for each query, among the ``nprobe`` lists nearest to it.

        queries: float32[n, d] or [d]. If they are on this index's device, so is the answer (docs/gpu.md).
        query: ``"float"`` (ADC) or ``"code"`` (SDC, the paper's mode).
        nprobe: lists to probe, 1 to ``nlist``; None: :attr:`nprobe`. Larger is slower and recalls more. More lists are
            probed if these hold fewer than k rows, or if a filter leaves few.
        margin: number of standard deviations of the planes not yet read. A row is scored over all planes if its first
            score, raised by these, reaches the k-th result so far. Larger is slower and recalls more. None: what
            training measured. ``"exact"``: an upper bound instead, so the result equals scoring all planes of all rows
            of these lists. If many queries probe a list, its rows are scored over all planes, and only ``"exact"``
            matters.
        radius: only rows at least this similar (l2: at most this squared distance), by exact scores if there are any.
        allow: int64 ids; only these are considered. k results are found wherever k allowed rows exist.
        rescore, binarizer: as in :meth:`FlatIndex.search`. Raises ``ValueError``; :class:`IncompatibleModel`.
        """
        model = binarizer or self._binarizer
        prepared = model._given(self._binarizer, self._on_host(queries, model.query_dim), query)
        return self.search_prepared(
            prepared,
            k,
            nprobe=nprobe,
            margin=margin,
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
        nprobe: int | None = None,
        margin: Margin = None,
        radius: float | None = None,
        allow: ArrayLike | None = None,
        rescore: int | None = None,
        batch_invariant: bool = False,
        there: bool = False,
    ) -> Hits:
        """:meth:`search` for queries that :meth:`Binarizer.prepare` has already projected into code space.

        batch_invariant, there: as in :meth:`FlatIndex.search_prepared`.
        """
        candidates = self._candidates(prepared, k, rescore)
        if (device := self._device) is not None:
            if margin not in (None, "exact"):
                raise ValueError(f"margin is {margin!r} on {device.device!r}: want None or 'exact', which it is there")
            lists = self._check_nprobe(nprobe)
            return self._found_on(
                device,
                prepared,
                k,
                candidates,
                radius,
                allow,
                there,
                batch_invariant=batch_invariant,
                enough=k,
                nprobe=lists,
            )
        self._check_there(there)
        return self._found(
            prepared,
            k,
            candidates,
            radius,
            allow,
            batch_invariant=batch_invariant,
            enough=k,
            **self._looked_at(nprobe, margin),
        )

    def search_range(
        self,
        queries: ArrayLike,
        radius: float,
        *,
        query: Query = "float",
        nprobe: int | None = None,
        margin: Margin = None,
        allow: ArrayLike | None = None,
    ) -> RangeHits:
        """Every row at least ``radius`` similar (l2: at most that squared distance) in the lists probed, by code."""
        self._refuse("search_range")
        prepared = self._binarizer.prepare(queries, query)
        return self._range(prepared, radius, allow, **self._looked_at(nprobe, margin))

    def _looked_at(self, nprobe: int | None, margin: Margin) -> dict[str, Any]:
        """Options of the engine."""
        width = self._check_margin(margin)
        exact = width == "exact"
        return {"nprobe": self._check_nprobe(nprobe), "exact": exact, "margin": 0.0 if exact else width}

    def _check_nprobe(self, nprobe: int | None) -> int:
        if nprobe is None:
            return self._nprobe
        if isinstance(nprobe, bool) or not isinstance(nprobe, int | np.integer) or not 1 <= nprobe <= self._nlist:
            raise ValueError(f"nprobe is {nprobe!r}: want None or an integer from 1 to {self._nlist}, the lists")
        return int(nprobe)

    def _check_margin(self, margin: Margin) -> float | Literal["exact"]:
        if margin is None or margin == "exact":
            return self.margin if margin is None else "exact"
        if isinstance(margin, bool | str) or not np.isfinite(margin) or margin < 0:
            raise ValueError(f"margin is {margin!r}: want None, a number >= 0 or 'exact'")
        return float(margin)

    def _settings(self) -> dict[str, Any]:
        return {"_nprobe": self._nprobe, "_margin": self._margin}

    def __reduce__(self) -> tuple[Any, ...]:
        if self._trained:
            return super().__reduce__()
        made = partial(IVFIndex, self._binarizer, self._nlist, self._seed, rescore=self.raw_type)
        return made, (), self._settings()

    def save(self, path: str | Path) -> None:
        if not self._trained:
            raise ValueError("this index has no centroids yet: train() it or add() vectors before it is saved")
        self._save(path, self._sections())

    def _sections(self) -> dict[str, bytes]:
        """What a file holds beside the rows and their lists; :func:`bebr.build` writes the same."""
        options = {_FILE_NPROBE: self._nprobe, "margin": self._margin, "seed": self._seed}
        return {"model": self._binarizer.to_bytes(), "search": json.dumps(options).encode()}
