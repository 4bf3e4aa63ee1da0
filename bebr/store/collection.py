"""A collection: segments minus their dead rows, then the operations since the last seal, in order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes, Query
from bebr.collection.checks import check_ids, check_query, check_rows, load_payload
from bebr.collection.protocol import CollectionHits, CollectionStats, ModelInfo, Payload
from bebr.index import FlatIndex
from bebr.store.catalog import Catalog
from bebr.store.locking import ReadWriteLock
from bebr.store.merge import merge_hits, segments_to_rewrite
from bebr.store.records import CollectionRow, Operation
from bebr.store.segment import Segment, Tail, write_segment

_log = logging.getLogger("bebr.store")

# Rows written or deleted since the last seal that make a write seal the tail. Fewer: each seal costs an fsync and a
# merge. More: a start replays them.
SEAL_ROWS = 50_000


class Collection:
    """A named set of rows on disk that share one binarizer. Made by `Database`; safe to use from many threads at once.

    A write is in the catalog, on disk, when its call returns, and every later search sees it. A search sees all of a
    write or nothing.
    """

    def __init__(
        self, catalog: Catalog, folder: Path, row: CollectionRow, bz: Binarizer, seal_rows: int, verify: bool
    ) -> None:
        self._catalog = catalog
        self._folder = folder
        self._row = row
        self._bz = bz
        self._seal_rows = seal_rows
        self._writer = threading.Lock()  # one write at a time, from encoding's end to memory
        self._lock = ReadWriteLock()  # readers against the change of memory
        self._closed: Exception | None = None
        self._load(verify)

    def _load(self, verify: bool) -> None:
        manifest = self._catalog.manifest(self._row.id)
        segments = [Segment(self._folder, r, self._bz, verify) for r in manifest.segments]
        self._payloads = {id: text for segment in segments for id, text in segment.payloads.items()}
        tail = Tail(self._bz)
        unsealed = 0
        for operation in self._catalog.operations(self._row.id):
            codes = None
            if operation.planes is not None and operation.factors is not None:
                codes = Codes.of_rows(operation.planes, operation.factors, self._bz.factor_bytes)
            _apply(segments, tail, operation.ids, codes)
            self._keep_payloads(operation)
            unsealed += len(operation.ids)
        self._segments, self._tail, self._unsealed, self._version = segments, tail, unsealed, manifest.version

    def _keep_payloads(self, operation: Operation) -> None:
        texts = operation.payloads or [""] * len(operation.ids)
        for id, text in zip(operation.ids.tolist(), texts, strict=True):
            self._payloads.pop(id, None)
            if text:
                self._payloads[id] = text

    @property
    def name(self) -> str:
        return self._row.name

    @property
    def binarizer(self) -> Binarizer:
        return self._bz

    @property
    def closed(self) -> bool:
        """Whether it was dropped, or its database closed."""
        return self._closed is not None

    def __len__(self) -> int:
        with self._reading():
            return len(self._tail) + sum(map(len, self._segments))

    def __repr__(self) -> str:
        return f"Collection({self.name!r}, model={self._bz.digest})"

    def upsert(self, ids: ArrayLike, x: ArrayLike, payloads: Sequence[Payload | None] | None = None) -> int:
        """Inserts rows, replacing rows of the same id as a whole, payload included; returns how many rows were written.

        `ids` int64[n], 0 or greater, each once; `x` float32[n, input_dim]; `payloads` one dict (or None) per row,
        written as JSON. All rows are written, or none. ValueError on bad input; LimitExceeded when the disk is full.
        """
        return self.upsert_checked(*check_rows(ids, x, payloads, self._bz.input_dim))

    def upsert_checked(self, ids: Ids, vectors: Floats, payloads: Sequence[str]) -> int:
        """`upsert` of what `checks.check_rows` returned."""
        if len(ids) == 0:
            return 0
        codes = self._bz.encode(vectors)
        with self._writer:
            self._check_open()
            self._write(ids, codes, payloads)
        return len(ids)

    def delete(self, ids: ArrayLike) -> int:
        """Removes rows and their payloads; returns how many there were. `ids` int64[n]; ids not present are passed
        over."""
        wanted = np.unique(check_ids(ids))
        with self._writer:
            self._check_open()
            present = wanted[self._present(wanted)]
            if len(present):
                self._write(present, None, ())
        return len(present)

    def search(
        self,
        q: ArrayLike,
        k: int = 10,
        *,
        query: Query = "float",
        oversampling: int | None = None,
        exact: bool = False,
        allow: ArrayLike | None = None,
        with_payloads: bool = False,
        binarizer: Binarizer | None = None,
    ) -> CollectionHits:
        """The k best rows for each query: Hits(scores float32[n, k], ids int64[n, k]), best first (metric "l2":
        ascending distance); id −1 where there are fewer than k rows. `with_payloads`: also hits.payloads, a list of k
        payloads per query.

        `q` float32[n, input_dim]; `query` "float" (asymmetric) or "code" (the query is coded too);
        `oversampling` and `exact` as in `FlatIndex.search`; `allow` int64[m]: only these ids; `binarizer`: the
        queries' model where it is a newer one than the rows', as in `FlatIndex.search`. ValueError on bad input;
        IncompatibleModel.
        """
        model = binarizer or self._bz
        vectors = check_query(q, k, query, oversampling, exact, model.query_dim)
        allowed = None if allow is None else check_ids(allow, "allow")
        prepared = model.prepare_for(self._bz, vectors, query)
        with self._reading():
            parts: list[FlatIndex] = [s.index for s in self._segments if len(s)]
            if len(self._tail) or not parts:
                parts.append(self._tail.index)
            found = [
                part.search_prepared(
                    prepared, k, oversampling=oversampling, exact=exact, allow=allowed, batch_invariant=True
                )
                for part in parts
            ]
        scores, numbers = found[0] if len(found) == 1 else merge_hits(found, k, ascending=self._bz.metric == "l2")
        if not with_payloads:
            return CollectionHits(scores, numbers)
        texts = iter(self.payload_texts(numbers.ravel()))
        return CollectionHits(scores, numbers, [[load_payload(next(texts)) for _ in range(k)] for _ in vectors])

    def get_payloads(self, ids: ArrayLike) -> list[Payload | None]:
        """The payload of each row, None where it has none. `ids` int64[n]. KeyError names the first id that is not in
        the collection."""
        return [load_payload(text) for text in self.payload_texts_of(check_ids(ids))]

    def payload_texts_of(self, ids: Ids) -> list[str]:
        """`get_payloads` of what `checks.check_ids` returned, as JSON text, "" for none."""
        with self._reading():
            present = self._present(ids)
        if not present.all():
            raise KeyError(f"no row with id {ids[~present][0]} in collection {self.name!r}")
        return self.payload_texts(ids)

    def payload_texts(self, ids: Ids) -> list[str]:
        """The JSON text of each payload, "" where there is none; ids that do not exist (−1 in Hits) count as
        without."""
        return [self._payloads.get(i, "") for i in ids.tolist()]

    def stats(self) -> CollectionStats:
        """Rows, segments, bytes on disk; see `CollectionStats`."""
        with self._reading():
            segments = list(self._segments)
            live, tail = [len(s) for s in segments], len(self._tail)
        return CollectionStats(
            rows=tail + sum(live),
            segments=len(segments),
            tail_rows=tail,
            dead_rows=sum(s.row.rows for s in segments) - sum(live),
            bytes_on_disk=sum(s.row.bytes for s in segments) + self._catalog.manifest(self._row.id).journal_bytes,
            model=ModelInfo.of(self._bz),
        )

    def flush(self) -> None:
        """Seals the tail into a segment file, merging small and half-dead segments on the way. Not needed for
        durability: it makes the next open faster and returns the space of dead rows."""
        with self._writer:
            self._check_open()
            self._seal()

    def close(self, reason: Exception) -> None:
        """Waits for the calls in progress, then refuses every further one with an error like `reason`."""
        with self._writer, self._lock.write():
            self._closed = reason
            self._segments, self._tail, self._unsealed = [], Tail(self._bz), 0

    def _check_open(self) -> None:
        if self._closed is not None:
            raise type(self._closed)(*self._closed.args)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock.read():
            self._check_open()
            yield

    def _present(self, ids: Ids) -> NDArray[np.bool_]:
        present = self._tail.contains(ids)
        for segment in self._segments:
            present |= segment.contains(ids)
        return present

    def _write(self, ids: Ids, codes: Codes | None, payloads: Sequence[str]) -> None:
        """Commits an operation (`codes` None: a delete), then brings memory up to it. Call with `_writer` held."""
        if codes is None:
            operation = Operation("delete", ids)
        else:
            operation = Operation("upsert", ids, codes.planes, codes.factor_rows(), list(payloads))
        try:
            (version,) = self._catalog.commit([(self._row.id, operation)])
            with self._lock.write():
                _apply(self._segments, self._tail, ids, codes)
                self._keep_payloads(operation)
                self._version = version
                self._unsealed += len(ids)
        except BaseException:
            # Out of memory, or Ctrl-C anywhere between commit and memory: the catalog knows what is true.
            with self._lock.write():
                self._load(verify=False)
            raise
        if self._unsealed >= self._seal_rows:
            try:
                self._seal()
            except Exception:
                # The rows are safe in the catalog; only the tidying failed. The next write tries again.
                _log.exception("collection %r: sealing failed, the tail stays in the catalog", self.name)

    def _seal(self) -> None:
        rewrite = segments_to_rewrite([(s.row.rows, len(s)) for s in self._segments], len(self._tail))
        old = [self._segments[i] for i in rewrite]
        kept = [s for s in self._segments if s not in old]
        dead = {s.row.file: s.dead for s in kept if s.dead != s.row.dead}
        if not old and not self._unsealed:
            return
        index = self._tail.index
        if old:
            index = FlatIndex(self._bz)
            for part in [*(s.index for s in old), self._tail.index]:
                index.add_codes(*part.codes())
        added = [write_segment(self._folder, self._row.id, index, self._payloads)] if len(index) else []
        sealed = [Segment(self._folder, row, self._bz, verify=False) for row in added]
        version = self._catalog.install(self._row.id, added, [s.row.file for s in old], dead, self._version)
        with self._lock.write():
            self._segments, self._tail, self._unsealed = [*kept, *sealed], Tail(self._bz), 0
            self._version = version
        for segment in old:
            segment.path.unlink(missing_ok=True)


def _apply(segments: Sequence[Segment], tail: Tail, ids: Ids, codes: Codes | None) -> None:
    parts: list[Segment | Tail] = [*segments, tail]
    for part in parts:
        part.remove(ids)
    if codes is not None:
        tail.add(codes, ids)
