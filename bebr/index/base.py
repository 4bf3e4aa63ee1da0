"""What the indexes over codes share. Conventions of the field: float32 in, (scores, ids) out, int64 ids, -1 for a
missing result."""

from __future__ import annotations

import os
from abc import ABC
from collections.abc import Callable, Mapping
from functools import lru_cache
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr import core
from bebr.arrays import Floats, Ids, as_ids, as_radius, as_vectors
from bebr.attributes import KnownAttributes
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes, GivenQueries, PreparedQueries
from bebr.binarizer.factors import ByteCode
from bebr.index.raw import RawType, RawVectors, check_rescore, default_candidates


class Hits(NamedTuple):
    """Results of a search, best first: scores float32[n, k] (l2: squared distances, ascending) and ids int64[n, k].

    Where fewer than k results exist, the id is -1 and the score -inf (l2: +inf).
    """

    scores: Floats
    ids: Ids


class RangeHits(NamedTuple):
    """Results of a range search: offsets int64[n + 1], scores float32[total], ids int64[total].

    Those of query i are ``scores[offsets[i]:offsets[i + 1]]`` and the same of ``ids``, best first.
    """

    offsets: Ids
    scores: Floats
    ids: Ids


class Index(KnownAttributes, ABC):
    """Rows of codes under int64 ids. Threads: any number may search while one adds or removes.

    Indexes are pickled and copied as the bytes of their files (:meth:`save`); a mapped index by the absolute path of
    its file, unless rows were removed since it was opened. Copies search on the CPU, wherever this index does.
    """

    _binarizer: Binarizer
    _engine: core.Index
    _next_id: int
    _raw: RawVectors | None = None
    _file: tuple[str, str] | None = None
    """Path and digest of the file that holds these rows, of a mapped index from which none were removed."""
    _placed_by_vector = False
    """Whether a row's place goes by its vector rather than its code."""

    @property
    def binarizer(self) -> Binarizer:
        """The model of every code in this index."""
        return self._binarizer

    @property
    def raw_type(self) -> RawType | None:
        """What raw vectors are kept in, ``"float16"`` or ``"int8"``; None: there are none."""
        return None if self._raw is None else self._raw.kind

    @property
    def bytes_per_vector(self) -> float:
        """Bytes kept for one vector: code, factors and, where there is one, the raw vector; ids not."""
        return self._binarizer.bytes_per_vector + self._raw_bytes

    @property
    def _raw_bytes(self) -> int:
        return 0 if self._raw is None else self._raw.core.row_bytes

    @property
    def kind(self) -> str:
        """``"flat"``, ``"ivf"`` or ``"graph"``."""
        return self._engine.kind

    def __len__(self) -> int:
        return len(self._engine)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, int | np.integer) and -1 < int(id) < 1 << 63 and self._engine.contains(int(id))

    @property
    def ids(self) -> Ids:
        """int64[rows], the ids of the rows by position, removed ones included. Of a mapped index or a frozen tail a
        read-only view; else a copy, for positions change when rows are removed."""
        return self._engine.ids

    def positions(self, ids: ArrayLike) -> Ids:
        """int64[n], where the rows of ``ids`` int64[n] stand; -1: not here, or removed."""
        return self._engine.positions(as_ids(ids, "ids"))

    def following(self, after: int, count: int, skip: int = 0) -> Ids:
        """The positions of the next rows in the order of their ids, int64[up to ``count``]: above ``after``, without
        the first ``skip`` of these. Removed rows are among them; -1: a damaged entry of a mapped file."""
        return self._engine.following(after, skip, count)

    def add(self, x: ArrayLike, ids: ArrayLike | None = None) -> None:
        """Add vectors float32[n, d] under ``ids`` int64[n], by default the next numbers after the largest id so far.

        ``ValueError`` for a wrong shape, NaN, or an id that is negative, repeated or present; then nothing is added.
        """
        floats = as_vectors(x, "x", self._binarizer.input_dim)
        codes = self._binarizer.encode(floats)
        numbers = self._new_ids(len(codes)) if ids is None else as_ids(ids, "ids", len(codes))
        wanted = self._raw is not None or self._placed_by_vector
        vectors = self._binarizer.vectors(floats) if wanted else None
        if self._raw is None or vectors is None:
            return self._add_all(codes, numbers, vectors)
        with self._raw.adding(vectors, numbers, lambda: int(numbers[0]) in self):
            self._add_all(codes, numbers, vectors)

    def add_codes(self, codes: Codes, ids: ArrayLike) -> None:
        """Add codes of this index's binarizer. Errors as :meth:`add`; ``ValueError`` if raw vectors are kept."""
        if self._raw is not None:
            raise ValueError(
                f"this index keeps raw vectors (rescore={self._raw.kind!r}), and codes come without them: "
                "add() the vectors, or make the index without rescore="
            )
        self._binarizer._check_codes(codes)
        numbers = as_ids(ids, "ids", len(codes))
        self._add_all(codes, numbers, self._binarizer.reconstructed(codes) if self._placed_by_vector else None)

    def _add_all(self, codes: Codes, ids: Ids, vectors: Floats | None) -> None:
        """Rows, and the next number after them."""
        try:
            self._add(codes, ids, vectors)
        except KeyboardInterrupt:  # it may come when they are there
            if len(ids) and int(ids[0]) in self:
                self._took(ids)
            raise
        self._took(ids)

    def _add(self, codes: Codes, ids: Ids, vectors: Floats | None) -> None:
        """Add rows; vectors float32[n, inner_dim]: what they stand for, where :attr:`_placed_by_vector`."""
        lists = self._lists_of(vectors)
        self._engine.add(np.ascontiguousarray(codes.planes), codes.factor_rows(), ids, lists)

    def _lists_of(self, vectors: Floats | None) -> NDArray[np.uint32] | None:
        """The lists in which rows have their places, where there are lists."""
        return None

    def _new_ids(self, count: int) -> Ids:
        if self._next_id + count > 1 << 63:
            raise ValueError(
                f"no automatic ids are left: the largest id is {self._next_id - 1}: give ids, from 0 to 2^63 - 1"
            )
        return np.arange(count, dtype=np.int64) + min(self._next_id, (1 << 63) - 1)

    def _took(self, ids: Ids) -> None:
        if len(ids):
            self._next_id = max(self._next_id, int(ids.max()) + 1)

    def remove(self, ids: ArrayLike) -> int:
        """Remove ``ids`` int64[n]; those not present are passed over. Returns how many were removed; the space comes
        back."""
        numbers = as_ids(ids, "ids")
        if self._raw is None:
            removed = self._engine.remove(numbers)
        else:
            with self._raw.removing(numbers, self.positions):
                removed = self._engine.remove(numbers)
        if removed:
            self._file = None
        return removed

    def codes(self, ids: ArrayLike | None = None) -> tuple[Codes, Ids]:
        """Copies of codes and their ids: of ``ids`` int64[n] in that order, or of every row in the index's own order.

        ``KeyError`` names an id that is not here.
        """
        planes, factors, numbers = self._engine.rows(None if ids is None else as_ids(ids, "ids"))
        return Codes.of_rows(planes, factors, self._binarizer.settings.factor_bytes), numbers

    def vectors(self, ids: ArrayLike) -> Floats:
        """The vectors of rows ``ids`` int64[n], float32[n, d]: raw ones where they are kept, else what codes stand for;
        of unit length for cosine. With an input adapter they are what it made of them. ``KeyError`` names an id that is
        not here."""
        codes, numbers = self.codes(ids)
        if self._raw is not None:
            return self._raw.core.values(numbers)
        bz = self._binarizer
        return bz._scored(codes) if bz.metric == "ip" else bz.reconstructed(codes)

    search: Callable[..., Hits]
    """The k best rows for each query float32[n, d]: ``search(queries, k=10, ...)``; options are the index's own."""
    search_prepared: Callable[..., Hits]
    """:attr:`search` for queries that :meth:`Binarizer.prepare` has already projected into code space."""

    def _found(
        self,
        prepared: PreparedQueries,
        k: int,
        candidates: int,
        radius: float | None,
        allow: ArrayLike | None,
        *,
        exact: bool = False,
        batch_invariant: bool = False,
        **options: Any,
    ) -> Hits:
        """A search by code for :meth:`_candidates`, and its answer; options: those of ``core.SearchOptions``."""
        radius = None if radius is None else as_radius(radius)
        min_scores = None if radius is None or candidates else self._binarizer.engine_min_scores(radius, prepared)
        how = search_options(
            max(k, candidates), min_scores=min_scores, exact=exact, batch_invariant=batch_invariant, **options
        )
        allowed = None if allow is None else as_ids(allow, "allow")
        if isinstance(prepared, GivenQueries) and not candidates and radius is None:
            return Hits(*self._engine.search_given(prepared.model, prepared.x, prepared.coded, how, allowed))
        first_stage = not exact and not self._engine.by_whole_codes(len(prepared.y), how, allow is not None)
        scores, ids = self._engine.search(core_queries(prepared, first_stage), how, allowed)
        return self._within(radius, self._answer(prepared, k, candidates, scores, ids))

    def _range(
        self, prepared: PreparedQueries, radius: float, allow: ArrayLike | None, *, exact: bool, **options: Any
    ) -> RangeHits:
        """Every row within the radius, by code."""
        how = core.SearchOptions(
            1, exact=exact, min_scores=self._binarizer.engine_min_scores(radius, prepared), **options
        )
        allowed = None if allow is None else as_ids(allow, "allow")
        offsets, scores, ids = self._engine.range(core_queries(prepared, not exact), how, allowed)
        return RangeHits(offsets, self._binarizer.range_scores(scores, offsets, prepared), ids)

    def _candidates(self, prepared: PreparedQueries, k: int, rescore: int | None) -> int:
        """How many rows a search by code has to find; 0: k, and their scores by code are the answer's."""
        wanted = check_rescore(rescore, check_k(k))
        if self._raw is None and wanted:
            raise ValueError(
                f"rescore is {rescore}, but this index keeps no raw vectors: make it with rescore='float16'"
            )
        if self._raw is None or wanted == 0:
            return 0
        if prepared.exact is None:
            raise ValueError(
                "these queries are another model's, so they have no exact score with the raw vectors kept here: "
                "search with rescore=0, by code alone"
            )
        return default_candidates(k) if wanted is None else wanted

    def _answer(self, prepared: PreparedQueries, k: int, candidates: int, scores: Floats, ids: Ids) -> Hits:
        """Of what a search by code found for :meth:`_candidates`."""
        if self._raw is None or candidates == 0 or prepared.exact is None:
            return Hits(self._binarizer.metric_scores(scores, prepared), ids)
        return Hits(*self._raw.rescored(prepared.exact, ids, k))

    def _within(self, radius: float | None, hits: Hits) -> Hits:
        """Without what lies beyond the radius, in place: exact scores are not those that the engine went by."""
        if radius is not None:
            l2 = self._binarizer.metric == "l2"
            beyond = hits.scores > radius if l2 else hits.scores < radius
            hits.scores[beyond], hits.ids[beyond] = (np.inf if l2 else -np.inf), -1
        return hits

    def search_ids(self, ids: ArrayLike, k: int = 10, **options: Any) -> Hits:
        """The k rows most like each row of ``ids`` int64[n], itself left out: its raw vector, where one is kept, is the
        query, else what its code stands for.

        options: those of :meth:`search` but ``query`` and ``binarizer``. ``KeyError`` names an id that is not here.
        """
        codes, numbers = self.codes(ids)
        if len(numbers) == 0:
            raise ValueError("ids is empty: want at least one id")
        vectors = self._binarizer.reconstructed(codes) if self._raw is None else self._raw.core.values(numbers)
        prepared = self._binarizer.prepare_vectors(vectors)
        if rescore := check_rescore(options.get("rescore"), check_k(k)):
            options["rescore"] = rescore + 1
        hits = self.search_prepared(prepared, check_k(k) + 1, **options)
        # Itself is among the results, or was not allowed, or a twin with a smaller id was last in its place.
        others = hits.ids != numbers[:, None]
        others[others.all(axis=1), -1] = False
        shape = (len(numbers), k)
        return Hits(hits.scores[others].reshape(shape), hits.ids[others].reshape(shape))

    def save(self, path: str | Path) -> None:
        """Write the index and its binarizer to one checksummed file; the old file stays until the new one is whole."""
        self._save(path, {"model": self._binarizer.to_bytes()})

    def __reduce__(self) -> tuple[Any, ...]:
        from bebr.index.files import reduced

        return reduced(self)

    def _settings(self) -> dict[str, Any]:
        """What a search of this index goes by beside its rows, by attribute."""
        return {}

    def _save(self, path: str | Path, sections: Mapping[str, bytes | mmap]) -> None:
        name = os.fsdecode(path)
        if self._raw is None:
            return self._engine.save(name, sections)
        with self._raw.writing:
            self._engine.save(name, sections, self._raw.core)


