"""The kinds of indexes: every code is looked at, lists, a graph."""

from __future__ import annotations

from typing import Any

from bebr.arrays import Floats
from bebr.attributes import KnownAttributes
from bebr.binarizer import Binarizer
from bebr.faiss.index import METRIC_INNER_PRODUCT, METRIC_L2, Index, Rescore
from bebr.faiss.selectors import SearchParameters, SearchParametersHNSW, SearchParametersIVF
from bebr.index import FlatIndex, GraphIndex, IVFIndex, check_integer
from bebr.index import Index as Rows


class IndexBEBR(Index):
    """Every code is looked at: FAISS's IndexPQ and its kin. Trained before rows are added."""

    def __init__(
        self, d: int, bytes_per_vector: int | None = None, metric: int = METRIC_L2, *, rescore: Rescore = None
    ) -> None:
        super().__init__(d, metric, bytes_per_vector=bytes_per_vector, rescore=rescore)

    def _made(self, bz: Binarizer, vectors: Floats | None) -> Rows:
        return FlatIndex(bz, rescore=self._rescore)


class IndexFlat(IndexBEBR):
    """Every code is looked at, and the best get exact scores from float16 vectors: FAISS's IndexFlat, in some 9 of 16
    bytes. It needs no training: the first rows that are added train it, better the more they are."""

    _trains_itself = True

    def __init__(self, d: int, metric: int = METRIC_L2, *, bytes_per_vector: int | None = None) -> None:
        super().__init__(d, bytes_per_vector, metric, rescore="float16")


class IndexFlatL2(IndexFlat):
    """:class:`IndexFlat` by squared distances."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_L2)


class IndexFlatIP(IndexFlat):
    """:class:`IndexFlat` by inner products."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_INNER_PRODUCT)


class IndexIVF(Index):
    """Codes in ``nlist`` lists, of which a search reads ``nprobe``. ``train`` finds the codes and the lists."""

    def __init__(
        self,
        d: int,
        nlist: int,
        metric: int = METRIC_L2,
        *,
        bytes_per_vector: int | None = None,
        rescore: Rescore = None,
    ) -> None:
        super().__init__(d, metric, bytes_per_vector=bytes_per_vector, rescore=rescore)
        self._nlist = check_integer("nlist", nlist, 1 << 20)
        self._nprobe: int | None = None

    @classmethod
    def _of(cls, rows: Rows) -> Index:
        index = super()._of(rows)
        assert isinstance(index, IndexIVF) and isinstance(rows, IVFIndex)
        index._nlist, index._nprobe = rows.nlist, rows.nprobe
        return index

    @property
    def nlist(self) -> int:
        """How many lists there are."""
        return self._nlist

    @property
    def nprobe(self) -> int:
        """Lists that a search reads; 16 unless it is set, where FAISS has 1."""
        return min(16, self._nlist) if self._nprobe is None else self._nprobe

    @nprobe.setter
    def nprobe(self, nprobe: int) -> None:
        self._nprobe = check_integer("nprobe", nprobe, self._nlist)

    def _made(self, bz: Binarizer, vectors: Floats | None) -> Rows:
        if vectors is None:
            assert isinstance(self._rows, IVFIndex)
            return self._rows.emptied()
        made = IVFIndex(bz, self._nlist, rescore=self._rescore)
        made.train(vectors)
        return made

    def _options(self, params: SearchParameters | None) -> dict[str, Any]:
        given = params.nprobe if isinstance(params, SearchParametersIVF) else None
        return {**super()._options(params), "nprobe": self.nprobe if given is None else given}

    def make_direct_map(self, new_maintain_direct_map: bool = True) -> None:
        """Nothing is to be done: rows are always found by their ids."""


class IndexIVFFlat(IndexIVF):
    """:class:`IndexIVF` that keeps float16 vectors. quantizer: an empty `IndexFlat` of as many dimensions, as FAISS
    asks for; rows are assigned to lists by bebr's own."""

    def __init__(self, quantizer: Index, d: int, nlist: int, metric: int = METRIC_L2) -> None:
        if not isinstance(quantizer, IndexFlat) or quantizer.d != d or quantizer.ntotal:
            raise ValueError(f"quantizer is {quantizer!r}: want an empty IndexFlat of {d} dimensions")
        super().__init__(d, nlist, metric, rescore="float16")


class _Walk(KnownAttributes):
    """What FAISS has under ``index.hnsw``."""

    def __init__(self, index: IndexHNSW) -> None:
        self._index = index

    @property
    def efSearch(self) -> int:
        """Candidates of a search's walk."""
        return self._index._ef_search

    @efSearch.setter
    def efSearch(self, ef: int) -> None:
        self._index._ef_search = check_integer("efSearch", ef, (1 << 31) - 1)

    @property
    def efConstruction(self) -> int:
        """Candidates while a row is linked; to be set before rows are added."""
        return self._index._ef_construction

    @efConstruction.setter
    def efConstruction(self, ef: int) -> None:
        if self._index.ntotal:
            raise ValueError("the index has rows, which are linked already: set efConstruction before")
        self._index._ef_construction = check_integer("efConstruction", ef, 1 << 20)
        self._index.reset()


class IndexHNSW(Index):
    """Codes as nodes of a graph with up to 2 M links each, as FAISS's have in the lowest layer: one flat layer here."""

    def __init__(
        self,
        d: int,
        M: int = 32,
        metric: int = METRIC_L2,
        *,
        bytes_per_vector: int | None = None,
        rescore: Rescore = None,
    ) -> None:
        super().__init__(d, metric, bytes_per_vector=bytes_per_vector, rescore=rescore)
        self._max_degree = 2 * check_integer("M", M, 256)
        self._ef_search, self._ef_construction = 64, 128

    @classmethod
    def _of(cls, rows: Rows) -> Index:
        index = super()._of(rows)
        assert isinstance(index, IndexHNSW) and isinstance(rows, GraphIndex)
        index._max_degree, index._ef_search, index._ef_construction = rows.max_degree, 64, 128
        return index

    @property
    def hnsw(self) -> _Walk:
        """``hnsw.efSearch`` and ``hnsw.efConstruction``."""
        return _Walk(self)

    def _made(self, bz: Binarizer, vectors: Floats | None) -> Rows:
        return GraphIndex(bz, self._max_degree, self._ef_construction, rescore=self._rescore)

    def _options(self, params: SearchParameters | None) -> dict[str, Any]:
        given = params.efSearch if isinstance(params, SearchParametersHNSW) else None
        return {**super()._options(params), "ef_search": self._ef_search if given is None else given}


class IndexHNSWFlat(IndexHNSW):
    """:class:`IndexHNSW` that keeps float16 vectors and needs no training: the first rows that are added train it."""

    _trains_itself = True

    def __init__(self, d: int, M: int = 32, metric: int = METRIC_L2) -> None:
        super().__init__(d, M, metric, rescore="float16")
