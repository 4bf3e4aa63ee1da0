"""Any sequence of writes, seals and restarts leaves a collection equal to a dict."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import bebr
from bebr.collection.filter_form import as_filter
from bebr.store.database import Database
from tests.conftest import payloads_of

IDS = st.lists(st.integers(0, 40), max_size=12, unique=True)


def copied(folder: str) -> str:
    """A copy of an open database as of one moment, whatever it does in the background."""
    while True:
        copy = Path(tempfile.mkdtemp())
        with (
            closing(sqlite3.connect(Path(folder) / "catalog.db")) as old,
            closing(sqlite3.connect(copy / "catalog.db")) as new,
        ):
            old.backup(new)
            wanted = {file for (file,) in new.execute("SELECT file FROM segments")}
        with suppress(shutil.Error):  # a merge deletes files meanwhile
            for name in ("models", "segments"):
                shutil.copytree(Path(folder) / name, copy / name)
            if wanted <= {file.name for file in (copy / "segments").iterdir()}:
                return str(copy)
        shutil.rmtree(copy)


def machine(
    bz: bebr.Binarizer,
    vectors: np.ndarray,
    queries: np.ndarray,
    keep: str | None,
    other: bebr.Binarizer,
    index: str,
    foreign: bebr.Binarizer,
) -> type[RuleBasedStateMachine]:
    """`keep`, `index`: of the collection; where vectors are kept it migrates between `bz` and `other`. `foreign`: of
    another producer, which sees vectors from their end."""

    class CollectionMachine(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.path = tempfile.mkdtemp()
            self.open()
            self.collection = self.db.create_collection("docs", bz, keep=keep, index=index)
            self.rows: dict[int, tuple[np.ndarray | None, dict | None]] = {}  # None: without a vector
            self.model = bz  # of the producer that the collection is searched by
            self.new: set[int] | None = None  # the rows that have a vector of the other one, where these are streamed

        def open(self):
            self.db = Database(self.path, seal_rows=30, flat_rows=8)

        def teardown(self):
            self.db.close()
            shutil.rmtree(self.path)

        def seen(self, x, model=None):
            """As the producer of a model sees vectors, by default that of the collection."""
            return None if x is None else x[..., ::-1] if (model or self.model) is foreign else x

        @property
        def coming(self):
            return bz if self.model is foreign else foreign

        @rule(
            ids=IDS, start=st.integers(0, 2900), with_payloads=st.booleans(), bare=st.integers(-1, 5), new=st.booleans()
        )
        def upsert(self, ids, start, with_payloads, bare, new):
            x = [vectors[start + n] for n in range(len(ids))]
            if bare >= 0:
                x = [None if i % 6 == bare else vector for i, vector in zip(ids, x, strict=True)]
            payloads = (
                [{"start": start, "id": i, "odd": [f"r{i % 9}", start]} if i % 3 else None for i in ids]
                if with_payloads
                else None
            )
            written = [i for i in ids if i not in self.rows] if new else ids
            how = {"on_conflict": "skip"} if new else {}
            assert self.collection.upsert(ids, list(map(self.seen, x)), payloads, **how) == len(written)
            for n, i in enumerate(ids):
                if i in written:
                    self.rows[i] = x[n], payloads[n] if payloads else None
                    (self.new or set()).discard(i)

        @rule(ids=IDS)
        def stream(self, ids):
            with suppress(ValueError):  # once more, so that there is something to go on with
                if self.new is None and self.collection.stats().target:
                    return
            some = [(i, self.seen(self.rows.get(i, (None,))[0], self.coming)) for i in ids]
            batch = [(i, vectors[0] if x is None else x) for i, x in some if x is not None or i not in self.rows]
            x = np.array([x for _, x in batch], np.float32).reshape(len(batch), 64)
            self.collection.migrate(self.coming, vectors=[([i for i, _ in batch], x)])
            self.new = (self.new or set()) | {i for i, _ in batch if i in self.rows}

        @precondition(lambda self: self.new is not None)
        @rule()
        def rollback(self):
            self.collection.rollback()
            self.new = None

        @precondition(lambda self: self.new is not None)
        @rule()
        def cutover(self):
            self.collection.cutover(bare=True)
            self.rows = {i: (x if i in self.new else None, payload) for i, (x, payload) in self.rows.items()}
            self.model, self.new = self.coming, None

        @rule(ids=IDS)
        def delete(self, ids):
            assert self.collection.delete(ids) == sum(self.rows.pop(i, None) is not None for i in ids)
            self.new = None if self.new is None else self.new & set(self.rows)

        @rule(remainder=st.integers(0, 6), value=st.integers(0, 40))
        def delete_matching(self, remainder, value):
            filter = {"$or": [{"id": value}, {"odd": {"contains": f"r{remainder}"}}]}
            gone = [
                i
                for i, (_, p) in self.rows.items()
                if p and (p.get("id") == value or f"r{remainder}" in p.get("odd", ()))
            ]
            assert self.collection.count(filter) == len(gone)
            assert self.collection.delete(filter=filter) == len(gone)
            for i in gone:
                del self.rows[i]
            self.new = None if self.new is None else self.new & set(self.rows)

        @rule(ids=IDS, number=st.integers(0, 99), merge=st.booleans())
        def set_payloads(self, ids, number, merge):
            new = [{"number": number} if i % 4 else None for i in ids]
            assert self.collection.set_payloads(ids, new, merge=merge) == len(set(ids) & set(self.rows))
            for i, payload in zip(ids, new, strict=True):
                if i in self.rows:
                    vector, old = self.rows[i]
                    self.rows[i] = (
                        vector,
                        ({**old, **payload} if old and payload else payload or old) if merge else payload,
                    )

        @rule()
        def truncate(self):
            assert self.collection.truncate() == len(self.rows)
            self.rows.clear()
            self.new = None if self.new is None else set()

        @precondition(lambda self: keep and self.new is None and self.model is bz)
        @rule(model=st.sampled_from([bz, other]), wait=st.booleans())
        def migrate(self, model, wait):
            self.collection.migrate(model, wait=wait)
            assert not wait or self.collection.binarizer.digest == model.digest

        @rule()
        def flush(self):
            self.collection.settle()

        @rule()
        def restart(self):
            self.db.close()
            self.open()
            self.collection = self.db.collection("docs")

        @rule()
        def killed(self):
            """Goes on with what kill -9 would have left on disk."""
            copy = copied(self.path)
            self.teardown()
            self.path = copy
            self.open()
            self.collection = self.db.collection("docs")

        @precondition(lambda self: self.rows)
        @rule(data=st.data())
        def allowed_search(self, data):
            allow = data.draw(st.lists(st.integers(0, 45), max_size=10))
            found = self.collection.search(self.seen(queries[:1]), 50, allow=allow).ids
            assert set(found[found >= 0].tolist()) == set(allow) & self.searched()

        @invariant()
        def filters_equal_those_of_the_dict(self):
            for filter in ({"start": {"gte": 1500}}, {"odd": {"in": ["r1", "r5"]}, "id": {"lt": 30}}, {"id": None}):
                wanted = {i for i, (_, payload) in self.rows.items() if as_filter(filter).matches(payload)}
                assert self.collection.count(filter) == len(wanted)
                found = self.collection.search(self.seen(queries[:1]), 45, filter=filter).ids
                assert set(found[found >= 0].tolist()) == wanted & self.searched()

        def searched(self) -> set[int]:
            return {i for i, (x, _) in self.rows.items() if x is not None}

        @invariant()
        def equal_to_the_dict(self):
            assert len(self.collection) == len(self.rows)
            assert payloads_of(self.collection, list(self.rows)) == [payload for _, payload in self.rows.values()]
            assert [row.id for row in self.collection.scroll()] == sorted(self.rows)
            page = self.collection.scroll(limit=7, after=15)
            assert [row.id for row in page] == sorted(i for i in self.rows if i > 15)[:7]
            wanted = self.searched()
            fresh = self.fresh(self.model, wanted)
            rows = self.collection.get(list(self.rows), vectors=True)
            assert [row.vector is not None for row in rows] == [i in wanted for i in self.rows]
            rescore = 45 if keep else None
            q = self.seen(queries[:2])
            hits = self.collection.search(q, 45, exact=True, rescore=rescore, with_payloads=True)
            expected = fresh.search(q, 45, exact=True, rescore=rescore)
            np.testing.assert_array_equal(hits.ids, expected.ids)
            np.testing.assert_array_equal(hits.scores, expected.scores)
            for row, payloads in zip(hits.ids.tolist(), hits.payloads, strict=True):
                assert payloads == [self.rows[i][1] if i >= 0 else None for i in row]

        def fresh(self, model, ids):
            made = bebr.FlatIndex(model, rescore=keep)
            if ids:
                made.add(np.stack([self.seen(self.rows[i][0], model) for i in ids]), list(ids))
            return made

        @invariant()
        def streamed_vectors_equal_the_dict(self):
            if self.new is None:
                return
            behind = self.searched() - self.new
            assert [row.id for row in self.collection.scroll(behind=True)] == sorted(behind)
            assert self.collection.stats().rows_behind == len(behind)
            q, rescore = self.seen(queries[:2], self.coming), 45 if keep else None
            how = {"exact": True, "rescore": rescore, "binarizer": self.coming, "with_payloads": True}
            if behind:
                with pytest.raises(bebr.IncompatibleModel):
                    self.collection.search(q, 45, **how)
                return
            hits = self.collection.search(q, 45, **how)
            expected = self.fresh(self.coming, self.new).search(q, 45, exact=True, rescore=rescore)
            np.testing.assert_array_equal(hits.ids, expected.ids)
            np.testing.assert_array_equal(hits.scores, expected.scores)
            assert hits.payloads[0] == [self.rows[i][1] if i >= 0 else None for i in hits.ids[0].tolist()]

    return CollectionMachine


@pytest.mark.parametrize(
    ("metric", "keep", "index"),
    [
        ("cosine", None, "flat"),
        ("l2", None, "auto"),
        ("cosine", "float16", "auto"),
        ("cosine", "float16", "graph"),
        ("l2", "int8", "flat"),
    ],
)
def test_collection_equals_a_dict(vectors, queries, metric, keep, index):
    """Whatever its files are: flat, in lists, or graphs."""
    bz = bebr.train(vectors, widths=[48, 16], metric=metric, seed=0)
    run_state_machine_as_test(
        machine(
            *(bz, vectors, queries, keep, bebr.untrained(64, 18, metric=metric), index),
            bebr.untrained(64, 26, metric=metric, seed=1),
        ),
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
