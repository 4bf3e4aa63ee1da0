"""A write on its way: from the caller's thread, which encodes unless rows are few, to the one that commits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes
from bebr.collection.checks import merged
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import Named
from bebr.collection.protocol import AlreadyExists
from bebr.errors import IncompatibleModel
from bebr.store.catalog.records import Operation
from bebr.store.files.bitmaps import Bools
from bebr.store.files.kept import Rows
from bebr.store.snapshots.draft import Draft
from bebr.store.snapshots.keys import keys_of, place, resolve
from bebr.store.snapshots.part import Part

# Upserts of at most so many rows are joined, up to so many together.
_SMALL_ROWS = 256
# An upsert of at most so many rows is encoded by the writing thread, with others: Python's part of encoding is 100 us
# for one row and for many, and 16 threads that write single rows spent a third of their time in it.
FEW_ROWS = 4
# What a row takes beside its payload, about.
_ROW_BYTES = 128


@dataclass(frozen=True)
class Change:
    """An upsert of distinct `ids` int64[n] with `codes`, or with `vectors` float32[n, d] that are still to be encoded;
    or, with neither, a delete. `texts`: a payload a row, "" for none, or an empty sequence. `known`: the positions of
    `ids` in parts where they have been looked up. `model`: the digest of that of the codes. `kept`: the vectors,
    uint8[n, V], where they are kept. `filter`: a delete of all rows that match when it is applied, and no `ids`.
    `keys`: of the ids, as of `Named`. `placed`: the ids are the numbers of rows; else those of keys are their first
    places. `bare`: which rows have no vector, bool[n]; None: all have one. `collection`: the number that the
    collection had when they were handed in; 0: it does not matter."""

    ids: Ids
    codes: Codes | None
    texts: Sequence[str]
    known: Mapping[Part, Ids]
    model: str = ""
    kept: Rows | None = None
    filter: Filter | None = None
    keys: list[bytes] | None = None
    placed: bool = False
    bare: Bools | None = None
    vectors: Floats | None = None
    collection: int = 0

    @property
    def deletes(self) -> bool:
        return self.codes is None and self.vectors is None

    @property
    def size(self) -> int:
        """What it takes in memory and in the journal, about."""
        codes = 0 if self.codes is None else self.codes.planes.nbytes + self.codes.factors.nbytes
        arrays = sum(array.nbytes for array in (self.kept, self.vectors) if array is not None)
        return self.ids.nbytes + codes + arrays + sum(map(len, self.texts)) + sum(map(len, self.keys or ()))

    @property
    def small(self) -> bool:
        """Whether it may be joined with others."""
        return not self.deletes and len(self.ids) <= _SMALL_ROWS

    def rows(self, made: Operation | None) -> int:
        """How many rows it wrote or removed, given what `apply` returned for it and those it was joined with."""
        return len(self.ids) if not self.deletes else 0 if made is None else len(made.ids)

    def only(self, which: Ids) -> Change:
        """The same of the rows at places `which` int64[m]."""
        given = Named(self.ids, self.keys)[which]
        return replace(
            self,
            ids=given.numbers,
            keys=given.keys,
            codes=None if self.codes is None else Codes(self.codes.planes[which], self.codes.factors[which]),
            texts=[self.texts[i] for i in which.tolist()] if self.texts else self.texts,
            known={part: rows[which] for part, rows in self.known.items()},
            kept=None if self.kept is None else self.kept[which],
            bare=None if self.bare is None else self.bare[which],
            vectors=None if self.vectors is None else self.vectors[which],
        )

    @staticmethod
    def of(operation: Operation, model: Binarizer) -> Change:
        """What the journal says. `model`: that of the codes."""
        codes = None
        if operation.planes is not None and operation.factors is not None:
            codes = Codes.of_rows(operation.planes, operation.factors, model.settings.factor_bytes)
        about = model.digest, operation.vectors
        keys = operation.keys or None
        return Change(operation.ids, codes, operation.payloads, {}, *about, keys=keys, placed=True, bare=operation.bare)

    def apply(self, draft: Draft) -> Operation | None:
        """Makes it in a draft; returns it for the journal, None where nothing changed."""
        ids, keys, known = self._placed(draft)
        if self.deletes:
            ids = ids if self.filter is None else draft.matching(self.filter)
            present = draft.remove(ids, known)
            return Operation("delete", present) if len(present) else None
        if self.collection not in (0, draft.collection):
            raise IncompatibleModel(
                f"these vectors are for model {self.model}, and the collection was cut over to {draft.tail.bz.digest}, "
                "which is another producer's: embed them with that"
            )
        tail, codes = draft.tail, self.codes
        if self.vectors is not None and self.model == tail.bz.digest:
            codes = tail.bz.encode(self.vectors)
        elif codes is None or self.model != tail.bz.digest:  # a migration has begun since it was handed in
            assert tail.keeping is not None and self.kept is not None
            codes = tail.bz.encode(tail.keeping.vectors(self.kept))
        draft.upsert(ids, codes, self.texts, known, self.kept, keys, self.bare)
        planes, factors = np.ascontiguousarray(codes.planes), codes.factor_rows()
        keys = keys if keys and any(keys) else []
        about = self.kept, tail.bz.digest, keys, self.bare
        return Operation("upsert", ids, planes, factors, list(self.texts), 0, *about)

    def _placed(self, draft: Draft) -> tuple[Ids, list[bytes] | None, Mapping[Part, Ids]]:
        """The numbers of the rows that it is about, their keys, and what is known of them."""
        given = Named(self.ids, self.keys)
        if not self.placed and (self.keys is not None or draft.keyed):
            now = draft.finish()
            if self.deletes:
                numbers = resolve(now, given)
                return (self.ids, None, self.known) if numbers is self.ids else (numbers[numbers >= 0], None, {})
            found = place(now, given, self.known)
            if found is not given:
                return found.numbers, found.keys, {}
        return self.ids, self.keys, self.known


@dataclass
class InsertChange:
    """An upsert of those rows whose ids are not there yet when it has its turn. `strict`: where one is there, it is
    none, and `fault` says so."""

    change: Change
    strict: bool
    fault: AlreadyExists | None = None

    small = False  # what it writes goes by the writes before it
    model = ""

    @property
    def ids(self) -> Ids:
        return self.change.ids

    @property
    def size(self) -> int:
        """What it takes in memory and in the journal, about."""
        return self.change.size

    def rows(self, made: Operation | None) -> int:
        """How many rows were new."""
        return 0 if made is None else len(made.ids)

    def apply(self, draft: Draft) -> Operation | None:
        """Makes it in a draft; returns it for the journal, None where nothing is new."""
        self.fault = None
        given, now = Named(self.change.ids, self.change.keys), draft.finish()
        numbers = resolve(now, given)
        there = np.isin(numbers, now.present(numbers))
        if there.any() and self.strict:
            first = given[np.flatnonzero(there)[:1]].ids()[0]
            self.fault = AlreadyExists(f"ids holds {first!r}, which is there already: nothing was written")
            return None
        new = np.flatnonzero(~there)
        return self.change.only(new).apply(draft) if len(new) else None


@dataclass(frozen=True)
class PayloadChange:
    """New payloads of distinct `ids` int64[n]: `texts`, "" for none. `merge`: keys are set in what is there.

    It becomes an upsert of the rows that are there by then, with the codes that they have: the journal needs no more.
    """

    ids: Ids
    texts: Sequence[str]
    merge: bool
    keys: list[bytes] | None = None

    small = False  # what it writes goes by the writes before it
    model = ""

    @property
    def size(self) -> int:
        """What it takes in memory and in the journal, about: codes included."""
        return _ROW_BYTES * len(self.ids) + sum(map(len, self.texts))

    def rows(self, made: Operation | None) -> int:
        """How many rows there were."""
        return 0 if made is None else len(made.ids)

    def apply(self, draft: Draft) -> Operation | None:
        """Makes it in a draft; returns it for the journal, None where there is no such row."""
        now = draft.finish()
        numbers = resolve(now, Named(self.ids, self.keys))
        order = np.argsort(numbers)
        ids = numbers[order]
        there = np.isin(ids, now.present(ids))
        ids, texts = ids[there], [self.texts[i] for i in order[there].tolist()]
        if len(ids) == 0:
            return None
        if self.merge:
            texts = [merged(old, new) for old, new in zip(now.payload_texts(ids), texts, strict=True)]
        bz, keeping = draft.tail.bz, draft.tail.keeping
        kept = None if keeping is None else now.kept(ids)[0]
        keys = keys_of(now, ids)
        bare = now.bare(ids)
        about = bz.digest, kept, None, keys, True, bare if bare.any() else None
        return Change(ids, now.codes(ids, bz), texts, {}, *about).apply(draft)


@dataclass
class StreamChange:
    """Vectors of another producer for rows of distinct `ids`: `codes`, `kept`, `keys` and `placed` as of `Change`;
    `bare`: they are to have none. To the collection it changes nothing: it finds which rows there are, for what
    `FoundChange` makes of them in the successor."""

    ids: Ids
    codes: Codes
    model: str
    kept: Rows | None
    keys: list[bytes] | None = None
    placed: bool = False
    bare: bool = False
    found: Change | None = None

    small = False

    @property
    def size(self) -> int:
        """What it takes in memory and in the journal, about."""
        return self.ids.nbytes + self.codes.planes.nbytes + (0 if self.kept is None else self.kept.nbytes)

    def rows(self, made: Operation | None) -> int:
        """How many of the rows were there."""
        return 0 if self.found is None else len(self.found.ids)

    def apply(self, draft: Draft) -> None:
        """Finds the rows, with the payloads and keys that they have by now."""
        now = draft.finish()
        numbers = self.ids if self.placed else resolve(now, Named(self.ids, self.keys))
        there = np.flatnonzero(np.isin(numbers, now.present(numbers)))
        ids = numbers[there]
        codes = Codes(self.codes.planes[there], self.codes.factors[there])
        kept = None if self.kept is None else self.kept[there]
        bare = np.ones(len(ids), np.bool_) if self.bare else None
        texts = now.payload_texts(ids)
        self.found = Change(ids, codes, texts, {}, self.model, kept, None, keys_of(now, ids), True, bare)


@dataclass(frozen=True)
class FoundChange:
    """What a `StreamChange` found, which is written to the successor."""

    of: StreamChange

    small = False
    model = ""
    size = 0

    @property
    def ids(self) -> Ids:
        return self.of.ids

    def rows(self, made: Operation | None) -> int:
        """As of what it is of."""
        return self.of.rows(made)

    def apply(self, draft: Draft) -> Operation | None:
        """Makes it in a draft of the successor."""
        found = self.of.found
        return None if found is None or len(found.ids) == 0 else found.apply(draft)


AnyChange = Change | InsertChange | PayloadChange | StreamChange | FoundChange


def joined(changes: Iterable[AnyChange]) -> Iterator[tuple[AnyChange, int]]:
    """The same changes in fewer: neighbours that are small upserts of different ids become one. With each the number
    of changes it stands for."""
    run: list[AnyChange] = []
    seen: set[int] = set()
    for change in changes:
        values = change.ids.tolist() if change.small else []
        alike = change.small and bool(run) and _kind(change) == _kind(run[0])
        if run and not (alike and 0 < len(seen) <= _SMALL_ROWS and seen.isdisjoint(values)):
            yield _one(run), len(run)
            run, seen = [], set()
        run.append(change)
        seen.update(values)
    if run:
        yield _one(run), len(run)


def _kind(change: AnyChange) -> tuple[str, bool]:
    """What is the same in changes that are joined."""
    return change.model, isinstance(change, Change) and change.codes is None


def _one(run: Sequence[AnyChange]) -> AnyChange:
    if len(run) == 1:
        return run[0]
    changes = [change for change in run if isinstance(change, Change)]  # all of them: others are not small
    coded = [change.codes for change in changes if change.codes is not None]
    codes, vectors = None, None
    if coded:
        codes = Codes(np.concatenate([c.planes for c in coded]), np.concatenate([c.factors for c in coded]))
    else:
        vectors = np.concatenate([change.vectors for change in changes if change.vectors is not None])
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
    keys: list[bytes] = []
    if any(change.keys for change in changes):
        for change in changes:
            keys += change.keys or [b""] * len(change.ids)
    about = changes[0].model, np.concatenate(kept) if kept else None
    bare = None
    if any(change.bare is not None for change in changes):
        none = [np.zeros(len(change.ids), np.bool_) if change.bare is None else change.bare for change in changes]
        bare = np.concatenate(none)
    first = changes[0]
    made = Change(ids, codes, texts, known, *about, None, keys or None, first.placed, bare, vectors)
    return replace(made, collection=first.collection)