def check_binarizer(bz: Binarizer) -> Binarizer:
    """``bz`` if it is one, else ``ValueError``."""
    if not isinstance(bz, Binarizer):
        raise ValueError(f"binarizer is of type {type(bz).__name__}: want a Binarizer, of bebr.train or Binarizer.load")
    return bz


def row_format(bz: Binarizer) -> core.RowFormat:
    """What the extension must know of a binarizer's codes."""
    return core.RowFormat(*format_arguments(bz))


def format_arguments(bz: Binarizer) -> tuple[list[int], str, bool, int, tuple[int, int], tuple[int, int]]:
    """The same, for the ``RowFormat`` of any extension."""
    return (
        list(bz.widths),
        bz.settings.factor,
        bz.settings.stage_factor,
        bz.settings.factor_bytes,
        _pair(bz.settings.factor_code),
        _pair(bz.settings.stage_factor_code),
    )


def search_options(
    k: int, *, min_scores: Floats | None = None, stop: core.StopFlag | None = None, **how: Any
) -> core.SearchOptions:
    """Options as the extension takes them."""
    if min_scores is None and stop is None:
        return _shared_options(k, **how)
    return core.SearchOptions(k, min_scores=min_scores, stop=stop, **how)


# Making them takes a twentieth of a search of one query in few rows; most searches want the same.
_shared_options = lru_cache(maxsize=256)(core.SearchOptions)


