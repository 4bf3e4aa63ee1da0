"""Typed face of the C++ extension. Errors: ValueError, FileNotFoundError, OSError, bebr.CorruptFile,
bebr.LimitExceeded."""

from collections.abc import Callable, Mapping, Sequence
from mmap import mmap

import numpy as np
from numpy.typing import NDArray

version: str
file_version: int
complete_cost: int
exact_rows: int

def isa() -> str: ...
def runnable_isas() -> list[str]: ...
def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def enter_background() -> None: ...
def foreground_calls() -> int: ...
def unpack(planes: NDArray[np.uint8], widths: list[int]) -> NDArray[np.float32]: ...
def code_norms(planes: NDArray[np.uint8], widths: list[int]) -> NDArray[np.float32]: ...

class Encoder:
    def __init__(
        self,
        architecture: str,
        widths: list[int],
        layers: list[list[tuple[NDArray[np.float32], NDArray[np.float32]]]],
        normalize: bool,
        gram: NDArray[np.float32] | None = None,
        sweeps: int = 0,
        tries: int = 0,
    ) -> None: ...
    @property
    def input_dim(self) -> int: ...
    def encode(self, x: NDArray[np.float32], bf16: bool = False, optimize: bool = True) -> NDArray[np.uint8]: ...

class Network:
    def __init__(self, layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]], name: str) -> None: ...
    @property
    def input_dim(self) -> int: ...
    @property
    def output_dim(self) -> int: ...
    def forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]: ...

class Decoder:
    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32], widths: list[int]) -> None: ...
    def decode(self, planes: NDArray[np.uint8]) -> NDArray[np.float32]: ...
    def project(self, q: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    def norms(self, planes: NDArray[np.uint8]) -> NDArray[np.float32]: ...

class RowFormat:
    """What a stored vector is: its code and the factors beside it."""

    def __init__(
        self,
        widths: list[int],
        factor: str,
        stage_factor: bool,
        factor_bytes: int,
        code: tuple[int, int] = (0, 1),
        stage_code: tuple[int, int] = (0, 1),
    ) -> None: ...
    @property
    def widths(self) -> list[int]: ...
    @property
    def factor_bytes(self) -> int: ...

class Queries:
    """A batch in code space: y float32[n, dims], base float32[n]; the same of the first stage's own decoder; vectors
    float32[n, d] where the centroids are."""

    def __init__(
        self,
        y: NDArray[np.float32],
        base: NDArray[np.float32],
        stage_y: NDArray[np.float32] | None = None,
        stage_base: NDArray[np.float32] | None = None,
        vectors: NDArray[np.float32] | None = None,
    ) -> None: ...

class StopFlag:
    """Set from any thread; a search that was given it raises bebr.errors.Cancelled soon after. And what these searches
    did, a row once for each query: how many rows they looked at, and how many of these a part of the code did not rule
    out, so that they were scored in full."""

    def __init__(self) -> None: ...
    def set(self) -> None: ...
    @property
    def is_set(self) -> bool: ...
    @property
    def scanned(self) -> int: ...
    @property
    def survivors(self) -> int: ...

class SearchOptions:
    """What a search is asked for; each kind of index reads its own options (csrc/index/options.h)."""

    def __init__(
        self,
        k: int,
        *,
        exact: bool = False,
        batch_invariant: bool = True,
        first_stage_rows: int = 0,
        nprobe: int = 1,
        margin: float = 3.0,
        enough: int = 0,
        ef_search: int = 0,
        min_scores: NDArray[np.float32] | None = None,
        stop: StopFlag | None = None,
    ) -> None: ...

class Index:
    """Rows under ids. What is of one kind alone raises ValueError for another."""

    @staticmethod
    def flat(format: RowFormat) -> Index: ...
    @staticmethod
    def ivf(format: RowFormat, centroids: NDArray[np.float32], by_product: bool) -> Index: ...
    @staticmethod
    def graph(
        format: RowFormat,
        max_degree: int,
        ef_construction: int,
        seed: int,
        inlined: int,
        gram: NDArray[np.float32],
        mean: NDArray[np.float32],
        mean_norm: float,
        scale: float,
        offset: float,
        augment_norm: bool,
    ) -> Index: ...
    @property
    def kind(self) -> str: ...
    @property
    def format(self) -> RowFormat: ...
    @property
    def immutable(self) -> bool: ...
    @property
    def max_id(self) -> int: ...
    @property
    def ids(self) -> NDArray[np.int64]: ...
    def __len__(self) -> int: ...
    def add(
        self,
        planes: NDArray[np.uint8],
        factors: NDArray[np.uint8],
        ids: NDArray[np.int64],
        lists: NDArray[np.uint32] | None = None,
    ) -> None: ...
    def remove(self, ids: NDArray[np.int64]) -> int: ...
    def contains(self, id: int) -> bool: ...
    def positions(self, ids: NDArray[np.int64]) -> NDArray[np.int64]: ...
    def following(self, after: int, skip: int, count: int) -> NDArray[np.int64]: ...
    def rows(
        self, ids: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]: ...
    def search(
        self, queries: Queries, options: SearchOptions, allow: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...
    def search_given(
        self,
        model: QueryModel,
        x: NDArray[np.float32],
        coded: bool,
        options: SearchOptions,
        allow: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Of queries as they are given, x float32[n, query_dim], finite; scores in the metric's own unit."""

    def range(
        self, queries: Queries, options: SearchOptions, allow: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]: ...
    def by_whole_codes(self, queries: int, options: SearchOptions, filtered: bool) -> bool: ...
    def save(self, path: str, extra: Mapping[str, bytes | mmap], raw: RawVectors | None = None) -> None: ...
    @property
    def list_sizes(self) -> list[int]: ...
    def rows_in_lists(
        self,
    ) -> tuple[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]], NDArray[np.uint64]]:
        """All rows, list after list, and how many each list has."""
    def looked_at(
        self,
        queries: Queries,
        options: SearchOptions,
        allow: NDArray[np.int64] | None = None,
        dead: NDArray[np.uint64] | None = None,
        rows: NDArray[np.uint64] | None = None,
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]] | None:
        """``(begin, lists)``: an exact search of query i looks at ``lists[begin[i] : begin[i + 1]]``; None: it looks at
        all allowed rows. dead, rows: bitmaps by position, of an index from which none were removed."""
    @property
    def centroids(self) -> NDArray[np.float32]: ...
    def assign(self, x: NDArray[np.float32]) -> NDArray[np.uint32]: ...
    @property
    def max_degree(self) -> int: ...
    @property
    def inlined(self) -> int: ...
    @property
    def node_bytes(self) -> int: ...

