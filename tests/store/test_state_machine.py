"""Any sequence of writes, seals, migrations and restarts leaves a collection equal to a dict, on disk and on a server
(`tests.serve.test_state_machine`)."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
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
from tests.conftest import model_of, payloads_of

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
    served: Callable[[Database], tuple[bebr.serve.client.Client, Callable[[], None]]] | None = None,
) -> type[RuleBasedStateMachine]:
    """`keep`, `index`: of the collection; where vectors are kept it migrates between `bz` and `other`. `foreign`: of
    another producer, which sees vectors from their end. `served`: makes a server of a database, and returns a client of
    it and what ends both; None: the database itself is used."""

    class CollectionMachine(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.path = tempfile.mkdtemp()
            self.open()
            self.collection = self.db.create_collection("docs", bz, keep=keep, index=index)
            self.rows: dict[int, tuple[np.ndarray | None, dict | None]] = {}  # None: without a vector
            self.model = bz  # of the producer that the collection is searched by
            # Of the rows that have a vector of another producer, where these are streamed: as the first one sees it.
            self.new: dict[int, np.ndarray] | None = None
            self.former: bebr.Binarizer | None = None  # of these, once the collection was cut over from it

        def open(self):
            self.store = Database(self.path, seal_rows=30, flat_rows=8)
            self.db, self.stop = (self.store, None) if served is None else served(self.store)

        def shut(self):
            if self.stop is not None:
                self.stop()
            self.store.close()

        def teardown(self):
            self.shut()
            shutil.rmtree(self.path)

        def seen(self, x, model=None):
            """As the producer of a model sees vectors, by default that of the collection."""
            return None if x is None else x[..., ::-1] if (model or self.model).digest == foreign.digest else x

        @property
        def coming(self):
            return self.former or (bz if self.model is foreign else foreign)

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
                    (self.new or {}).pop(i, None)

        @rule(ids=IDS)
        def stream(self, ids):
            with suppress(ValueError):  # once more, so that there is something to go on with
                if self.new is None and self.collection.stats().target:
                    return
            some = [(i, self.seen(self.rows.get(i, (None,))[0], self.coming)) for i in ids]
            batch = [(i, vectors[0] if x is None else x) for i, x in some if x is not None or i not in self.rows]
            x = np.array([x for _, x in batch], np.float32).reshape(len(batch), 64)
            self.collection.migrate(self.coming, vectors=[([i for i, _ in batch], x)])
            self.new = {**(self.new or {}), **{i: self.rows[i][0] for i, _ in batch if i in self.rows}}

        def exchange(self):
            """What was beside takes the place of the rows' vectors, and these are beside now."""
            rows = {i: (self.new.get(i), payload) for i, (_, payload) in self.rows.items()}
            self.new = {i: x for i, (x, _) in self.rows.items() if x is not None}
            self.rows, self.model = rows, foreign if self.coming.digest == foreign.digest else bz

        @precondition(lambda self: self.new is not None)
        @rule()
        def rollback(self):
            if self.former is not None and self.searched() - set(self.new):
                with pytest.raises(ValueError, match="rows have no vector of model"):
                    self.collection.rollback()
            self.collection.rollback(bare=True)
            if self.former is None:
                self.new = None
            else:
                self.exchange()
                self.former = None

        @precondition(lambda self: self.new is not None)
        @rule(keep_old=st.booleans())
        def cutover(self, keep_old):
            own = self.collection.binarizer
            self.collection.cutover(bare=True, keep_old=keep_old)
            if self.former is None:
                self.exchange()
                self.former = own
            assert self.collection.stats().former == (self.former.digest if keep_old else "")
            if not keep_old:
                self.new = self.former = None

        @precondition(lambda self: self.new is None)
        @rule(ids=IDS.filter(bool), start=st.integers(0, 2900), graph=st.booleans())
        def attach(self, ids, start, graph):
            """Where the data is: a server takes no files."""
            self.collection.settle()  # no migration goes on then
            kind = bebr.GraphIndex if graph and keep else bebr.FlatIndex  # whose scores by code are rounded otherwise
            made = kind(self.collection.binarizer, rescore=keep)
            made.add(self.seen(vectors[start : start + len(ids)]), ids)
            path = Path(self.path) / "attached.bebr"
            made.save(path)
            assert self.store.collection("docs").attach(path) == len(ids)
            path.unlink()
            self.rows.update((i, (vectors[start + n], None)) for n, i in enumerate(ids))

        @rule(ids=IDS)
        def delete(self, ids):
            assert self.collection.delete(ids) == sum(self.rows.pop(i, None) is not None for i in ids)
            self.forget()

        def forget(self):
            """Rows that are there no more."""
            self.new = None if self.new is None else {i: x for i, x in self.new.items() if i in self.rows}

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
            self.forget()

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
            self.forget()

        @precondition(lambda self: keep and self.new is None and self.model is bz)
        @rule(model=st.sampled_from([bz, other]), wait=st.booleans())
        def migrate(self, model, wait):
            self.collection.migrate(model, wait=wait)
            assert not wait or self.collection.binarizer.digest == model.digest

        @rule(merges=st.booleans())
        def flush(self, merges):
            self.collection.settle() if merges else self.collection.flush()

        @rule(nprobe=st.sampled_from([None, 1, 3, 1000]), ef_search=st.sampled_from([None, 1, 1000]))
        def looked_for(self, nprobe, ef_search):
            """More lists find all rows; a walk may miss some, whatever it keeps."""
            how = {"nprobe": nprobe, "ef_search": ef_search, "rescore": 0 if keep else None}
            found = self.collection.search(self.seen(queries[:1]), 45, **how).ids
            found = found[found >= 0].tolist()
            assert len(found) == len(set(found)) and set(found) <= self.searched()
            assert nprobe != 1000 or index == "graph" or set(found) == self.searched()

        @rule()
        def restart(self):
            self.shut()
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
            fresh = self.fresh(self.model, {i: self.rows[i][0] for i in wanted})
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

        def fresh(self, model, rows):
            made = bebr.FlatIndex(model, rescore=keep)
            if rows:
                made.add(np.stack([self.seen(x, model) for x in rows.values()]), list(rows))
            return made

        @invariant()
        def streamed_vectors_equal_the_dict(self):
            if self.new is None:
                return
            behind = self.searched() - set(self.new)
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
    bz = model_of(vectors, widths=[48, 16], metric=metric)
    run_state_machine_as_test(
        machine(
            *(bz, vectors, queries, keep, bebr.untrained(64, 18, metric=metric), index),
            bebr.untrained(64, 26, metric=metric, seed=1),
        ),
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