def core_queries(prepared: PreparedQueries, first_stage: bool) -> core.Queries:
    """Queries as the extension takes them. first_stage: with those for the sign plane's own decoder, if it has one."""
    return core.Queries(prepared.y, prepared.base, *prepared.stage_queries(first_stage), prepared.vectors)


def check_k(k: int) -> int:
    """``k`` if it is an integer from 1 to 2^31 - 1, else ``ValueError``."""
    return check_integer("k", k, (1 << 31) - 1)


def check_oversampling(oversampling: int | None, exact: bool) -> int | None:
    """``oversampling`` as an integer of at least 1, or None. ``ValueError`` names what is wrong; ``exact`` excludes
    it."""
    if not isinstance(exact, (bool, np.bool_)):
        raise ValueError(f"exact is {exact!r}: want True or False")
    if oversampling is None:
        return None
    if exact:
        raise ValueError(f"oversampling is {oversampling!r} and exact is True: want one of them")
    return check_integer("oversampling", oversampling, (1 << 31) - 1)


def check_integer(name: str, value: int, most: int, least: int = 1) -> int:
    """``value`` if it is an integer from ``least`` to ``most``, else a ``ValueError`` that names it."""
    if type(value) is int and least <= value <= most:  # nearly always; a search comes by here five times
        return value
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}: want an integer from {least} to {most}")
    return int(value)


def _pair(code: ByteCode | None) -> tuple[int, int]:
    return (0, 1) if code is None else (code.low, code.step)
