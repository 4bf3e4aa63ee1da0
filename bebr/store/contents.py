"""What a collection holds, and how writes, seals and merges make its next snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes
from bebr.collection.bare import bare_rows
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import Named
from bebr.collection.protocol import OnConflict
from bebr.files import sync_folder
from bebr.index.segments import Effort
from bebr.store import bitmaps
from bebr.store.attaching import brought, check_attachable, forgotten, replaced_rows, with_dead
from bebr.store.bitmaps import Bitmap, Bools
from bebr.store.building import Coding
from bebr.store.calibrating import calibrated
from bebr.store.catalog import Catalog
from bebr.store.change import FEW_ROWS, Change, InsertChange, PayloadChange, joined
from bebr.store.columns.table import nothing
from bebr.store.compaction import Compactor
from bebr.store.draft import Draft
from bebr.store.kept import Keeping, Rows
from bebr.store.migration import behind, check_target, to_merge
from bebr.store.models import Models
from bebr.store.part import Part, PartView
from bebr.store.records import CollectionRow, SegmentRow
from bebr.store.retraining import Trainer, check_running, next_training, sample, scaled
from bebr.store.segment import Segment, pending_path
from bebr.store.shape import Shape
from bebr.store.snapshot import Snapshot
from bebr.store.succession import Succession
from bebr.store.tail import Tail
from bebr.store.writer import Writer
from bebr.store.writing import write_segment
from bebr.training import train

# Rows written or removed since the last seal that make a write ask for a seal. Fewer: each seal costs an fsync and a
# merge. More: a start replays them.
SEAL_ROWS = 50_000


class Contents(Succession):
    """The current snapshot of one collection. `draft`, `give_up` and `publish` are for the writing thread."""

    def __init__(
        self,
        row: CollectionRow,
        models: Models,
        folder: Path,
        catalog: Catalog,
        writer: Writer,
        sealer: Compactor,
        merger: Compactor,
        trainer: Trainer,
        seal_rows: int,
        flat_rows: int,
        verify: bool,
    ) -> None:
        self.name, self.number, self._folder = row.name, row.id, folder
        self._row, self._models = row, models
        self._catalog, self._writer, self._trainer = catalog, writer, trainer
        self._sealer, self._merger = sealer, merger
        self._seal_rows, self._verify = seal_rows, verify
        self.bz = models.get(row.model)
        # What writes are coded with: another model than the collection's during a migration.
        self.target = models.get(row.settings.target) if row.settings.target else self.bz
        self.keeping = Keeping.of(row.settings.keep, self.bz)
        self.text = row.settings.text
        self._shape = Shape(row.settings.index, flat_rows)
        self._closed: Exception | None = None
        self.seals = self.merges = 0  # done since it was opened
        self._seen: Callable[[], None] | None = None
        self._sealing, self._merging = threading.Lock(), threading.Lock()  # one seal and one merge at a time
        self.installed, self._streaming = nothing, None
        self._load(verify)
        self._resume()
        # Whether its codes are still for vectors of length 1, whatever the length of those that come.
        made_cold = row.settings.bytes_per_vector > 0 and row.settings.trained_rows == 0
        self._unscaled = made_cold and self.bz.metric != "cosine" and self._snapshot.version == 0
        self._scaling = threading.Lock()
        self._seal_if_due()
        self.retrain_if_due()
        self._go_on()

    def _load(self, verify: bool) -> None:
        manifest = self._catalog.manifest(self.number)
        views = []
        for row in manifest.segments:
            dead = np.frombuffer(row.dead, "<u8") if row.dead else None
            segment = self._segment(row, self._model(row.model), verify)
            segment.effort = _effort(self._row.settings.efforts.get(row.file))
            views.append(PartView(segment, dead, row.rows - bitmaps.count(dead)))
        self._sealed = manifest.sealed  # the last write that is in files: later ones are in the journal
        # The dead rows of segments that the catalog knows of.
        self._installed: dict[Part, Bitmap | None] = {view.part: view.dead for view in views}
        # These two are the writing thread's.
        self._tail = self._new_tail()
        self._unsealed = 0  # rows written or removed since the tail was last set apart for a seal
        first = Snapshot(manifest.sealed, tuple(views), PartView(self._tail.part(), None, 0), self.bz, self.number)
        draft = Draft(first, self._tail)
        operations = self._catalog.operations(self.number)
        for change, _ in joined(Change.of(operation, self._model(operation.model)) for operation in operations):
            change.apply(draft)
            self._unsealed += len(change.ids)
        self._snapshot = replace(draft.finish(), version=manifest.version)

    def _segment(self, row: SegmentRow, model: Binarizer, verify: bool, pending: bool = False) -> Segment:
        return Segment(self._folder, row, model, verify, pending, self.keeping, self.text)

    def _new_tail(self) -> Tail:
        return Tail(self.target, self.keeping, self.text)

    def _model(self, digest: str) -> Binarizer:
        """Of codes. `digest`: what the catalog says of it, empty for the collection's."""
        return self._models.get(digest) if digest else self.bz

    @property
    def snapshot(self) -> Snapshot:
        snapshot = self._snapshot
        self.check_open()  # after that: what `close` leaves is no answer
        return snapshot

    @property
    def _snapshot(self) -> Snapshot:
        return self._current

    @_snapshot.setter
    def _snapshot(self, snapshot: Snapshot) -> None:
        self._current = snapshot
        self._tell()

    def watch(self, seen: Callable[[], None]) -> None:
        """Has `seen` called now and whenever `snapshot` or `bz` is another, and once it is closed: before the write
        that did it returns. It must not fail, nor take long."""

        def begin() -> None:
            self._seen = seen
            seen()

        self._writer.run(begin)

    def _tell(self) -> None:
        if self._seen is not None:
            self._seen()

    @property
    def closed(self) -> bool:
        return self._closed is not None

    def check_open(self) -> None:
        if self._closed is not None:
            raise type(self._closed)(*self._closed.args)

    def close(self, reason: Exception) -> None:
        """Waits for the writes that were submitted, and for a seal and a merge in progress, which end soon. Calls after
        that get an error like `reason`; searches in progress keep their snapshot."""

        def shut() -> None:
            self._closed = reason

        self._writer.run(shut)
        with self._merging, self._sealing:
            empty = PartView(self._new_tail().part(), None, 0)
            self._snapshot = replace(self._snapshot, segments=(), tail=empty, successor=None)
        if self._streaming is not None:
            self._streaming.heir.close(reason)

    def journal_bytes(self) -> int:
        """Of the writes since the last seal, on disk."""
        return self._catalog.manifest(self.number).journal_bytes

    # Writes

    def submit_upsert(
        self, ids: Named, vectors: Floats, texts: Sequence[str], conflict: OnConflict = "replace"
    ) -> Future[int]:
        """Encodes vectors float32[n, d], NaN for none, unless they are few, and hands an upsert of distinct `ids` to
        the writing thread."""
        if self._unscaled:
            self._scale(vectors)
        number = self.number  # before its model is looked at: a cutover may come in between
        bz, bare = self.target, bare_rows(vectors)
        if bare is not None:  # such a row has a code, which nobody reads
            vectors = np.where(bare[:, None], np.float32(0), vectors)
        kept = None if self.keeping is None else self.keeping.stored(vectors)
        if len(vectors) <= FEW_ROWS:
            about = bz.digest, kept, None, ids.keys, False, bare
            # Copies: a write that was given up may still be encoded when its caller changes the arrays.
            change = Change(ids.numbers.copy(), None, texts, {}, *about, vectors.copy(), number)
        else:
            change = self._located(ids, bz.encode(vectors), texts, bz.digest, kept, bare)
            change = replace(change, collection=number)
        return self._writer.submit(self, change if conflict == "replace" else InsertChange(change, conflict == "error"))

    def _scale(self, vectors: Floats) -> None:
        """Before the first rows: gives codes the scale of these. The rows of others wait for it."""
        with self._scaling:
            if not self._unscaled:
                return
            model = scaled(self.bz, vectors) if self._snapshot.version == 0 else None
            if model is not None:
                digest = self._models.add(model)

                def begin() -> None:
                    self.check_open()
                    if self._snapshot.version == 0 and self.bz is self.target:
                        self._set_row(replace(self._row, model=digest))
                        self.bz = self.target = model
                        self._tail = self._new_tail()
                        self._show(replace(self._snapshot, bz=model, tail=PartView(self._tail.part(), None, 0)))

                self._writer.run(begin)
            self._unscaled = False

    def submit_delete_ids(self, ids: Named) -> Future[int]:
        """Hands a delete of distinct `ids` to the writing thread."""
        return self._writer.submit(self, self._located(ids, None))

    def _located(
        self,
        ids: Named,
        codes: Codes | None,
        texts: Sequence[str] = (),
        model: str = "",
        kept: Rows | None = None,
        bare: Bools | None = None,
    ) -> Change:
        """An upsert, or a delete (`codes` None), of distinct `ids`. `model`, `kept`, `bare`: as of `Change`."""
        # Parts do not change, so ids are looked up in the caller's time.
        numbers = ids.numbers.copy()
        known = {view.part: view.part.positions(numbers) for view in self.snapshot.segments if view.live}
        return Change(numbers, codes, texts, known, model, kept, keys=ids.keys, bare=bare)

    def submit_delete(self, filter: Filter) -> Future[int]:
        """Hands a delete of what matches to the writing thread, which decides what that is."""
        self.snapshot.matching(filter)  # parts keep it: the writing thread looks at what comes after only
        return self._writer.submit(self, Change(np.empty(0, np.int64), None, (), {}, filter=filter))

    def submit_payloads(self, ids: Named, texts: Sequence[str], merge: bool) -> Future[int]:
        """Hands new payloads of distinct `ids` to the writing thread."""
        self.check_open()
        return self._writer.submit(self, PayloadChange(ids.numbers.copy(), texts, merge, ids.keys))

    def truncate(self) -> int:
        """Removes all rows, and with them segments and journal; returns how many there were. Waits for a seal in
        progress; a merge in progress comes to nothing."""
        with self._still():
            rows, removed = self._writer.run(self._empty)
        self._unlink([row.file for row in removed])
        return rows

    def _empty(self) -> tuple[int, list[SegmentRow]]:
        self.check_open()
        before, tail = self._snapshot, self._new_tail()
        removed = _files(before.segments)
        after = [] if self._streaming is None else self._streaming.heir._empty()[1]
        version = self._catalog.install(self.number, [], [row.file for row in removed], {}, before.version)
        self._tail, self._unsealed, self._sealed, self._installed = tail, 0, before.version, {}
        self._show(replace(before, version=version, segments=(), tail=PartView(tail.part(), None, 0)))
        return len(before), [*removed, *after]

    def draft(self) -> Draft:
        self.check_open()
        return Draft(self._snapshot, self._tail)

    def give_up(self) -> None:
        # The tail may have rows of the writes that failed. It stays as a part that shows only those of the snapshot.
        self._set_tail_apart()

    def publish(self, snapshot: Snapshot, rows: int) -> None:
        self._show(snapshot)
        self._unsealed += rows
        self._seal_if_due()
        self.retrain_if_due()

    def _set_tail_apart(self) -> None:
        """Makes the tail one of the segments, as far as it shows, and begins a new one."""
        tail = self._new_tail()
        view = self._snapshot.tail
        segments = (*self._snapshot.segments, view) if view.part.rows else self._snapshot.segments
        self._snapshot = replace(self._snapshot, segments=segments, tail=PartView(tail.part(), None, 0))
        self._tail = tail

    def _seal_if_due(self) -> None:
        if self._unsealed >= self._seal_rows:
            self._sealer.request(self)

    def _beside(self, row: CollectionRow) -> Contents:
        workers = self._catalog, self._writer, self._sealer, self._merger, self._trainer
        how = self._seal_rows, self._shape.flat_rows, self._verify
        return Contents(row, self._models, self._folder, *workers, *how)

    # Another model

    def migrate(self, target: Binarizer, **settings: Any) -> None:
        """Codes what is written from now on with `target`, and has what is there re-encoded. `settings`:
        others that change with it. ValueError for a model that does not fit the kept vectors."""
        self.check_open()
        self.check_not_streaming()
        check_target(self.keeping, self.bz, target)
        digest = self._models.add(target)

        def begin() -> None:
            self.check_open()
            self.check_not_streaming()
            self._set_row(replace(self._row, settings=replace(self._row.settings, target=digest, **settings)))
            self.target = target
            self._set_tail_apart()

        self._writer.run(begin)
        self._go_on()

    def retrain(self, bytes_per_vector: int | None = None) -> None:
        """Trains a model on a sample of the kept vectors, and begins to re-encode with it. ValueError without rows."""
        self.check_not_streaming()
        snapshot = self.snapshot
        vectors = sample(snapshot)[1]
        if len(vectors) == 0:
            raise ValueError(f"collection {self.name!r} has no vectors to train on")
        size = bytes_per_vector or self._row.settings.bytes_per_vector or self.bz.bytes_per_vector

        def step(_stage: str, _done: int, _total: int) -> None:
            self.check_open()
            check_running()

        model = train(vectors, bytes_per_vector=size, metric=self.bz.metric, progress=step)
        self.migrate(model, bytes_per_vector=size, trained_rows=snapshot.searched)

    def retrain_if_due(self) -> None:
        rows = next_training(self._row.settings)
        if rows is not None and self._snapshot.searched >= rows:
            self._trainer.request(self)

    def finish_migration(self) -> None:
        """Re-encodes what is left, now."""
        while self.migrating:
            self.check_open()
            self.seal()
            self.merge()

    @property
    def migrating(self) -> bool:
        return self._row.settings.target != ""

    @property
    def heading(self) -> str:
        """The digest of the model that rows are being migrated to; empty for none."""
        return self.successor.digest if self.successor is not None else self._row.settings.target

    def rows_behind(self) -> int:
        """How many rows are still in codes of another model than the one of new writes, or wait for the vector of
        another producer."""
        if self.successor is not None:
            return len(self.snapshot.behind)
        return sum(view.live for view in behind(self.snapshot, self.target))

    def _finish_migrating(self) -> None:
        """Makes the target the collection's model, if no row is left in codes of another."""

        def finish() -> None:
            self.check_open()
            if self.migrating and not behind(self._snapshot, self.target):
                settings = replace(self._row.settings, target="")
                self._set_row(replace(self._row, model=self.target.digest, settings=settings))
                self.bz = self.target
                self._snapshot = replace(self._snapshot, bz=self.bz)

        if self.migrating:
            self._writer.run(finish)
        if not self.migrating:
            self.retrain_if_due()

    def _go_on(self) -> None:
        """Has done what is due next: rows in memory re-encoded, files merged."""
        waiting = behind(self._snapshot, self.target)
        if any(view.part.row is None for view in waiting):
            self._sealer.request(self)
        if to_merge(self._snapshot, self.target, self._shape) or (self.migrating and not waiting):
            self._merger.request(self)

    def _set_row(self, row: CollectionRow) -> None:
        self._catalog.set_settings(row)
        self._row = row

    # Seals and merges

    def seal(self, give_way: Callable[[], None] = nothing) -> None:
        """Writes what is in memory to a segment file. Searches and writes go on, and a merge. `give_way` is called
        between pieces of work. If it fails, nothing has changed."""
        with self._sealing:
            if self._closed is not None:
                return
            base = self._writer.run(self._begin_seal)
            memory = [view for view in base.segments if view.part.row is None]
            if memory or self._newly_dead(base):
                self._rewrite(base, memory, give_way, base.version)
                self.seals += 1
        self._finish_migrating()
        self._go_on()

    def merge(self, give_way: Callable[[], None] = nothing) -> None:
        """Makes one file of those that `to_merge` names, if any. Searches and writes go on, and seals. `give_way` and
        failures as of `seal`."""
        with self._merging:
            if self._closed is not None:
                return
            base = self._snapshot
            chosen = to_merge(base, self.target, self._shape)
            if chosen:
                try:
                    self._rewrite(base, chosen, give_way)
                    self.merges += 1
                except _Truncated:
                    return
        self._finish_migrating()
        self._go_on()

    def settle(self) -> None:
        """Seals, and merges until nothing is due."""
        self.seal()
        self.merge()  # one in progress may be deleting files: it is waited for
        while to_merge(self.snapshot, self.target, self._shape):
            self.merge()

    def _rewrite(
        self, base: Snapshot, views: Sequence[PartView], give_way: Callable[[], None], sealed: int | None = None
    ) -> None:
        """Puts one new file in the place of parts of `base`. `sealed`: of a seal, the last write that is in files
        then."""
        target = self.target

        def pause() -> None:
            give_way()
            self.check_open()
            if sealed is None and not _among(views, self._snapshot):
                raise _Truncated

        kind = "flat" if sealed is not None else self._shape.kind(sum(view.live for view in views))
        coding = Coding(target, self.keeping)
        made = write_segment(self._folder, self.number, coding, views, kind, self.text, pause)
        try:
            # Verified, so that its pages are there when it is searched first, and good before others are deleted.
            segment = None
            if made is not None:
                segment = self._segment(made, target, verify=True, pending=True)
                segment.effort = calibrated(segment, self.keeping, self._row.settings.target_recall, pause)
            self._writer.run(lambda: self._install(base, views, segment, sealed))
        except BaseException:
            if made is not None and not self._listed(made.file):
                (self._folder / made.file).unlink(missing_ok=True)
                pending_path(self._folder, made.file).unlink(missing_ok=True)
            raise
        self._unlink([row.file for row in _files(views)])

    # Files from elsewhere

    def attach(self, path: Path) -> int:
        """Takes an index file as a segment; its rows replace those of their ids. Returns how many there are. Errors as
        of `check_attachable`, and CorruptFile; then nothing has changed."""
        self.check_open()
        self.check_not_streaming()
        if self.migrating:
            raise ValueError(f"collection {self.name!r} is being migrated: attach the file once that is done")
        bz = self.bz
        check_attachable(path, bz, self.keeping)
        with self._sealing:
            row, copied = brought(path, self._folder, self.number, bz)
            try:
                segment = self._segment(row, bz, verify=copied, pending=True)
                segment.effort = calibrated(segment, self.keeping, self._row.settings.target_recall, self.check_open)
                # Most of what it replaces is looked for here, the rest in the writing thread.
                dying = {view.part: replaced_rows(view.part, segment) for view in self.snapshot.segments}
                base = self._writer.run(self._begin_seal)
                memory = [view for view in base.segments if view.part.row is None]
                if memory or self._newly_dead(base):
                    self._rewrite(base, memory, nothing, base.version)
                self._writer.run(lambda: self._take(segment, dying))
            except BaseException:
                if not self._listed(row.file):
                    forgotten(self._folder, [row])
                raise
        self._go_on()
        return segment.rows

    def _take(self, segment: Segment, dying: dict[Part, Ids]) -> None:
        """Adds an attached segment, in the writing thread: what came since the last seal is written to a file first, so
        that no journal brings back what the segment replaces. `dying`: its rows, of some parts."""
        self.check_not_streaming()
        if self.migrating:
            raise ValueError(f"collection {self.name!r} is being migrated: attach the file once that is done")
        current = self._begin_seal()
        memory = [view for view in current.segments if view.part.row is None]
        coding = Coding(self.target, self.keeping)
        rest = write_segment(self._folder, self.number, coding, memory, "flat", self.text, nothing)
        views = [view for view in current.segments if view.part.row is not None]
        fresh = [segment]
        try:
            if rest is not None:
                made = self._segment(rest, self.target, verify=False, pending=True)
                views.append(PartView(made, None, made.rows))
                fresh.append(made)
            later = {view.part: replaced_rows(view.part, segment) for view in views if view.part not in dying}
            views = [*with_dead(views, {**dying, **later}), PartView(segment, None, segment.rows)]
            for new in fresh:
                pending_path(self._folder, new.row.file).rename(self._folder / new.row.file)
            sync_folder(self._folder)
            self._adopt(current, views, fresh)
        except BaseException:
            if rest is not None and not self._listed(rest.file):
                forgotten(self._folder, [rest])
            raise

    def _adopt(self, current: Snapshot, views: Sequence[PartView], fresh: Sequence[Segment]) -> None:
        """Makes `views` the files of the collection, `fresh` ones among them; nothing is left in the journal."""
        changed = {view.part: view.dead for view in views if view.dead is not self._installed.get(view.part)}
        version = self._catalog.install(
            self.number,
            [replace(v.part.row, dead=_bytes(v.dead)) for v in views if v.part in fresh and v.part.row is not None],
            [],
            {p.row.file: _bytes(dead) for p, dead in changed.items() if p not in fresh and p.row is not None},
            current.version,
            after := self._row_with(views),
        )
        self._row = after or self._row
        self._sealed = current.version
        self._installed = {view.part: view.dead for view in views}
        self._show(replace(current, version=version, segments=tuple(views)))
        self.installed()

    def _begin_seal(self) -> Snapshot:
        self.check_open()
        self._set_tail_apart()
        self._unsealed = 0
        return self._snapshot

    def _listed(self, file: str) -> bool:
        """Whether the catalog lists a segment file; if it cannot tell, it may."""
        try:
            return any(row.file == file for row in self._catalog.manifest(self.number).segments)
        except Exception:
            return True

    def _newly_dead(self, snapshot: Snapshot) -> dict[Part, Bitmap]:
        """Dead rows of segment files, where the catalog does not know of all of them."""
        return {
            view.part: view.dead
            for view in snapshot.segments
            if view.part.row is not None and view.dead is not None and view.dead is not self._installed.get(view.part)
        }

    def _install(self, base: Snapshot, views: Sequence[PartView], segment: Segment | None, sealed: int | None) -> None:
        """Puts `segment` in the place of what it was made from, the parts `views` of `base`. `sealed`: as of
        `_rewrite`."""
        self.check_open()
        current = self._snapshot
        if not _among(views, current):
            raise _Truncated
        replaced = {view.part: view.dead for view in views}
        kept = [view for view in current.segments if view.part not in replaced]
        # With the journal, the catalog forgets who died until then: bitmaps say it. What dies twice is as dead.
        there = {view.part for view in kept}
        dead = {part: bitmap for part, bitmap in self._newly_dead(base).items() if part in there and sealed is not None}
        added: list[PartView] = []
        if segment is not None:
            added.append(_without(segment, _died_since(current, replaced)))
            pending_path(self._folder, segment.row.file).rename(self._folder / segment.row.file)
            sync_folder(self._folder)
        sealed = self._sealed if sealed is None else sealed
        version = self._catalog.install(
            self.number,
            [replace(view.part.row, dead=_bytes(view.dead)) for view in added if view.part.row is not None],
            [row.file for row in _files(views)],
            {part.row.file: _bytes(bitmap) for part, bitmap in dead.items() if part.row is not None},
            sealed,
            after := self._row_with((*kept, *added)),
        )
        self._row = after or self._row
        self._sealed = sealed
        known: dict[Part, Bitmap | None] = {**self._installed, **dead, **{view.part: view.dead for view in added}}
        self._installed = {view.part: known.get(view.part) for view in (*kept, *added)}
        self._show(replace(current, version=version, segments=(*kept, *added)))
        self.installed()

    def _row_with(self, views: Sequence[PartView]) -> CollectionRow | None:
        """With the efforts of these segments alone; None where that changes nothing."""
        efforts = {view.part.row.file: view.part.effort.by_k for view in views if view.part.row and view.part.effort}
        if efforts == self._row.settings.efforts:
            return None
        return replace(self._row, settings=replace(self._row.settings, efforts=efforts))


