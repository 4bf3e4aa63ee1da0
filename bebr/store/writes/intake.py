"""Writes on their way in: what is coded and looked up in the caller's time, before the writing thread has them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np

from bebr.arrays import Floats
from bebr.binarizer.codes import Codes
from bebr.collection.bare import bare_rows
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import Named
from bebr.collection.protocol import OnConflict
from bebr.errors import IncompatibleModel
from bebr.store.files.bitmaps import Bools
from bebr.store.files.kept import Rows
from bebr.store.snapshots.part import PartView
from bebr.store.workers.retraining import scaled
from bebr.store.writes.change import FEW_ROWS, AnyChange, Change, InsertChange, PayloadChange
from bebr.store.writes.current import Current
from bebr.store.writes.writer import Target


class Intake:
    """Of one collection, to which the writing thread knows `target`."""

    def __init__(self, current: Current, target: Target) -> None:
        self._current, self._target = current, target
        self._scaling = threading.Lock()

    def upsert(
        self, ids: Named, vectors: Floats, texts: Sequence[str], conflict: OnConflict = "replace"
    ) -> Future[int]:
        """Encodes vectors float32[n, d], NaN for none, unless they are few, and hands an upsert of distinct `ids` to
        the writing thread."""
        if self._current.state.unscaled:
            self._scale(vectors)
        state = self._current.state  # one of them: a cutover may come in between
        number, bz, bare = state.number, state.target, bare_rows(vectors)
        if vectors.shape[1] != bz.input_dim:  # they were checked against another one
            raise IncompatibleModel(
                f"x has {vectors.shape[1]} dimensions, and the collection was cut over to {bz.digest} meanwhile, which "
                f"has {bz.input_dim}: embed with the producer of that"
            )
        if bare is not None:  # such a row has a code, which nobody reads
            vectors = np.where(bare[:, None], np.float32(0), vectors)
        kept = None if state.keeping is None else state.keeping.stored(vectors)
        if len(vectors) <= FEW_ROWS:
            about = bz.digest, kept, None, ids.keys, False, bare
            # Copies: a write that was given up may still be encoded when its caller changes the arrays.
            change = Change(ids.numbers.copy(), None, texts, {}, *about, vectors.copy(), number)
        else:
            change = self._located(ids, bz._encode(vectors), texts, bz.digest, kept, bare)
            change = replace(change, collection=number)
        return self._submit(change if conflict == "replace" else InsertChange(change, conflict == "error"))

    def delete(self, ids: Named) -> Future[int]:
        """Hands a delete of distinct `ids` to the writing thread."""
        return self._submit(self._located(ids, None))

    def delete_matching(self, filter: Filter) -> Future[int]:
        """Hands a delete of what matches to the writing thread, which decides what that is."""
        self._current.snapshot.matching(filter)  # parts keep it: the writing thread looks at what comes after only
        return self._submit(Change(np.empty(0, np.int64), None, (), {}, filter=filter))

    def set_payloads(self, ids: Named, texts: Sequence[str], merge: bool) -> Future[int]:
        """Hands new payloads of distinct `ids` to the writing thread."""
        self._current.check_open()
        return self._submit(PayloadChange(ids.numbers.copy(), texts, merge, ids.keys))

    def _submit(self, change: AnyChange) -> Future[int]:
        return self._current.shared.writer.submit(self._target, change)

    def _scale(self, vectors: Floats) -> None:
        """Before the first rows: gives codes the scale of these. The rows of others wait for it."""
        current, state = self._current, self._current.state
        with self._scaling:
            if not state.unscaled:
                return
            if state.keeping is not None:
                state.keeping.stored(np.nan_to_num(vectors, nan=0.0))  # what cannot be kept leaves no trace
            model = scaled(state.bz, vectors) if state.snapshot.version == 0 else None
            if model is not None:
                digest = current.shared.models.add(model)

                def begin() -> None:
                    if state is current.state and state.snapshot.version == 0 and state.bz is state.target:
                        state.set_row(replace(state.row, model=digest))
                        state.bz = state.target = model
                        state.tail = state.new_tail()
                        current.show(replace(state.snapshot, bz=model, tail=PartView(state.tail.part(), None, 0)))

                current.run(begin)
            state.unscaled = False

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
        known = {view.part: view.part.positions(numbers) for view in self._current.snapshot.segments if view.live}
        return Change(numbers, codes, texts, known, model, kept, keys=ids.keys, bare=bare)
