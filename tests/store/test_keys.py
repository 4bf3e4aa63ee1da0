"""Ids of all kinds in one collection, also where their hashes collide: rows are found by what they are called."""

from __future__ import annotations

import shutil
import tempfile
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import bebr
from bebr.collection.keys import FIRST_PLACE, Named, name_ids, of_keys
from bebr.store.database import Database
from tests.conftest import model_of

SOME = UUID("12345678-1234-5678-1234-567812345678")


class Column:
    """As a column of a data frame: no list, but what numpy makes an array of objects from."""

    def __init__(self, values: list[object]) -> None:
        self._values = values

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return np.array(self._values, object)


def test_ids_become_numbers_and_keys_and_come_back():
    ids = [5, "five", SOME, "5", str(SOME), 2**63 - 1]
    named = name_ids(ids, "ids")
    assert named.ids() == ids and len(set(named.numbers.tolist())) == len(ids)
    assert named.numbers[0] == 5 and named.keys[0] == b"" and (named.numbers[1:] >= FIRST_PLACE).all()
    assert of_keys(np.zeros(6, np.int64) + named.numbers[0], [*named.keys[:5], b""], "ids").ids()[:5] == ids[:5]
    assert name_ids(np.array(["a", "b"]), "ids").ids() == ["a", "b"] and name_ids([1, 2], "ids").keys is None
    assert name_ids(Column(["a", 7]), "ids").ids() == ["a", 7] and name_ids(Column([7]), "ids").ids() == [7]
    assert named[[1, 3]].ids() == ["five", "5"] and named[1:3].ids() == ["five", SOME]
    assert Named(np.array([3, 3, 4])).last_of_each().tolist() == [1, 2]
    assert all(Named(np.array(ids, np.int64)).last_of_each() is None for ids in ([], [3], [3, 4, 9], [9, 3, 4]))
    assert name_ids(["a", 1, "a", 1, "b"], "ids").last_of_each().tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["a", ""], r"ids\[1\] has 0 bytes"),
        (["a", "ü" * 600], r"ids\[1\] has 1200 bytes"),
        (["\ud800"], "surrogates"),
        (["a", 1.5], r"ids\[1\] is a float"),
        (["a", True], r"ids\[1\] is a bool"),
        (["a", -1], "ids holds -1"),
        (["a", 2**63], "ids holds 9223372036854775808"),
        ("text", r"ids is 'text': want a sequence of ids, such as \['text'\]"),
        ([b"bytes"], r"ids\[0\] is a bytes: want an int, a string or a UUID"),
        ([None], r"ids\[0\] is a NoneType: want an int, a string or a UUID"),
        ([1, 2**70], "ids holds 1180591620717411303424: want ids from 0"),
        ([[1], [2, 3]], r"ids\[0\] is a list"),
        (np.array([1.5]), r"ids has dtype float64 and shape \(1,\): want ints, strings or UUIDs \(n,\)"),
        (7, r"ids has dtype int64 and shape \(\): want ints, strings or UUIDs"),
    ],
)
def test_what_is_no_id_is_refused(ids, words):
    with pytest.raises(ValueError, match=words):
        name_ids(ids, "ids")


@pytest.mark.parametrize("key", [b"x", b"s", b"s\xff", b"u123", b"i12345678", b"s" + b"a" * 1025])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match=r"ids\[0\]"):
        of_keys(np.zeros(1, np.int64), [key], "ids")


@pytest.fixture
def collisions(monkeypatch):
    """Lets only so many different hashes be."""

    def few(hashes: int) -> None:
        def of(keys):
            return np.array([sum(key) % hashes for key in keys], np.uint64)

        monkeypatch.setattr("bebr.collection.keys._hashes", of)

    return few


