"""Which parts of a collection wait to be re-encoded, and which of them the next new file takes.

A migration sets the target in the catalog: from then on writes are coded by it. The compactor re-encodes parts from
their kept vectors, a file at a time, and installs each, so that a kill costs the file in progress. Once none is left,
the target becomes the collection's model.
"""

from __future__ import annotations

from collections.abc import Sequence

from bebr.binarizer import Binarizer
from bebr.store.compaction import segments_to_rewrite
from bebr.store.kept import Keeping
from bebr.store.snapshot import PartView, Snapshot


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


def to_rewrite(snapshot: Snapshot, target: Binarizer) -> list[PartView]:
    """The parts whose rows a seal writes to one new file: all that are in memory, small files and half-dead ones, and
    the smallest of those that are to be re-encoded."""
    memory = [view for view in snapshot.segments if view.part.row is None]
    files = [view for view in snapshot.segments if view.part.row is not None]
    sizes = [(view.part.rows, view.live) for view in files]
    chosen = [files[i] for i in segments_to_rewrite(sizes, sum(view.live for view in memory))]
    waiting = [view for view in behind(snapshot, target) if view.part.row is not None]
    if waiting and not any(view in chosen for view in waiting):
        chosen.append(_smallest(waiting))
    return [*memory, *chosen]


def _smallest(views: Sequence[PartView]) -> PartView:
    return min(views, key=lambda view: view.live)
