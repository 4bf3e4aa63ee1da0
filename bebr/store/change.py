"""A write on its way: from the caller's thread, which encodes and looks up, to the one that commits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bebr.arrays import Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes
from bebr.collection.filter_tree import Filter
from bebr.store.kept import Rows
from bebr.store.records import Operation
from bebr.store.snapshot import Draft, Part

# Upserts of at most so many rows are joined, up to so many together.
_SMALL_ROWS = 256


@dataclass(frozen=True)
class Change:
    """An upsert, or a delete (`codes` None), of distinct `ids` int64[n]. `texts`: a payload a row, "" for none, or an
    empty sequence. `known`: the positions of `ids` in parts where they have been looked up. `model`: the digest of that
    of the codes. `kept`: the vectors, uint8[n, V], where they are kept. `filter`: a delete of all rows that match when
    it is applied, and no `ids`."""

    ids: Ids
    codes: Codes | None
    texts: Sequence[str]
    known: Mapping[Part, Ids]
    model: str = ""
    kept: Rows | None = None
    filter: Filter | None = None

    @property
    def bytes(self) -> int:
        """What it takes in memory and in the journal, about."""
        codes = 0 if self.codes is None else self.codes.planes.nbytes + self.codes.factors.nbytes
        kept = 0 if self.kept is None else self.kept.nbytes
        return self.ids.nbytes + codes + kept + sum(map(len, self.texts))

    @staticmethod
    def of(operation: Operation, model: Binarizer) -> Change:
        """What the journal says. `model`: that of the codes."""
        codes = None
        if operation.planes is not None and operation.factors is not None:
            codes = Codes.of_rows(operation.planes, operation.factors, model.settings.factor_bytes)
        return Change(operation.ids, codes, operation.payloads, {}, model.digest, operation.vectors)

    def apply(self, draft: Draft) -> Operation | None:
        """Makes it in a draft; returns it for the journal, None where nothing changed."""
        if self.codes is None:
            ids = self.ids if self.filter is None else draft.matching(self.filter)
            present = draft.remove(ids, self.known)
            return Operation("delete", present) if len(present) else None
        tail, codes = draft.tail, self.codes
        if self.model != tail.bz.digest:  # a migration has begun since it was encoded
            assert tail.keeping is not None and self.kept is not None
            codes = tail.bz.encode(tail.keeping.vectors(self.kept))
        draft.upsert(self.ids, codes, self.texts, self.known, self.kept)
        planes, factors = np.ascontiguousarray(codes.planes), codes.factor_rows()
        return Operation("upsert", self.ids, planes, factors, list(self.texts), vectors=self.kept, model=tail.bz.digest)


def joined(changes: Iterable[Change]) -> Iterator[tuple[Change, int]]:
    """The same changes in fewer: neighbours that are small upserts of different ids become one. With each the number
    of changes it stands for."""
    run: list[Change] = []
    seen: set[int] = set()
    for change in changes:
        small = change.codes is not None and len(change.ids) <= _SMALL_ROWS
        values = change.ids.tolist() if small else []
        alike = small and bool(run) and change.model == run[0].model
        if run and not (alike and 0 < len(seen) <= _SMALL_ROWS and seen.isdisjoint(values)):
            yield _one(run), len(run)
            run, seen = [], set()
        run.append(change)
        seen.update(values)
    if run:
        yield _one(run), len(run)


def _one(changes: Sequence[Change]) -> Change:
    if len(changes) == 1:
        return changes[0]
    codes = [change.codes for change in changes if change.codes is not None]
    planes, factors = np.concatenate([c.planes for c in codes]), np.concatenate([c.factors for c in codes])
    texts: list[str] = []
    if any(change.texts for change in changes):
        for change in changes:
            texts += change.texts or [""] * len(change.ids)
    known = {
        part: np.concatenate([change.known[part] for change in changes])
        for part in changes[0].known
        if all(part in change.known for change in changes)
    }
    ids = np.concatenate([change.ids for change in changes])
    kept = [change.kept for change in changes if change.kept is not None]
    return Change(ids, Codes(planes, factors), texts, known, changes[0].model, np.concatenate(kept) if kept else None)
