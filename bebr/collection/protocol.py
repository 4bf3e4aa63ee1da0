"""What a database and a collection offer, local (`bebr.open`) or remote (`bebr.connect`). Needs neither SQL nor
gRPC."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol

from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.bare import VectorsLike
from bebr.collection.filter_form import FilterLike
from bebr.collection.keys import Id, IdsLike
from bebr.errors import Error
from bebr.index import Hits
from bebr.index.raw import RawType

Payload = dict[str, Any]
"""What a row says beside its vector, kept as JSON: None, bools, finite numbers, text, lists and dicts of these. Dates
and times are written as ISO text, which filters compare as points in time, UUIDs as text, numpy's values as plain."""
GroupValue = str | int | float | bool
OnDuplicate = Literal["last", "error"]
"""What an upsert does with an id that comes several times in one call: keep the last row, or refuse all of them."""
OnConflict = Literal["replace", "skip", "error"]
"""What an upsert does with an id that is there already."""
Fusion = Literal["rrf"]
Metric = Literal["cosine", "ip", "l2"]
IndexKind = Literal["auto", "flat", "graph"]
"""What segments of many rows are: lists (IVF), flat like small ones, or graphs."""
TARGET_RECALL = 0.98
"""The share of what a scan of the codes finds, unless one is asked for (docs/experiments/segment-kinds.md)."""
# What vectors are kept as; "auto": float16 in a collection that is made without a model, else None.
Keep = RawType | Literal["auto"] | None


VectorStream = Iterable[tuple[IdsLike, ArrayLike]]
"""Vectors in batches: the ids of rows, and float32[n, d]."""


class CollectionHits(Hits):
    """`bebr.Hits` (it unpacks into scores and ids) with ``payloads``: k per query, or None if they were not requested.
    If a collection has strings or UUIDs among its ids, ``ids`` is an object array [n, k], with None where there are
    fewer than k rows."""

    payloads: list[list[Payload | None]] | None = None
    groups: list[list[GroupValue | None]] | None = None
    """With ``group_by=``: the values of the k groups of each query, the best first, None where there are no more; the
    hits of group g are ``[g * group_size : (g + 1) * group_size]`` of the query's, with ids of −1 where it has
    fewer."""
    missing: tuple[int, ...] = ()
    """With ``allow_partial=True``, of a collection in shards: the numbers of those that did not answer."""

    def __new__(
        cls,
        scores: Floats,
        ids: NDArray[Any],
        payloads: list[list[Payload | None]] | None = None,
        groups: list[list[GroupValue | None]] | None = None,
        missing: Iterable[int] = (),
    ) -> CollectionHits:
        hits = tuple.__new__(cls, (scores, ids))
        if payloads is not None:
            hits.payloads = payloads
        if groups is not None:
            hits.groups = groups
        if missing:
            hits.missing = tuple(sorted(missing))
        return hits


@dataclass(frozen=True, eq=False)
class Row:
    """A row, as `get` and `scroll` return it. `payload` is None if the row has none or it was not requested; so is
    `vector`, float32[d]."""

    id: Id
    payload: Payload | None = None
    vector: Floats | None = None


class AlreadyExists(Error, ValueError):
    """The name is taken; over gRPC: ALREADY_EXISTS."""


class DatabaseLocked(Error, RuntimeError):
    """Another process, or another `Database` of this one, has the data folder open; or, in a shared database, another
    process writes the collection. Over gRPC: ABORTED."""


@dataclass(frozen=True)
class ModelInfo:
    """A registered binarizer. `widths` are the dimensions of each plane; `bytes_per_vector` includes the factors;
    `query_dim` differs from `input_dim` where queries have an encoder of their own."""

    digest: str
    metric: str
    input_dim: int
    widths: tuple[int, ...]
    bytes_per_vector: int
    architecture: str
    query_dim: int

    @classmethod
    def of(cls, bz: Binarizer) -> ModelInfo:
        return cls(
            *(bz.digest, bz.metric, bz.input_dim, tuple(bz.widths), bz.bytes_per_vector, bz.architecture), bz.query_dim
        )


@dataclass(frozen=True)
class BatchingStats:
    """What a server's coalescing did since it started: `batches` kernel calls answered `requests` searches with
    `queries` queries; `largest` is the most queries in one call."""

    requests: int
    queries: int
    batches: int
    largest: int

    def beside(self, other: BatchingStats) -> BatchingStats:
        """Of both together."""
        return BatchingStats(
            self.requests + other.requests,
            self.queries + other.queries,
            self.batches + other.batches,
            max(self.largest, other.largest),
        )


@dataclass(frozen=True)
class CollectionStats:
    """Figures of a collection.

    rows, segments: live rows, and segment files.
    tail_rows: rows that are not in a segment file yet.
    dead_rows: rows in segment files that were replaced or removed.
    bytes_on_disk: of segment files and journal, payloads included.
    model, target, former: the collection's model; the digest of the model that rows are being migrated to; that of the
        model whose vectors are kept since `cutover(keep_old=True)`. Empty if there is none.
    rows_behind: rows without a code, or vector, of `target` or `former`.
    kept_bytes: of the vector kept with each code; 0 without.
    rows_by_kind: rows in files that are "flat", "ivf" or "graph".
    rows_by_device: rows that are searched on "cpu", and on a device such as "cuda:0"; empty if no device was requested.
    merging: whether files are being merged, or will be.
    batching: how a server merged searches into calls; None for a local collection.
    """

    rows: int
    segments: int
    tail_rows: int
    dead_rows: int
    bytes_on_disk: int
    model: ModelInfo
    batching: BatchingStats | None = None
    kept_bytes: int = 0
    target: str = ""
    rows_behind: int = 0
    rows_by_kind: Mapping[str, int] = field(default_factory=dict)
    rows_by_device: Mapping[str, int] = field(default_factory=dict)
    former: str = ""
    merging: bool = False

    @property
    def bytes_per_vector(self) -> int:
        """Code, factors and the kept vector."""
        return self.model.bytes_per_vector + self.kept_bytes


