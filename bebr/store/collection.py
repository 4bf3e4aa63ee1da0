"""A collection on disk, as its users see it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Literal

from numpy.typing import ArrayLike

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.collection.bare import VectorsLike
from bebr.collection.checks import (
    check_conflict,
    check_delete,
    check_ids,
    check_model,
    check_new_payloads,
    check_page,
    check_rows,
    check_stream_rows,
    check_timeout,
)
from bebr.collection.filter_form import FilterLike, as_filter
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import Id, IdsLike, Named
from bebr.collection.protocol import (
    CollectionStats,
    ModelInfo,
    OnConflict,
    OnDuplicate,
    Payload,
    RecallEstimate,
    Row,
    VectorStream,
)
from bebr.store.search.measuring import measured_recall
from bebr.store.search.searchable import Searchable
from bebr.store.snapshots.keys import resolve
from bebr.store.snapshots.reads import ids_after, read_rows
from bebr.store.workers.retraining import MOST_ROWS


class Collection(Searchable):
    """A named set of rows on disk with one binarizer, from `Database`. Safe to use from many threads.

    A row has an id, a vector and a payload. When a write returns, it is on disk and every later search sees it. A
    search sees all of a write or nothing, and waits for no writer.
    """

    @property
    def number(self) -> int:
        """The catalog's number of it, never given to another collection."""
        return self._contents.number

    @property
    def text(self) -> tuple[str, ...]:
        """The payload fields that are searched by their words."""
        return self._contents.state.text

    @property
    def seals(self) -> int:
        """How often its rows in memory were sealed into a file since it was opened."""
        return self._contents.rewriting.seals

    @property
    def merges(self) -> int:
        """How often its files were merged since it was opened."""
        return self._contents.rewriting.merges

    def __len__(self) -> int:
        return len(self.snapshot)

    def __repr__(self) -> str:
        return f"Collection({self.name!r}, model={self.binarizer.digest})"

    def upsert(
        self,
        ids: IdsLike,
        x: VectorsLike,
        payloads: Sequence[Payload | None] | None = None,
        *,
        on_duplicate: OnDuplicate = "last",
        on_conflict: OnConflict = "replace",
    ) -> int:
        """Insert rows, or replace rows of the same id completely, payload included; returns how many were written.

        >>> docs.upsert(["a", "b"], x, [{"lang": "en"}, {"lang": "de"}])

        ids: n ints of 0 or greater, strings of 1 to 1024 bytes or UUIDs, mixed freely.
        x: float32[n, input_dim]. None in a list `x`, or for `x`: rows without a vector, which no search by vector
            finds.
        payloads: one dict (or None) per row, stored as JSON.
        on_duplicate: if an id comes several times: "last": its last row is written; "error": ValueError.
        on_conflict: if an id exists: "replace"; "skip": the existing row stays, only the others are written; "error":
            AlreadyExists (a ValueError) names such an id, and nothing is written. This is decided when the write has
            its turn, so of two concurrent inserts of an id one succeeds.
        Either all rows are written, or none. ValueError on bad input; LimitExceeded if the disk is full.
        """
        conflict = check_conflict(on_conflict)
        rows = check_rows(ids, x, payloads, self.binarizer.input_dim, on_duplicate)
        return _result(self.begin_upsert(*rows, conflict))

    def begin_upsert(
        self, ids: Named, vectors: Floats, payloads: Sequence[str], on_conflict: OnConflict = "replace"
    ) -> Future[int]:
        """`upsert` of what `checks.check_rows` returned. Encodes now; the future is done once the write is on disk.
        Cancelling it takes back a write that has not begun."""
        self._contents.current.check_open()
        if len(ids) == 0:
            nothing: Future[int] = Future()
            nothing.set_result(0)
            return nothing
        return self._contents.intake.upsert(ids, vectors, payloads, on_conflict)

    def set_payloads(self, ids: IdsLike, payloads: Sequence[Payload | None], *, merge: bool = False) -> int:
        """Replace the payloads of existing rows and keep their vectors; returns how many of the ids existed.

        ids: n ids, each once. Ids that do not exist are ignored; no row is created.
        payloads: one dict per row; None: no payload.
        merge: set only the keys of each dict and keep the others; None changes nothing. The dict is merged into the row
            as it is when the write has its turn, so concurrent writes are neither undone nor lost.
        Durable like an upsert. ValueError on bad input.
        """
        return _result(self.begin_set_payloads(*check_new_payloads(ids, payloads), merge))

    def begin_set_payloads(self, ids: Named, texts: Sequence[str], merge: bool) -> Future[int]:
        """`set_payloads` of what `checks.check_new_payloads` returned; the future as of `begin_upsert`."""
        return self._contents.intake.set_payloads(ids, texts, merge)

    def truncate(self) -> int:
        """Remove all rows; returns how many there were. It takes no longer for many rows than for few, but waits for a
        seal in progress."""
        return self._contents.truncate()

    def delete(self, ids: IdsLike | None = None, *, filter: FilterLike | None = None) -> int:
        """Delete rows and their payloads; returns how many existed. Give `ids`, of which unknown ones are ignored, or
        `filter` (`bebr.F`): all rows that match when the delete has its turn among the writes. ValueError for both or
        neither."""
        which = check_delete(ids, filter)
        return _result(self.begin_delete_matching(which) if isinstance(which, Filter) else self.begin_delete(which))

    def begin_delete(self, ids: Named) -> Future[int]:
        """`delete` of what `checks.check_ids` returned; the future as of `begin_upsert`."""
        return self._contents.intake.delete(ids.once())

    def begin_delete_matching(self, filter: Filter) -> Future[int]:
        """`delete` by a filter; the future as of `begin_upsert`."""
        return self._contents.intake.delete_matching(filter)

    def count(self, filter: FilterLike | None = None) -> int:
        """The number of rows that match a filter (`bebr.F`); without one, of all rows."""
        return self.snapshot.count(None if filter is None else as_filter(filter))

    def get(self, ids: IdsLike, *, payloads: bool = True, vectors: bool = False) -> list[Row | None]:
        """The row of each id, None for an id that does not exist.

        vectors: also return each row's vector; for cosine of unit length. It is the kept vector, float32[input_dim], or
            without kept vectors the decoded code (`Binarizer.reconstructed`), float32[inner_dim], in the space after
            the model's input adapter if it has one. None if a row has no vector.
        """
        snapshot = self.snapshot
        wanted = resolve(snapshot, check_ids(ids))
        there = snapshot.present(wanted)
        rows = dict(zip(there.tolist(), read_rows(snapshot, snapshot.bz, there, payloads, vectors), strict=True))
        return [rows.get(number) for number in wanted.tolist()]

    def scroll(
        self,
        *,
        limit: int = 1000,
        after: Id | None = None,
        filter: FilterLike | None = None,
        payloads: bool = True,
        vectors: bool = False,
        behind: bool = False,
    ) -> list[Row]:
        """The next `limit` rows in ascending order of ids, after the id `after` (None: from the start); fewer at the
        end, and then none. Rows as in `get`.

        filter: only rows that match. behind: only rows that have no vector yet of the producer that `migrate` moves to.
        If each page starts after the last id of the previous one, every row that exists throughout is returned exactly
        once, whatever is written meanwhile. The cost of a page does not grow with the collection.
        """
        snapshot = self.snapshot
        last = check_page(limit, after)
        shown = snapshot.behind if behind else snapshot
        ids = ids_after(shown, last, limit, None if filter is None else as_filter(filter))
        return read_rows(snapshot, snapshot.bz, ids, payloads, vectors)

    def stats(self) -> CollectionStats:
        """Rows, segments, bytes on disk; see `CollectionStats`."""
        snapshot = self.snapshot
        files = [(row, view.live) for view in snapshot.segments if (row := view.part.row) is not None]
        sealed = sum(live for _, live in files)
        kinds: dict[str, int] = {}
        for view in snapshot.segments:
            if view.part.row is not None:
                kinds[view.part.index.kind] = kinds.get(view.part.index.kind, 0) + view.live
        places: dict[str, int] = {}
        for view in snapshot.parts if any(view.part.placed is not None for view in snapshot.segments) else ():
            if view.live:
                where = "cpu" if view.part.placed is None else view.part.placed.device
                places[where] = places.get(where, 0) + view.live
        return CollectionStats(
            rows=len(snapshot),
            segments=len(files),
            tail_rows=len(snapshot) - sealed,
            dead_rows=sum(row.rows for row, _ in files) - sealed,
            bytes_on_disk=sum(row.bytes for row, _ in files) + self._contents.current.journal_bytes(),
            model=ModelInfo.of(snapshot.bz),
            target=self._contents.heading,
            former=self._contents.former,
            merging=self._contents.merging,
            rows_behind=self._contents.rows_behind(),
            rows_by_kind=kinds,
            rows_by_device=places,
            kept_bytes=0 if self._contents.state.keeping is None else self._contents.state.keeping.row_bytes,
        )

    def flush(self) -> None:
        """Seal the rows since the last seal into a segment file. Never needed, not even for durability: it makes the
        next open faster. Merges that become due run in the background (`settle`)."""
        self._contents.current.check_open()
        self._contents.flush()

    def settle(self, timeout: float | None = None) -> None:
        """Seal as `flush` does, and merge files until none is due: rows are then in as few files as possible, of the
        kind that fits their size, and the space of dead rows is free. Takes minutes with millions of rows; searches and
        writes continue. Never needed: the background does it too, with pauses for searches. It also settles vectors
        that are streamed for another producer's model (`migrate`).

        timeout: let the background do it, and wait at most so many seconds, then raise TimeoutError. If writes never
            pause, it may not end without one.
        """
        self._contents.current.check_open()
        self._contents.settle(check_timeout(timeout))

    def attach(self, path: str | os.PathLike[str]) -> int:
        """Add the rows of an index file (`save`, `bebr.build`) of this collection's model, of any kind; returns how
        many there are. Existing rows are replaced, as by an upsert; rows of the file have no payload. Every byte is
        checked first. If the file system allows it, the file is linked, not copied, so do not write to it afterwards.
        Atomic, also if the process is killed.

        A collection that keeps vectors needs a file that keeps the same (`rescore=` "float16" or "int8"). ValueError;
        IncompatibleModel for another model; CorruptFile; FileNotFoundError.
        """
        return self._contents.attach(Path(path))

    def migrate(self, bz: Binarizer, *, vectors: VectorStream | None = None, wait: bool = False) -> None:
        """Re-encode all rows with another model: from the kept vectors, or from `vectors`.

        New writes are encoded with it at once. Existing rows are re-encoded in the background, a segment at a time,
        also after a crash. Searches cover both meanwhile. At the end it is the collection's model (`binarizer`,
        `stats().target`).

        bz: the new model. A second call with another one changes the direction. ValueError if no vectors are kept, or
            for a model of another metric or dimension.
        wait: return when it is done.
        vectors: vectors of another producer, as batches (ids, float32[n, bz.input_dim]), in any order; unknown ids are
            ignored. Each batch is on disk when the next one is requested. The call returns after the last batch and may
            be repeated with more. Until `cutover` the old vectors serve all searches except those with
            `binarizer=bz`: these find rows by their new vectors, and rows without one by old codes, if `bz` was trained
            to be compatible with them. `scroll(behind=True)` returns the rows without a new vector; an upsert of a row
            removes it. ValueError for a model of another metric, or during another such migration. See
            docs/migration.md.
        """
        if vectors is None:
            self._contents.migrate(check_model(bz))
            if wait:
                self._contents.finish_migration()
            return
        self.begin_stream(bz)
        for ids, batch in vectors:
            _result(self.begin_stream_batch(bz, *check_stream_rows(ids, batch, bz.input_dim)))

    def begin_stream(self, bz: Binarizer) -> None:
        """The beginning of `migrate` with `vectors`, of which none come yet."""
        self._contents.succession.begin(check_model(bz))

    def begin_stream_batch(self, bz: Binarizer, ids: Named, vectors: Floats) -> Future[int]:
        """A batch of such vectors that `checks.check_stream_rows` returned; the future as of `begin_upsert`, of how
        many of the rows there are."""
        return self._contents.succession.submit(bz, ids, vectors)

    @property
    def successor(self) -> Binarizer | None:
        """The model that vectors are being streamed for; None where they are not."""
        return self._contents.succession.model

    def cutover(self, *, bare: bool = False, keep_old: bool = False) -> None:
        """End a migration by streamed vectors: the new vectors and their model atomically become the collection's, and
        the old ones are removed. ValueError if there is no such migration, or if rows lack a new vector.

        bare: allow rows without a new vector; they then have none.
        keep_old: keep the old vectors, so that `rollback` can restore them. Until then they serve searches with
            `binarizer=` the old model. A write of a row removes its old vector (`scroll(behind=True)`,
            `stats().former`). A second call without `keep_old` removes all of them.
        """
        self._contents.cutover(bare, keep_old)

    def check_exchange(self, call: Literal["cutover", "rollback"], *, bare: bool = False) -> None:
        """The ValueError that a `cutover`, or a `rollback` of one, would raise for rows that are behind; changes
        nothing. For a root, which has all shards asked before one is changed."""
        self._contents.check_exchange(bare, call)

    def rollback(self, *, bare: bool = False) -> None:
        """Cancel a migration by streamed vectors before its cutover, and remove what was streamed. ValueError if there
        is none.

        After `cutover(keep_old=True)` it reverts the cutover: every row is searched by its old vector again. The
        streamed vectors are kept, for another cutover, or to be removed by another call. Rows written since then have
        no old vector: ValueError says how many, unless they are streamed (`migrate(old_model, vectors=)`), or `bare`
        allows rows without one.
        """
        self._contents.rollback(bare)

    def retrain(self, bytes_per_vector: int | None = None, *, wait: bool = False) -> None:
        """Train a model on a sample of at most 65,536 kept vectors, and migrate to it.

        bytes_per_vector: of the new codes; by default as many as now.
        wait: False: return when the model is trained, before the migration ends.
        ValueError if no vectors are kept, or there are no rows.
        """
        self._contents.retrain(bytes_per_vector)
        if wait:
            self._contents.finish_migration()

    @property
    def training_bytes(self) -> int:
        """What `retrain` takes in memory, about: the sample, and its products in the making."""
        return 4 * 4 * self.binarizer.input_dim * min(len(self.snapshot), MOST_ROWS)

    def measure_recall(
        self,
        sample: ArrayLike | int = 1000,
        k: int = 10,
        *,
        rescore: int | None = None,
        nprobe: int | None = None,
        ef_search: int | None = None,
    ) -> RecallEstimate:
        """Measure the share of the `k` best rows that searches find, against exact scores of all kept vectors, with a
        95 % confidence interval.

        sample: queries float32[n, d], or the number of rows to draw as queries, which are then not counted as their own
            results; at most 10,000.
        rescore, nprobe, ef_search: as in `search`, to measure the effect of other settings.
        Time grows with rows times queries. ValueError if no vectors are kept, or if the model scores in another space.
        """
        snapshot = self.snapshot
        return measured_recall(snapshot, snapshot.bz, sample, k, rescore, nprobe, ef_search)

    def close(self, reason: Exception) -> None:
        """Waits for writes in progress, then refuses every further call with an error like `reason`."""
        self._contents.close(reason)


def _result(future: Future[int]) -> int:
    try:
        return future.result()
    except BaseException:
        future.cancel()  # Ctrl-C: a write that has not begun is not to happen
        raise