def _effort(by_k: tuple[tuple[int, int], ...] | None) -> Effort | None:
    return None if by_k is None else Effort(by_k)


class _Truncated(Exception):
    """What is being merged is there no more."""


def _among(views: Sequence[PartView], snapshot: Snapshot) -> bool:
    there = {view.part for view in snapshot.segments}
    return all(view.part in there for view in views)


def _bytes(bitmap: Bitmap | None) -> bytes:
    """As the catalog has it."""
    return b"" if bitmap is None else bitmap.astype("<u8").tobytes()


def _files(views: Sequence[PartView]) -> list[SegmentRow]:
    return [row for view in views if (row := view.part.row) is not None]


def _died_since(current: Snapshot, before: Mapping[Part, Bitmap | None]) -> Ids:
    """Ids of the rows of some parts that are dead in a snapshot and were not before."""
    ids = [np.empty(0, np.int64)]
    for view in current.segments:
        if view.part in before and view.dead is not None and view.dead is not before[view.part]:
            fresh = view.dead & ~bitmaps.resized(before[view.part], view.part.rows)
            ids.append(view.part.index.ids[bitmaps.members(fresh)])
    return np.concatenate(ids)


def _without(segment: Segment, ids: Ids) -> PartView:
    """A view of all rows but those of `ids`."""
    if len(ids) == 0:
        return PartView(segment, None, segment.rows)
    dead = bitmaps.resized(None, segment.rows)
    bitmaps.add(dead, segment.positions(ids))
    return PartView(segment, dead, segment.rows - len(ids))