@dataclass(frozen=True)
class RecallEstimate:
    """A measured `recall` at `k`, over `queries` queries. The interval from `low` to `high` contains the true recall in
    95 of 100 measurements."""

    recall: float
    low: float
    high: float
    queries: int
    k: int


@dataclass(frozen=True)
class SnapshotInfo:
    """A snapshot of a database.

    name: unique, ordered by time.
    created: ISO 8601, UTC.
    collections: the version of each collection.
    files, bytes: everything that the snapshot consists of.
    new_files, new_bytes: what was copied for it; earlier snapshots had the rest.
    """

    name: str
    created: str
    collections: Mapping[str, int]
    files: int
    bytes: int
    new_files: int
    new_bytes: int


class CollectionLike(Protocol):
    """A named set of rows (id, code, payload) that share one binarizer."""

    @property
    def name(self) -> str: ...

    @property
    def binarizer(self) -> Binarizer: ...

    def __len__(self) -> int: ...

    def upsert(
        self,
        ids: IdsLike,
        x: VectorsLike,
        payloads: Sequence[Payload | None] | None = None,
        *,
        on_duplicate: OnDuplicate = "last",
        on_conflict: OnConflict = "replace",
    ) -> int: ...

    def set_payloads(self, ids: IdsLike, payloads: Sequence[Payload | None], *, merge: bool = False) -> int: ...

    def delete(self, ids: IdsLike | None = None, *, filter: FilterLike | None = None) -> int: ...

    def count(self, filter: FilterLike | None = None) -> int: ...

    def truncate(self) -> int: ...

    def search(
        self,
        q: ArrayLike | None,
        k: int = 10,
        *,
        query: Query = "float",
        oversampling: int | None = None,
        exact: bool = False,
        nprobe: int | None = None,
        ef_search: int | None = None,
        allow: IdsLike | None = None,
        filter: FilterLike | None = None,
        radius: float | None = None,
        offset: int = 0,
        group_by: str | None = None,
        group_size: int = 1,
        with_payloads: bool = False,
        rescore: int | None = None,
        binarizer: Binarizer | None = None,
        text: str | Sequence[str] | None = None,
        fusion: Fusion = "rrf",
        allow_partial: bool = False,
    ) -> CollectionHits: ...

    def search_ids(
        self,
        ids: IdsLike,
        k: int = 10,
        *,
        oversampling: int | None = None,
        exact: bool = False,
        nprobe: int | None = None,
        ef_search: int | None = None,
        allow: IdsLike | None = None,
        filter: FilterLike | None = None,
        radius: float | None = None,
        offset: int = 0,
        group_by: str | None = None,
        group_size: int = 1,
        with_payloads: bool = False,
        rescore: int | None = None,
    ) -> CollectionHits: ...

    def get(self, ids: IdsLike, *, payloads: bool = True, vectors: bool = False) -> list[Row | None]: ...

    def scroll(
        self,
        *,
        limit: int = 1000,
        after: Id | None = None,
        filter: FilterLike | None = None,
        payloads: bool = True,
        vectors: bool = False,
        behind: bool = False,
    ) -> list[Row]: ...

    def attach(self, path: str | os.PathLike[str]) -> int: ...

    def migrate(self, bz: Binarizer, *, vectors: VectorStream | None = None, wait: bool = False) -> None: ...

    def cutover(self, *, bare: bool = False, keep_old: bool = False) -> None: ...

    def rollback(self, *, bare: bool = False) -> None: ...

    def retrain(self, bytes_per_vector: int | None = None, *, wait: bool = False) -> None: ...

    def measure_recall(
        self,
        sample: ArrayLike | int = 1000,
        k: int = 10,
        *,
        rescore: int | None = None,
        nprobe: int | None = None,
        ef_search: int | None = None,
    ) -> RecallEstimate: ...

    def stats(self) -> CollectionStats: ...

    def flush(self) -> None: ...

    def settle(self, timeout: float | None = None) -> None: ...


class DatabaseLike(Protocol):
    """A set of collections and the models they use."""

    def create_collection(
        self,
        name: str,
        bz: Binarizer | None = None,
        *,
        dim: int | None = None,
        metric: Metric | None = None,
        bytes_per_vector: int | None = None,
        keep: Keep = "auto",
        retrain: bool | None = None,
        text: str | Sequence[str] | None = None,
        index: IndexKind = "auto",
        target_recall: float = TARGET_RECALL,
        exist_ok: bool = False,
    ) -> CollectionLike: ...

    def collection(self, name: str) -> CollectionLike: ...

    def collections(self) -> list[str]: ...

    def __contains__(self, name: object) -> bool: ...

    def drop_collection(self, name: str) -> None: ...

    def set_alias(self, alias: str, collection: str) -> None: ...

    def drop_alias(self, alias: str) -> None: ...

    def aliases(self) -> dict[str, str]: ...

    def register_model(self, bz: Binarizer) -> str: ...

    def model(self, digest: str) -> Binarizer: ...

    def models(self) -> list[ModelInfo]: ...

    def info(self) -> dict[str, Any]: ...

    def close(self) -> None: ...

    def __enter__(self) -> DatabaseLike: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
