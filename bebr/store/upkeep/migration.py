"""Which parts of a collection wait to be re-encoded, and which files the next merge takes.

A migration sets the target in the catalog: from then on writes are coded by it. Seals and merges re-encode parts from
their kept vectors, a file at a time, and each is installed, so that a kill costs the file in progress. Once none is
left, the target becomes the collection's model.
"""

from __future__ import annotations

from bebr.binarizer import Binarizer
from bebr.index import FlatIndex
from bebr.store.files.kept import Keeping
from bebr.store.segments.shape import Shape
from bebr.store.snapshots.part import PartView
from bebr.store.snapshots.snapshot import Snapshot
from bebr.store.workers.compaction import LOAD_ROWS, LOAD_SHARE, RATIO, segments_to_merge


def check_target(keeping: Keeping | None, bz: Binarizer, target: Binarizer) -> None:
    """ValueError unless rows of the model `bz` can be re-encoded with `target` from what is kept."""
    if keeping is None:
        raise ValueError(
            "this collection keeps no vectors to re-encode: create one with keep='float16' or 'int8', or with the new "
            "model"
        )
    if not target.has_decoder:
        raise ValueError("bz has no decoder, so its codes have no float scores: want another model")
    for what, got, wanted in (("metric", target.metric, bz.metric), ("input_dim", target.input_dim, bz.input_dim)):
        if got != wanted:
            raise ValueError(f"bz has {what} {got!r}: want {wanted!r}, that of the collection's vectors")


def behind(snapshot: Snapshot, target: Binarizer) -> list[PartView]:
    """The parts with live rows in codes of another model."""
    return [view for view in snapshot.parts if view.live and view.part.index.binarizer.digest != target.digest]


def to_merge(
    snapshot: Snapshot, target: Binarizer, shape: Shape, ratio: int = RATIO, loading: bool = False
) -> list[PartView]:
    """The files that a merge makes one of: those of `segments_to_merge` by that `ratio`, and the smallest of those that
    are to be re-encoded; or one that is flat and has too many rows for that. Empty where nothing is due. Files that
    would be flat together are scanned as one anyway: for these the ratio is `RATIO`. `loading`: rows come so fast that
    a large merge is for later."""
    files = [view for view in snapshot.segments if view.part.row is not None]
    sizes = [(view.part.rows, view.live) for view in files]
    most = shape.most_rows
    if loading:
        most = min(most, max(LOAD_ROWS, int(LOAD_SHARE * len(snapshot))))
    chosen = [files[i] for i in segments_to_merge(sizes, most, ratio)]
    if ratio > RATIO and shape.kind(sum(view.live for view in chosen)) == "flat":
        chosen = [files[i] for i in segments_to_merge(sizes, most, RATIO)]
    waiting = [view for view in behind(snapshot, target) if view.part.row is not None]
    if waiting and not any(view in chosen for view in waiting):
        chosen.append(min(waiting, key=lambda view: view.live))
    if not chosen:
        large = [view for view in files if isinstance(view.part.index, FlatIndex) and shape.kind(view.live) != "flat"]
        chosen = large[:1]
    return chosen