def test_ids_with_one_hash_are_told_apart_until_their_places_are_taken(tmp_path, bz, vectors, collisions):
    collisions(1)
    with Database(tmp_path) as db:
        docs = db.create_collection("docs", bz)
        names = ["a", "b", SOME]
        docs.upsert(names, vectors[:3], [{"id": str(name)} for name in names])
        docs.upsert([FIRST_PLACE], vectors[3:4], [{"id": "int"}])  # its own number is taken
        with pytest.raises(bebr.LimitExceeded, match="'e' finds no place"):
            docs.upsert(["e"], vectors[:1])
        docs.settle()
        every = [*names, FIRST_PLACE]
        assert [row.id for row in docs.get(every)] == every
        assert docs.delete(["a", "e"]) == 1
        assert docs.upsert(["b"], vectors[9:10], [{"again": 1}]) == 1  # it stays where it is, though "a" left its place
        assert len(docs) == 3 and docs.get(["a", "b"])[0] is None and docs.get(["b"])[0].payload == {"again": 1}
        assert docs.upsert(["e"], vectors[4:5]) == 1 and docs.get(["e", SOME])[1].payload == {"id": str(SOME)}
    with Database(tmp_path) as db:
        docs = db.collection("docs")
        assert {row.id for row in docs.scroll()} == {"b", "e", SOME, FIRST_PLACE}
        assert docs.search(vectors[9], 1, exact=True).ids.tolist() == [["b"]]


NAMES = [*"abcdefgh", *range(3), *range(FIRST_PLACE, FIRST_PLACE + 3), SOME]
IDS = st.lists(st.sampled_from(NAMES), max_size=8)


def machine(bz: bebr.Binarizer, vectors: np.ndarray) -> type[RuleBasedStateMachine]:
    class KeyMachine(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.path = tempfile.mkdtemp()
            self.db = Database(self.path, seal_rows=25)
            self.collection = self.db.create_collection("docs", bz)
            self.rows: dict = {}

        def teardown(self):
            self.db.close()
            shutil.rmtree(self.path)

        @rule(ids=IDS, start=st.integers(0, 2900))
        def upsert(self, ids, start):
            rows = {name: (vectors[start + n], {"n": start + n}) for n, name in enumerate(ids)}
            assert self.collection.upsert(
                ids, vectors[start : start + len(ids)], [{"n": start + n} for n in range(len(ids))]
            ) == len(rows)
            self.rows |= rows

        @rule(ids=IDS)
        def delete(self, ids):
            assert self.collection.delete(ids) == len(set(ids) & set(self.rows))
            self.rows = {name: row for name, row in self.rows.items() if name not in ids}

        @rule(ids=st.lists(st.sampled_from(NAMES), max_size=8, unique=True))
        def set_payloads(self, ids):
            assert self.collection.set_payloads(ids, [{"set": 1}] * len(ids)) == len(set(ids) & set(self.rows))
            self.rows |= {name: (self.rows[name][0], {"set": 1}) for name in ids if name in self.rows}

        @rule(restart=st.booleans())
        def flush(self, restart):
            if restart:
                self.db.close()
                self.db = Database(self.path, seal_rows=25)
                self.collection = self.db.collection("docs")
            else:
                self.collection.settle()

        @invariant()
        def equal_to_the_dict(self):
            assert len(self.collection) == len(self.rows)
            found = {row.id: row.payload for row in self.collection.get(NAMES) if row is not None}
            assert found == {name: payload for name, (_, payload) in self.rows.items()}
            seen, after = [], None
            while page := self.collection.scroll(limit=3, after=after):
                seen += [row.id for row in page]
                after = seen[-1]
            assert sorted(seen, key=str) == sorted(self.rows, key=str)
            hits = self.collection.search(vectors[:1], 20, exact=True, allow=NAMES[::2])
            assert {name for name in hits.ids[0].tolist() if name not in (None, -1)} == set(NAMES[::2]) & set(self.rows)
            for name, (vector, _) in list(self.rows.items())[:2]:
                best = self.collection.search(vector, 20, exact=True)
                assert name in best.ids[0, best.scores[0] == best.scores[0, 0]].tolist()

    return KeyMachine


@pytest.mark.parametrize("hashes", [3, 7, 1 << 40])
def test_any_history_leaves_a_dict(vectors, collisions, hashes):
    collisions(hashes)
    # So few hashes for so many ids: every id finds a place all the same.
    keys_places = pytest.MonkeyPatch()
    for module in ("bebr.collection.keys", "bebr.store.snapshots.keys"):
        keys_places.setattr(f"{module}.PLACES", len(NAMES) + 1)
    try:
        bz = model_of(vectors, widths=[48, 16])
        run_state_machine_as_test(
            machine(bz, vectors),
            settings=settings(
                max_examples=8,
                stateful_step_count=15,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        keys_places.undo()
