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
    """A named set of rows on disk that share one binarizer. Made by `Database`; safe to use from many threads at once.

    A write is in the catalog, on disk, when its call returns, and every later search sees it. A search sees all of a
    write or nothing, and waits for no writer.
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
        """Inserts rows, replacing rows of the same id as a whole, payload included; returns how many rows were written.

        `ids` n ints of 0 or greater, strings of 1 to 1024 bytes or UUIDs, mixed as you like; `x` float32[n, input_dim];
        `payloads` one dict (or None) per row, written as JSON. None in a list `x`, or for `x`: rows without a vector,
        which no search by vector finds; all else does. Of an id that comes several times the last row is written;
        `on_duplicate="error"`: ValueError. `on_conflict="skip"`: rows whose id is there already are left as they are,
        and only the others written; "error": AlreadyExists (a ValueError) names such an id, and none is written. What
        is there is decided when the write has its turn: of two that insert an id at the same time, one does. All rows
        are written, or none. ValueError on bad input; LimitExceeded when the disk is full.
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
        """Replaces the payloads of rows and leaves their codes; returns how many rows there were. `ids` int64[n], each
        once; ids not present are passed over: no row comes to be. `payloads` one dict per row, None: it is to have
        none.

        `merge`: the keys of each dict are set in the payload that is there, whose other keys stay; None changes
        nothing. It is applied to the row as it is when its turn to be written comes, so a write beside it is neither
        undone nor lost. Durable like an upsert. ValueError on bad input.
        """
        return _result(self.begin_set_payloads(*check_new_payloads(ids, payloads), merge))

    def begin_set_payloads(self, ids: Named, texts: Sequence[str], merge: bool) -> Future[int]:
        """`set_payloads` of what `checks.check_new_payloads` returned; the future as of `begin_upsert`."""
        return self._contents.intake.set_payloads(ids, texts, merge)

    def truncate(self) -> int:
        """Removes all rows; returns how many there were. Takes no longer for many rows than for few, but waits for a
        seal in progress."""
        return self._contents.truncate()

    def delete(self, ids: IdsLike | None = None, *, filter: FilterLike | None = None) -> int:
        """Removes rows and their payloads; returns how many there were. `ids` int64[n]; ids not present are passed
        over. Or `filter`: all rows that match it (`bebr.F`) when the delete has its turn among the writes, and
        no others. ValueError for both or neither."""
        which = check_delete(ids, filter)
        return _result(self.begin_delete_matching(which) if isinstance(which, Filter) else self.begin_delete(which))

    def begin_delete(self, ids: Named) -> Future[int]:
        """`delete` of what `checks.check_ids` returned; the future as of `begin_upsert`."""
        return self._contents.intake.delete(ids.once())

    def begin_delete_matching(self, filter: Filter) -> Future[int]:
        """`delete` by a filter; the future as of `begin_upsert`."""
        return self._contents.intake.delete_matching(filter)

    def count(self, filter: FilterLike | None = None) -> int:
        """How many rows match a filter (`bebr.F`); without one, how many there are."""
        return self.snapshot.count(None if filter is None else as_filter(filter))

    def get(self, ids: IdsLike, *, payloads: bool = True, vectors: bool = False) -> list[Row | None]:
        """The row of each of `ids` int64[n], None for an id that is not there.

        `vectors`: each row's vector, for cosine of unit length: as it is kept, float32[input_dim]; in a collection that
        keeps none, as its code gives it back (`Binarizer.reconstructed`), float32[inner_dim], which is the space behind
        the model's input adapter where it has one; None where a row has none.
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
        """The next `limit` rows in ascending order of ids, above the id `after` (None: from the start); fewer at the
        end, and then none. `filter`: only those that match. `behind`: only those that have no vector yet of the other
        producer that `migrate` takes them from. Rows as in `get`.

        Going on from each page's last id shows every row that is there throughout exactly once, whatever is written
        meanwhile; a page's cost does not grow with the collection.
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
        """Seals the rows since the last seal into a segment file. Not needed for durability, nor ever: it makes the
        next open faster. Merges that it makes due go on in the background (`settle`)."""
        self._contents.current.check_open()
        self._contents.flush()

    def settle(self, timeout: float | None = None) -> None:
        """Seals as `flush` does, and merges files until none is due: every row is in as few files as there will be, of
        the kind that their size asks for, and the space of dead rows is returned. A matter of minutes where there are
        millions of rows; searches and writes go on. Never needed: the background does it, too, with rests for searches.
        Vectors that are streamed for another producer's model (`migrate`) are settled with them.

        `timeout`: waits for the background to do it, so many seconds at most, then raises TimeoutError.
        Where writes never rest it may not end without one.
        """
        self._contents.current.check_open()
        self._contents.settle(check_timeout(timeout))

    def attach(self, path: str | os.PathLike[str]) -> int:
        """Takes the file of an index (`save`, `bebr.build`) of this collection's model as it is, whatever its kind;
        returns how many rows it has. A row that is there already is replaced, as by an upsert; rows of the file have no
        payload. Every byte is checked first; where the file system allows it is linked, not copied, so it is not to be
        written to. It is there as a whole or not at all, after a kill too.

        A collection that keeps vectors needs a file with the same (`rescore=` "float16" or "int8"). ValueError;
        IncompatibleModel for another model; CorruptFile; FileNotFoundError.
        """
        return self._contents.attach(Path(path))

    def migrate(self, bz: Binarizer, *, vectors: VectorStream | None = None, wait: bool = False) -> None:
        """Has every row coded by another model: of the same vectors, from those that are kept, or of `vectors`.

        What is written from now on is coded by it; what is there is re-encoded in the background, a segment at a time,
        and after a crash from where it stopped. Searches cover both meanwhile; then it is the collection's model
        (`binarizer`, `stats().target`). `wait`: until then. A second call changes the direction. ValueError where no
        vectors are kept, or for a model of another metric or dimension.

        `vectors`: those of another producer, as batches (ids, float32[n, bz.input_dim]), of rows in any order; ids that
        are not there are passed over. Each batch is on disk once the next is asked for; the call returns after the
        last, and may be repeated with more. Until `cutover` the old vectors serve all searches but those with
        `binarizer=bz`, which find each row by its new vector, and the others by old codes where `bz` was trained
        compatible with them. `scroll(behind=True)` gives the rows that have no new vector: an upsert of a row takes it
        away. ValueError for a model of another metric, or while there is another such migration. docs/migration.md.
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
        """Ends a migration by streamed vectors: from one moment on they, and their model, are the collection's, for
        every search; the old ones are removed. ValueError where there is no such migration, or while rows have no new
        vector: with `bare` such rows stand without one.

        `keep_old`: the old vectors stay, so that `rollback` leads back to them; until then they serve searches with
        `binarizer=` the old model, and a write of a row takes away its old vector, as it took away its new one before
        (`scroll(behind=True)`, `stats().former`). A second call without it removes them.
        """
        self._contents.cutover(bare, keep_old)

    def check_exchange(self, call: Literal["cutover", "rollback"], *, bare: bool = False) -> None:
        """The ValueError that a `cutover`, or a `rollback` of one, would raise for rows that are behind; changes
        nothing. For a root, which has all shards asked before one is changed."""
        self._contents.check_exchange(bare, call)

    def rollback(self, *, bare: bool = False) -> None:
        """Ends a migration by streamed vectors before its cutover, and removes what was streamed. ValueError where
        there is none.

        After `cutover(keep_old=True)` it takes the cutover back: every row there is by then is searched by its old
        vector again, and what was streamed is kept, to be cut over to once more or removed by another call. A row
        written since has no old vector: ValueError says how many these are, unless they are streamed
        (`migrate(old_model, vectors=)`), or with `bare` stand without one.
        """
        self._contents.rollback(bare)

    def retrain(self, bytes_per_vector: int | None = None, *, wait: bool = False) -> None:
        """Trains a model on a sample of the kept vectors, of at most 65,536, and migrates to it.

        `bytes_per_vector`: of the new codes; by default as many as now. Without `wait` it returns once the model is
        trained. ValueError where no vectors are kept, or there are no rows.
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
        """The share of the `k` best rows that searches find, against exact scores of all kept vectors, with an interval
        that holds the true share in 95 of 100 measurements.

        `sample`: queries float32[n, d], or how many rows are drawn as queries, which are then not counted as their own
        results; at most 10,000. `rescore`, `nprobe`, `ef_search`: as in `search`, so that what more or fewer lists find
        is measured before searches are given them. Time grows with rows times queries. ValueError where no vectors are
        kept, or the model scores in a space of its own.
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
