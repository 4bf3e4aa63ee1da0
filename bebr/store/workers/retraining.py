"""When a collection trains itself, on what, and the thread that does it.

The model that has seen no data serves the first rows; few are answered exactly. Training pays early and then ever less
(docs/experiments/few-rows.md), so it comes at 1,000 rows and whenever there are four times as many, up to 65,536.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

import numpy as np

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.store.catalog.records import Settings
from bebr.store.snapshots.snapshot import Snapshot
from bebr.store.workers.ending import Ending, check_running

_log = logging.getLogger("bebr.store")

FIRST_ROWS = 1000
_GROWTH = 4
# More rows take time and hardly raise recall.
MOST_ROWS = 65_536

# Lengths for which codes made for vectors of length 1 will do.
_NEAR = 0.5, 2.0

# Seconds after which training that failed is tried again.
_RETRY = 60.0


def next_training(settings: Settings) -> int | None:
    """At how many rows a collection is to be trained anew; None: at none, as it stands."""
    seen = settings.trained_rows
    if not settings.retrain or settings.target or settings.successor or seen >= MOST_ROWS:
        return None
    return max(FIRST_ROWS, _GROWTH * seen)


def scaled(bz: Binarizer, vectors: Floats) -> Binarizer | None:
    """For the first rows of a collection, float32[n, d], NaN for none: the model `bz`, which has seen no data, with
    steps for vectors of their length (root mean square). None where these are near what it is for, 1, or there are
    none."""
    lengths = np.linalg.norm(vectors[~np.isnan(vectors[:, 0])].astype(np.float64), axis=1)
    length = float(np.sqrt(np.mean(np.square(lengths)))) if len(lengths) else 0.0
    if length == 0 or _NEAR[0] <= length <= _NEAR[1]:
        return None
    from bebr.training.untrained import untrained  # a server starts without what trains

    return untrained(bz.input_dim, bz.bytes_per_vector, metric=bz.metric, norm=length)


def sample(snapshot: Snapshot, most: int = MOST_ROWS, seed: int = 0) -> tuple[Ids, Floats]:
    """Ids and kept vectors of live rows that have one, drawn evenly: int64[n] and float32[n, d] of at most `most`."""
    live = np.array([view.searched for view in snapshot.parts])
    chosen = np.random.default_rng(seed).permutation(int(live.sum()))[:most]
    ends = np.cumsum(live)
    ids, found = [np.empty(0, np.int64)], [np.empty((0, snapshot.keeping.dim), np.float32)]
    for view, begin, end in zip(snapshot.parts, ends - live, ends, strict=True):
        here = np.sort(chosen[(begin <= chosen) & (chosen < end)]) - begin
        if len(here):
            rows = view.searched_rows(0, view.part.rows)[here]
            ids.append(view.part.index.ids[rows])
            found.append(snapshot.keeping.vectors(view.part.kept(rows)))
    return np.concatenate(ids), np.concatenate(found)


class Retrainable(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def closed(self) -> bool: ...

    def retrain(self) -> None:
        """Trains a model on a sample and has the rows re-encoded."""

    def retrain_if_due(self) -> None:
        """Asks for training where it is due."""


class Trainer:
    """Trains collections of a database, one at a time. A training in progress keeps nobody from closing: it ends at its
    next step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # over the next two
        self._wanted: set[Retrainable] = set()
        self._failed: dict[Retrainable, float] = {}
        self._turn = threading.Lock()

    def request(self, collection: Retrainable) -> None:
        """Has the collection trained soon. Repeating it before that is done is harmless."""
        with self._lock:
            if collection in self._wanted or time.monotonic() < self._failed.get(collection, 0.0) + _RETRY:
                return
            self._wanted.add(collection)
        threading.Thread(target=self._run, args=[collection], name="bebr-train").start()

    def _run(self, collection: Retrainable) -> None:
        failed = False
        try:
            with self._turn:
                check_running()
                collection.retrain()
        except Ending:
            return
        except Exception as error:
            failed = not collection.closed
            if failed:  # what data there is may not do: of that, no trace is needed
                trace = None if isinstance(error, ValueError) else error
                _log.error(
                    "collection %r: training failed, its model stays: %s", collection.name, error, exc_info=trace
                )
        with self._lock:
            self._wanted.discard(collection)
            if failed:
                self._failed[collection] = time.monotonic()
        if not collection.closed:
            collection.retrain_if_due()