class ListCopy:
    """Some rows of an ivf index that was opened, copied bit by bit. rows: a bitmap by position; ``ValueError`` for one
    of fewer bits than there are rows."""

    def __init__(self, index: Index, rows: NDArray[np.uint64]) -> None: ...
    def grow(self, rows: int) -> bool:
        """Copy so many more, up to the end of a list, or those that are left; whether these are all."""
    def freeze(self, model: QueryModel) -> Index:
        """All of them, in the same lists, which queries far from them rank by what these rows' codes stand for. model:
        of the codes. ``ValueError`` before they are copied."""

class TailRows:
    """Rows that are only appended; ids may be there already."""

    def __init__(self, format: RowFormat) -> None: ...
    def __len__(self) -> int: ...
    def reserve(self, rows: int) -> None: ...
    def append(self, planes: NDArray[np.uint8], factors: NDArray[np.uint8], ids: NDArray[np.int64]) -> None: ...
    def freeze(self) -> Index: ...
    def positions(self, ids: NDArray[np.int64]) -> NDArray[np.int64]: ...

def search(
    segments: list[tuple[Index, NDArray[np.uint64] | None, int | None, NDArray[np.uint64] | None, int]],
    queries: Queries,
    options: SearchOptions,
    allow: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """segments: index, bitmap of removed rows, how many they are where it is known, bitmap of allowed rows, nprobe or
    ef_search in place of the options' (0: the options')."""

def count_bits(words: NDArray[np.uint64]) -> int: ...
def default_candidates(k: int) -> int: ...
def scores_all(rows: int, row_bytes: int) -> bool: ...

class QueryModel:
    """Queries on their way to codes. metric: "cosine", "ip" or "l2"; adapter: what queries pass first; scale, offset:
    of the factors of l2."""

    def __init__(
        self,
        metric: str,
        encoder: Encoder,
        decoder: Decoder | None,
        stage: Decoder | None,
        adapter: Network | None,
        skip: float,
        scale: float,
        offset: float,
    ) -> None: ...
    def vectors(self, x: NDArray[np.float32], coded: bool) -> NDArray[np.float32]:
        """In the decoder's space; coded: what the code of each query stands for."""

    def project(self, q: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """y, base and offset of what `vectors` gave."""

    def project_stage(self, q: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

class TextColumn:
    """A text a row: payloads, or keys of ids."""

class MappedTexts(TextColumn):
    """Of a file: where each text begins and the last one ends, uint64[rows + 1], and all texts, uint8."""

    def __init__(self, at: NDArray[np.uint64], text: NDArray[np.uint8]) -> None: ...

class GrowingTexts(TextColumn):
    """Of rows in memory that are only appended to, by one thread; any number read. IndexError for a row that is not
    there."""

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def append(self, texts: Sequence[bytes]) -> None: ...
    def append_empty(self, rows: int) -> None: ...
    def __getitem__(self, row: int) -> bytes: ...
    def take(self, rows: NDArray[np.int64]) -> list[bytes]: ...
    def lengths(self, rows: NDArray[np.int64]) -> NDArray[np.int64]: ...

class CollectionPart:
    """Rows that never change: those of a file, or of a frozen tail with what finds ids in it. hidden: a bitmap of rows
    that no search finds; kept: blocks of their vectors as they are stored, all but the last of equal size; efforts:
    lists or candidates by k, as of `bebr.index.segments.Effort`, none where every row is looked at; payloads, keys:
    None where no row has one; allow: a bitmap of the rows that a filter lets through, None for all;
    apart: of a mapped file whose vectors stand in an order of their own, in place of kept."""

    def __init__(
        self,
        index: Index,
        hidden: NDArray[np.uint64] | None,
        kept: list[NDArray[np.uint8]],
        efforts: list[tuple[int, int]],
        tail: TailRows | None = None,
        payloads: TextColumn | None = None,
        keys: TextColumn | None = None,
        allow: NDArray[np.uint64] | None = None,
        apart: RawVectors | None = None,
    ) -> None: ...

class ByteBudget:
    """Bytes that calls in progress may hold together. Threads: any number."""

    def __init__(self, total: int) -> None: ...
    @property
    def total(self) -> int: ...
    @property
    def held(self) -> int: ...
    def take(self, size: int, most: int) -> bool:
        """Counts so many bytes, unless more than `most` would be held then."""

    def give_back(self, size: int) -> None: ...

class Searcher:
    """A collection at one moment, for the server's front."""

class CollectionSearch:
    """What a search of a collection is asked for: as of `SearchOptions`; coded: the query is a code. allow: only these
    ids."""

    def __init__(
        self,
        k: int,
        *,
        coded: bool = False,
        oversampling: int | None = None,
        exact: bool = False,
        radius: float | None = None,
        rescore: int | None = None,
        nprobe: int | None = None,
        ef_search: int | None = None,
        stop: StopFlag | None = None,
        allow: NDArray[np.int64] | None = None,
    ) -> None: ...

class CodeSearcher(Searcher):
    def search(
        self, queries: NDArray[np.float32], asked: CollectionSearch
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...
    def search_rows(
        self, of: NDArray[np.int64], asked: CollectionSearch
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The rows most like each of some rows, itself left out."""

class Candidates:
    """How many of the best by code get exact scores where a search does not say. rows: of each file, how many are
    searched, and by k how many of their best by code hold their k best by exact scores; none where that was not
    measured."""

    def __init__(self, rows: list[tuple[int, list[tuple[int, int]]]]) -> None: ...
    def at(self, k: int) -> int:
        """Of a search for k among all of them: 3 k + 20 at least, and else 4,096 at most."""

class CollectionSnapshot(CodeSearcher):
    """Parts of one model. rows: how many are live; first_stage_rows: as training measured it for so many; kept: the
    type of the vectors beside the codes; candidates: of searches, where there are some."""

    def __init__(
        self,
        model: QueryModel,
        parts: list[CollectionPart],
        rows: int,
        first_stage_rows: int,
        margin: float,
        kept: str | None,
        candidates: Candidates,
    ) -> None: ...

class FilteredSnapshot(CodeSearcher):
    """Rows of a snapshot that a filter lets through. parts: their codes, where they stand or copied; candidates: how
    many of them the first stage keeps at least; allow: a bitmap of them for each part of the whole."""

    def __init__(
        self,
        whole: CollectionSnapshot,
        parts: list[CollectionPart],
        candidates: int,
        allow: list[NDArray[np.uint64]],
    ) -> None: ...

class GroupColumn:
    """The values that the rows of a part have at a path of their payloads: numbers, int64, or places in `texts`, which
    are JSON, "" for what is no value to group by. rows: of the values, ascending; None: each row has one."""

    def __init__(
        self,
        values: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int64],
        texts: list[str],
        rows: NDArray[np.uint32] | None,
    ) -> None: ...

class GroupedSnapshot(CodeSearcher):
    """`some`: the rows that have a value and that a filter lets through; columns: one a part of the whole."""

    def __init__(self, some: FilteredSnapshot, columns: list[GroupColumn]) -> None: ...
    def search_groups(
        self, queries: NDArray[np.float32] | NDArray[np.int64], asked: CollectionSearch, size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], list[str]]:
        """asked.k groups of up to `size` rows for each query, or for each of some rows int64[n]: scores and ids
        [n, k * size], and the values of all groups, "" where there are no more."""

class Centroids:
    def __init__(self, values: NDArray[np.float32]) -> None: ...
    def assign(self, x: NDArray[np.float32], roughly: bool = False) -> NDArray[np.uint32]: ...

def list_means(
    x: NDArray[np.float32], lists: NDArray[np.uint32], before: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...

class IvfBuild:
    def __init__(
        self,
        format: RowFormat,
        centroids: NDArray[np.float32],
        by_product: bool,
        raw: str | None = None,
        most_direct: int = 4096,
    ) -> None: ...
    def raw_rows(self, x: NDArray[np.float32]) -> NDArray[np.uint8]: ...
    def assign(self, x: NDArray[np.float32], roughly: bool = False) -> NDArray[np.uint32]: ...
    def write_chunk(
        self,
        path: str,
        first_row: int,
        planes: NDArray[np.uint8],
        factors: NDArray[np.uint8],
        lists: NDArray[np.uint32],
        ids: NDArray[np.int64] | None,
        raw: NDArray[np.uint8] | None = None,
    ) -> None: ...
    def chunk_rows(self, path: str) -> tuple[int, int]: ...
    def merge(
        self,
        path: str,
        chunks: list[str],
        extra: Mapping[str, bytes | mmap],
        memory: int,
        progress: Callable[[int, int], None],
    ) -> None: ...

class RawVectors:
    def __init__(self, dim: int, type: str) -> None: ...
    def __len__(self) -> int: ...
    @property
    def mapped(self) -> bool: ...
    @property
    def dim(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def row_bytes(self) -> int: ...
    def add(self, x: NDArray[np.float32], ids: NDArray[np.int64]) -> None: ...
    def remove(self, ids: NDArray[np.int64]) -> int: ...
    def values(self, ids: NDArray[np.int64]) -> NDArray[np.float32]: ...
    def stored(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]: ...
    def rescore(
        self,
        queries: NDArray[np.float32],
        candidates: NDArray[np.int64],
        k: int,
        squared_distance: bool,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...

def store_raw(x: NDArray[np.float32], type: str) -> NDArray[np.uint8]: ...
def load_raw(rows: NDArray[np.uint8], type: str) -> NDArray[np.float32]: ...
def take_rows(rows: NDArray[np.uint8], which: NDArray[np.int64]) -> NDArray[np.uint8]: ...
def raw_best(
    rows: NDArray[np.uint8],
    type: str,
    ids: NDArray[np.int64],
    queries: NDArray[np.float32],
    which: NDArray[np.int64],
    k: int,
    squared_distance: bool,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...
def join_texts(at: NDArray[np.uint64], text: NDArray[np.uint8], rows: NDArray[np.int64]) -> bytes: ...
def plain_payloads(payloads: list[str]) -> bool: ...
def few_vectors(x: object, dim: int) -> NDArray[np.float32] | None: ...
def read_hits(reply: bytes, width: int, ascending: bool) -> tuple[NDArray[np.float32], NDArray[np.int64], bool]: ...
def payload_fields(
    payloads: list[bytes], most_paths: int, most_depth: int
) -> (
    tuple[
        bool,
        list[
            tuple[
                str,
                int,
                bool,
                bool,
                NDArray[np.uint32],
                NDArray[np.uint8],
                NDArray[np.int64],
                list[str],
            ]
        ],
    ]
    | None
):
    """None where Python is to read the texts; else whether no path is missing, and the fields: path, kinds of values
    together, whether some are elements of lists, and some not, the row of each value, its kind (`ValueType` of
    csrc/payload/fields.h), its data, and distinct texts."""

class FileCheck:
    """The checksums of a file, piece by piece (csrc/base/file_check.h)."""

    def __init__(self, path: str) -> None: ...
    def step(self, most: int) -> bool: ...

def open_index(path: str, map: bool, verify: bool) -> tuple[Index, dict[str, NDArray[np.uint8]], RawVectors | None]: ...
