"""Queries of the producer that a collection is being migrated to: they search its rows, and the others by a bridge."""

from __future__ import annotations

from dataclasses import replace

from bebr.arrays import Floats, Ids
from bebr.collection.options import SearchOptions
from bebr.errors import IncompatibleModel
from bebr.index import Hits
from bebr.index.segments import StopFlag
from bebr.store.search.searching import best_of, search_vectors
from bebr.store.snapshots.snapshot import Snapshot, Successor


def search_both(
    snapshot: Snapshot,
    successor: Successor,
    vectors: Floats,
    options: SearchOptions,
    allow: Ids | None = None,
    stop: StopFlag | None = None,
) -> Hits:
    """The best rows for queries of the successor's model: by their new vectors, and where they have none yet by the
    codes of the old model, whose scores are calibrated then (`Binarizer.prepare_for`). IncompatibleModel where there
    are such rows and the new model was not trained compatible with the old one."""
    new = successor.rows
    own = search_vectors(new, new.bz, vectors, replace(options, model=None), allow, stop)
    waiting = successor.waiting(snapshot)
    if not len(waiting):
        return own
    try:
        rest = search_vectors(waiting, snapshot.bz, vectors, replace(options, model=new.bz, rescore=0), allow, stop)
    except IncompatibleModel as error:
        raise IncompatibleModel(
            f"{len(waiting)} of {len(snapshot)} rows have no vector of model {new.bz.digest} yet, and it was not "
            f"trained compatible with {snapshot.bz.digest}, which made their codes: stream the others first, or train "
            "it with compatible_with= that model"
        ) from error
    return best_of([own, rest], options.k, new.bz.metric == "l2")
