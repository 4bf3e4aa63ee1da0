"""Other codes of the same vectors: a collection trains a model on what it keeps, or is given one, and its rows are
re-encoded by seals and merges (`bebr.store.upkeep.migration`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bebr.binarizer import Binarizer
from bebr.store.snapshots.part import PartView
from bebr.store.upkeep.migration import behind, check_target
from bebr.store.workers.ending import check_running
from bebr.store.workers.retraining import next_training, sample
from bebr.store.writes.current import Current


class Recoding:
    """Of one collection. `check`: a ValueError where it takes no other model as it stands."""

    def __init__(self, current: Current, check: Callable[[], None]) -> None:
        self._current, self._check = current, check

    def migrate(self, target: Binarizer, **settings: Any) -> None:
        """Codes what is written from now on with `target`; what is there waits for seals and merges. `settings`:
        others that change with it. ValueError for a model that does not fit the kept vectors."""
        current = self._current
        current.check_open()
        self._check()
        check_target(current.state.keeping, current.state.bz, target)
        digest = current.shared.models.add(target)

        def begin() -> None:
            self._check()
            state = current.state
            state.set_row(replace(state.row, settings=replace(state.row.settings, target=digest, **settings)))
            state.target = target
            current.set_tail_apart()

        current.run(begin)

    def retrain(self, bytes_per_vector: int | None = None) -> None:
        """Trains a model on a sample of the kept vectors, and begins to re-encode with it. ValueError without rows."""
        self._check()
        current, state = self._current, self._current.state
        snapshot = current.snapshot
        vectors = sample(snapshot)[1]
        if len(vectors) == 0:
            raise ValueError(f"collection {current.name!r} has no vectors to train on")
        size = bytes_per_vector or state.row.settings.bytes_per_vector or state.bz.bytes_per_vector

        def step(_stage: str, _done: int, _total: int) -> None:
            current.check_open()
            check_running()

        from bebr.training import train  # a server starts without it

        model = train(vectors, bytes_per_vector=size, metric=state.bz.metric, progress=step)
        self.migrate(model, bytes_per_vector=size, trained_rows=snapshot.searched)

    @property
    def training_due(self) -> bool:
        """Whether it has the rows to be trained anew."""
        rows = next_training(self._current.state.row.settings)
        return rows is not None and self._current.state.snapshot.searched >= rows

    @property
    def waiting(self) -> list[PartView]:
        """The parts that are still in codes of another model than the one of new writes."""
        return behind(self._current.state.snapshot, self._current.state.target)

    def finish(self) -> None:
        """Makes the target the collection's model, if no row is left in codes of another."""
        current = self._current

        def finish() -> None:
            state = current.state
            if state.migrating and not self.waiting:
                settings = replace(state.row.settings, target="")
                state.set_row(replace(state.row, model=state.target.digest, settings=settings))
                state.bz = state.target
                current.put(replace(state.snapshot, bz=state.bz))

        if current.state.migrating:
            current.run(finish)
