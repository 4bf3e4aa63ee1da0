"""An index file of `bebr build`, or of another machine, becomes a segment as it is: what is checked, whom it replaces,
and how it is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from bebr.arrays import Ids
from bebr.binarizer import Binarizer
from bebr.collection.keys import FIRST_PLACE
from bebr.errors import IncompatibleModel, limited
from bebr.files import sync_folder
from bebr.index import Index
from bebr.index.files import MODEL_DIGEST, contents_digest, open_sections
from bebr.store.catalog.records import SegmentRow
from bebr.store.columns.table import nothing
from bebr.store.files import bitmaps
from bebr.store.files.kept import Keeping
from bebr.store.segments.building import Coding
from bebr.store.segments.calibrating import calibrated
from bebr.store.segments.segment import Segment, new_file_name, pending_path
from bebr.store.segments.writing import write_segment
from bebr.store.snapshots.part import Part, PartView
from bebr.store.snapshots.snapshot import Snapshot
from bebr.store.upkeep.rewriting import Rewriting
from bebr.store.writes.current import Current
from bebr.store.writes.state import bitmap_bytes, in_memory

# Ids looked up at a time.
_PIECE = 1 << 18


class Attaching:
    """To one collection. `check`: a ValueError where it takes no files as it stands."""

    def __init__(self, current: Current, rewriting: Rewriting, check: Callable[[], None]) -> None:
        self._current, self._rewriting, self._check = current, rewriting, check

    def attach(self, path: Path) -> int:
        """Takes an index file as a segment; its rows replace those of their ids. Returns how many there are. Errors as
        of `check_attachable`, and CorruptFile; then nothing has changed."""
        current, state = self._current, self._current.state
        current.check_open()
        self._check()
        check_attachable(path, state.bz, state.keeping)
        with current.sealing:
            files = current.shared.files
            row, copied = brought(path, files.folder, state.number, state.bz)
            try:
                segment = state.segment(row, state.bz, verify=copied, pending=True)
                files.note_checked(row, True)  # where it is a link, the file itself was, above
                target = state.row.settings.target_recall
                segment.effort, segment.rescored = calibrated(segment, state.keeping, target, current.check_open)
                # Most of what it replaces is looked for here, the rest in the writing thread.
                dying = {view.part: replaced_rows(view.part, segment) for view in current.snapshot.segments}
                files.publish(row)
                self._rewriting.seal_memory(nothing)
                current.run(lambda: self._take(segment, dying))
            except BaseException:
                if not current.listed(row.file):
                    files.discard(row.file)
                raise
        return segment.rows

    def _take(self, segment: Segment, dying: dict[Part, Ids]) -> None:
        """Adds an attached segment, in the writing thread: what came since the last seal is written to a file first, so
        that no journal brings back what the segment replaces. `dying`: its rows, of some parts."""
        self._check()
        state, files = self._current.state, self._current.shared.files
        now = self._current.begin_seal()
        coding = Coding(state.target, state.keeping)
        rest = write_segment(files.folder, state.number, coding, in_memory(now), "flat", state.text, nothing)
        views = [view for view in now.segments if view.part.row is not None]
        fresh = [segment]
        try:
            if rest is not None:
                files.publish(rest)
                made = state.segment(rest, state.target, verify=False, pending=True)
                views.append(PartView(made, None, made.rows))
                fresh.append(made)
            later = {view.part: replaced_rows(view.part, segment) for view in views if view.part not in dying}
            views = [*with_dead(views, {**dying, **later}), PartView(segment, None, segment.rows)]
            files.install([new.row.file for new in fresh])
            self._adopt(now, views, fresh)
        except BaseException:
            if rest is not None and not self._current.listed(rest.file):
                files.discard(rest.file)
            raise

    def _adopt(self, now: Snapshot, views: Sequence[PartView], fresh: Sequence[Segment]) -> None:
        """Makes `views` the files of the collection, `fresh` ones among them; nothing is left in the journal."""
        state = self._current.state
        dead = {view.part: view.dead for view in views}
        changed = [view for view in views if view.part not in fresh and view.dead is not state.installed.get(view.part)]
        version = self._current.shared.catalog.install(
            state.number,
            [replace(new.row, dead=bitmap_bytes(dead[new])) for new in fresh],
            [],
            {view.part.row.file: bitmap_bytes(view.dead) for view in changed if view.part.row is not None},
            now.version,
            after := state.row_with(views),
        )
        state.row, state.sealed = after or state.row, now.version
        state.installed = dead
        self._current.show(replace(now, version=version, segments=tuple(views)))
        self._current.on_install()


def check_attachable(path: Path, bz: Binarizer, keeping: Keeping | None) -> None:
    """ValueError, IncompatibleModel or CorruptFile unless a file can be a segment of a collection of the model `bz`
    that keeps vectors as `keeping` says. Every byte of it is read."""
    index, sections = open_sections(path, verify=True)
    if MODEL_DIGEST in sections:
        raise ValueError(f"{path} is a file of a collection: want one that an index's save or bebr.build wrote")
    if index.binarizer.digest != bz.digest:
        raise IncompatibleModel(
            f"{path} has codes of model {index.binarizer.digest}, the collection of {bz.digest}: create a collection "
            "with the file's model (bebr.open_index(path).binarizer), or build the file with the collection's"
        )
    if len(index) == 0:
        raise ValueError(f"{path} has no rows")
    if index._engine.max_id >= FIRST_PLACE:
        raise ValueError(f"{path} has an id of {index._engine.max_id}: want ids below 2^62")
    if keeping is not None:
        _check_kept(path, index, keeping)


def _check_kept(path: Path, index: Index, keeping: Keeping) -> None:
    if index.binarizer.has_adapter:
        raise ValueError(f"{path}: its model has an input adapter, behind which are not the vectors that are kept here")
    if index.raw_type != keeping.kind:
        got = "none" if index.raw_type is None else f"{index.raw_type} ones"
        raise ValueError(
            f"{path} has {got}, but the collection keeps vectors as {keeping.kind}: build it with "
            f"rescore={keeping.kind!r}, or create a collection with keep={index.raw_type!r}"
        )


def brought(path: Path, folder: Path, collection: int, bz: Binarizer) -> tuple[SegmentRow, bool]:
    """The file under a segment's name of its own, not installed yet: a hard link where one can be, else a copy. And
    whether it is a copy."""
    name = new_file_name(collection)
    to = pending_path(folder, name)
    copied = False
    try:
        os.link(path, to)
    except OSError:  # another file system, or one without links
        copied = True
        with ExitStack() as failed:
            failed.callback(to.unlink, missing_ok=True)
            with limited(f"{path} cannot be copied to {folder}"), path.open("rb") as source, to.open("xb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            failed.pop_all()
    sync_folder(folder)
    index, _ = open_sections(to)
    return SegmentRow(name, len(index), to.stat().st_size, contents_digest(to), model=bz.digest), copied


def replaced_rows(part: Part, by: Part) -> Ids:
    """The rows of a part whose ids another part has, int64[n]. Goes over the ids of the smaller one."""
    if part.rows <= by.rows:
        found = [
            begin + np.flatnonzero(by.positions(part.index.ids[begin : begin + _PIECE]) >= 0)
            for begin in range(0, part.rows, _PIECE)
        ]
    else:
        looked_up = [part.positions(by.index.ids[begin : begin + _PIECE]) for begin in range(0, by.rows, _PIECE)]
        found = [rows[rows >= 0] for rows in looked_up]
    return np.concatenate([np.empty(0, np.int64), *found])


def with_dead(views: Sequence[PartView], dying: Mapping[Part, Ids]) -> list[PartView]:
    """The parts with these rows dead, too."""
    made = []
    for view in views:
        rows = dying[view.part]
        if len(rows):
            dead = bitmaps.resized(view.dead, view.part.rows)
            bitmaps.add(dead, rows)
            made.append(PartView(view.part, dead, view.part.rows - bitmaps.count(dead)))
        else:
            made.append(view)
    return made
