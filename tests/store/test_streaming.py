"""Another producer's vectors for a collection that is being searched and written: streamed, cut over, rolled back."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest

import bebr
from bebr.exact import exact
from bebr.store.backup.doctor import examine
from bebr.store.catalog.file import FileCatalog
from bebr.store.database import Database
from bebr.training.compat.compatible import make_compatible
from tests.conftest import model_of, payloads_of, recall

DIM = 80


@pytest.fixture(scope="module")
def other(vectors) -> np.ndarray:
    """The same 3,000 items as another producer sees them: 80 dimensions, other neighbours."""
    rng = np.random.default_rng(5)
    seen = np.tanh(vectors @ rng.standard_normal((64, DIM)) * 2).astype(np.float32)
    return seen / np.linalg.norm(seen, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def old(vectors) -> bebr.Binarizer:
    return model_of(vectors, widths=[64, 32], metric="cosine")


@pytest.fixture(scope="module")
def stranger(other) -> bebr.Binarizer:
    return model_of(other, widths=[80, 32], metric="cosine")


@pytest.fixture(scope="module")
def new(stranger, old, other, vectors) -> bebr.Binarizer:
    """`stranger`, whose queries may search codes of `old`."""
    return make_compatible(stranger, old, other, vectors, epochs=0)


def _spread(docs, x) -> None:
    """Rows 100 to 2,599 in two segments and the tail; some ids are strings."""
    docs.upsert(range(2000), x[:2000], [{"n": i} for i in range(2000)])
    docs.settle()
    docs.upsert(range(1900, 2400), x[1900:2400], [{"n": i} for i in range(1900, 2400)])
    docs.settle()
    docs.upsert(range(2400, 2600), x[2400:2600], [{"n": i} for i in range(2400, 2600)])
    docs.delete(range(100))


KEPT = np.arange(100, 2600)


def _behind(docs) -> list:
    found, after = [], None
    while page := docs.scroll(limit=700, after=after, behind=True):
        found += [row.id for row in page]
        after = page[-1].id
    return found


@pytest.mark.parametrize("keep", [None, "float16", "int8"])
def test_from_the_first_batch_to_the_cutover(tmp_path, old, new, vectors, other, keep):
    q_old, q_new = vectors[2600:2700], other[2600:2700]
    rescore = None if keep is None else 200
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", old, keep=keep)
        _spread(docs, vectors)
        before = docs.search(q_old, 10, rescore=rescore)
        docs.migrate(new, vectors=())  # begins it
        assert (docs.stats().target, docs.stats().rows_behind) == (new.digest, 2500)
        assert _behind(docs) == KEPT.tolist()
        bridged = docs.search(q_new, 10, binarizer=new)
        direct = KEPT[exact(other[KEPT], q_new, 10, "cosine")]
        assert recall(bridged.ids, direct) > 0.3
        docs.migrate(new, vectors=((range(i, i + 500), other[i : i + 500]) for i in range(0, 1500, 500)))
        assert _behind(docs) == list(range(1500, 2600)) and docs.stats().rows_behind == 1100
        np.testing.assert_array_equal(docs.search(q_old, 10, rescore=rescore).ids, before.ids)
        both = docs.search(q_new, 10, binarizer=new, with_payloads=True)
        assert recall(both.ids, direct) > recall(bridged.ids, direct)
        assert all(p == {"n": i} for i, p in zip(both.ids[0].tolist(), both.payloads[0], strict=True))
        docs.settle()
        docs.upsert([1200], vectors[1200:1201], [{"n": "new"}])  # its new vector is that of its older content
        docs.set_payloads([1300], [{"n": "later"}])
        docs.delete([1400])
        assert _behind(docs) == [1200, *range(1500, 2600)]
        with pytest.raises(ValueError, match="1101 of 2499 rows have no vector of model"):
            docs.cutover()
        rest = _behind(docs)
        docs.migrate(new, vectors=[(rest, other[rest]), ([1400, 99_999], other[:2])])  # neither is there
        assert _behind(docs) == [] and len(docs) == 2499
        kept = np.delete(KEPT, 1300)
        index = bebr.FlatIndex(new, rescore=keep)
        index.add(other[kept], kept)
        expected = index.search(q_new, 10, exact=True, rescore=rescore)
        np.testing.assert_array_equal(
            docs.search(q_new, 10, exact=True, rescore=rescore, binarizer=new).ids, expected.ids
        )
        assert docs.binarizer.digest == old.digest
        docs.cutover()
        assert docs.binarizer.digest == docs.stats().model.digest == new.digest
        assert (docs.stats().target, docs.stats().rows_behind, len(docs)) == ("", 0, 2499)
        found = docs.search(q_new, 10, exact=True, rescore=rescore)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert payloads_of(docs, [1200, 1300, 2599]) == [{"n": "new"}, {"n": "later"}, {"n": 2599}]
        docs.upsert(["more"], other[:1])
        with pytest.raises(ValueError, match=r"want \(n, 80\)"):
            docs.search(q_old, 10)
        with pytest.raises(bebr.IncompatibleModel):
            docs.search(q_old, 10, binarizer=old)
        with pytest.raises(ValueError, match="is not being migrated by streamed vectors"):
            docs.cutover()
        with pytest.raises(ValueError, match="no vectors are being streamed"):
            docs.scroll(behind=True)
    assert examine(tmp_path) == []
    with Database(tmp_path) as db:
        docs = db.collection("docs")
        assert db.collections() == ["docs"] and docs.binarizer.digest == new.digest and len(docs) == 2500
        assert docs.delete(["more"]) == 1
        np.testing.assert_array_equal(docs.search(q_new, 10, exact=True, rescore=rescore).ids, expected.ids)


def test_a_rollback_leaves_what_was_there(tmp_path, old, stranger, vectors, other):
    q = vectors[2600:2650]
    with Database(tmp_path) as db:
        docs = db.create_collection("docs", old, keep="float16")
        _spread(docs, vectors)
        before = docs.search(q, 10)
        docs.migrate(stranger, vectors=[(range(1000), other[:1000])])
        docs.settle()
        docs.upsert(range(3), vectors[:3])
        docs.delete(range(3))
        docs.rollback()
        assert docs.stats().target == "" and docs.binarizer.digest == old.digest
        np.testing.assert_array_equal(docs.search(q, 10).ids, before.ids)
        with pytest.raises(bebr.IncompatibleModel):
            docs.search(other[:1], 10, binarizer=stranger)
        with pytest.raises(ValueError, match="is not being migrated"):
            docs.rollback()
        docs.migrate(stranger, vectors=[(range(5), other[:5])])  # and once more
        assert docs.stats().rows_behind == 2500
        db.drop_collection("docs")
        assert db.collections() == []
    assert examine(tmp_path) == []
    with Database(tmp_path) as db:
        assert db.collections() == [] and not list((tmp_path / "segments").iterdir())


def test_rows_without_a_vector_come_along(tmp_path, old, new, vectors, other):
    with Database(tmp_path) as db:
        docs = db.create_collection("docs", old)
        docs.upsert(["a", "note", "b"], [vectors[0], None, vectors[1]], [{"n": n} for n in range(3)])
        docs.upsert(["only new"], None, [{"n": 3}])  # of writers that have the new producer already
        docs.migrate(new, vectors=[(["b", "only new"], other[1:3])])
        assert _behind(docs) == ["a"]
        assert set(docs.search(other[2], 4, binarizer=new).ids[0].tolist()) == {"a", "b", "only new", None}
        docs.cutover(bare=True)
        assert len(docs) == 4 and docs.get(["note"])[0].payload == {"n": 1}
        assert set(docs.search(other[2], 4).ids[0].tolist()) == {"b", "only new", None}
        rows = docs.get(["a", "note", "b", "only new"], vectors=True)
        assert [row.vector is None for row in rows] == [True, True, False, False]
        docs.truncate()
        docs.upsert(["a"], other[:1])
        docs.migrate(old, vectors=[(["a"], vectors[:1])])  # and back
        docs.truncate()
        assert docs.stats().rows_behind == 0
        docs.cutover()
        assert len(docs) == 0 and docs.binarizer.digest == old.digest


def test_what_cannot_be_streamed_is_refused(tmp_path, old, new, stranger, vectors, other):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", old, keep="float16")
        docs.upsert(range(10), vectors[:10])
        with pytest.raises(ValueError, match="bz has metric 'l2': want 'cosine'"):
            docs.migrate(bebr.untrained(64, 18, metric="l2"), vectors=())
        with pytest.raises(ValueError, match="which the collection has"):
            docs.migrate(old, vectors=())
        with pytest.raises(ValueError, match=r"vectors.*want \(n, 80\)"):
            docs.migrate(stranger, vectors=[([1], vectors[:1])])
        with pytest.raises(ValueError, match=r"being streamed: cutover\(\) or rollback\(\) first"):
            docs.migrate(new, vectors=())
        for call in (lambda: docs.migrate(bebr.untrained(64, 18)), docs.retrain):
            with pytest.raises(ValueError, match=r"being streamed: cutover\(\) or rollback\(\) first"):
                call()
        with pytest.raises(bebr.IncompatibleModel, match="10 of 10 rows have no vector of model"):
            docs.search(other[:1], 3, binarizer=stranger)
        docs.migrate(stranger, vectors=[(range(10), other[:10])])
        assert docs.search(other[3], 1, binarizer=stranger).ids.tolist() == [[3]]


def test_a_stream_goes_on_after_a_kill(tmp_path, old, new, vectors, other, until):
    """From copies of the folder taken after each step, as a kill would leave it."""
    copies = []
    with Database(tmp_path / "a", seal_rows=10**9) as db:
        docs = db.create_collection("docs", old, keep="int8")
        _spread(docs, vectors)

        def batches():
            for i in range(0, 2600, 650):
                yield range(i, i + 650), other[i : i + 650]
                docs.upsert([100 + i], vectors[100 + i : 101 + i], [{"n": 100 + i}])
                if i == 650:
                    docs.settle()
                copies.append((tmp_path / f"b{i}", _behind(docs)))
                shutil.copytree(tmp_path / "a", copies[-1][0])

        docs.migrate(new, vectors=batches())
    for path, behind in copies:
        with Database(path) as db:
            docs = db.collection("docs")
            assert docs.stats().target == new.digest and _behind(docs) == behind
            docs.migrate(new, vectors=[(behind, other[behind])])
            docs.cutover()
            assert docs.binarizer.digest == new.digest and len(docs) == 2500
            index = bebr.FlatIndex(new)
            index.add(other[KEPT], KEPT)
            found = docs.search(other[2600:2650], 10, rescore=0, exact=True)
            np.testing.assert_array_equal(found.ids, index.search(other[2600:2650], 10, exact=True).ids)
        assert examine(path) == []


def test_no_search_fails_on_the_way(tmp_path, old, new, vectors, other):
    """With writers and searchers of both producers at work, seals going on, and a cutover at the end."""
    with Database(tmp_path, seal_rows=200) as db:
        docs = db.create_collection("docs", old, keep="float16")
        _spread(docs, vectors)
        done, faults, seen = threading.Event(), [], {"old": [], "new": []}
        docs.migrate(new, vectors=())
        want_old = KEPT[exact(vectors[KEPT], vectors[2600:2620], 10, "cosine")]
        want_new = KEPT[exact(other[KEPT], other[2600:2620], 10, "cosine")]

        def search(kind, q, model, want):
            try:
                while not done.is_set():
                    hits = docs.search(q, 10, binarizer=model)
                    assert all(len(set(ids)) == 10 and min(ids) >= 100 for ids in hits.ids.tolist())
                    seen[kind].append(recall(hits.ids, want))
                    done.wait(0.002)
            except bebr.IncompatibleModel:
                if kind == "new" or docs.binarizer.digest != new.digest:
                    faults.append("refused too early")
            except BaseException as error:
                faults.append(error)

        def write():
            rng = np.random.default_rng(0)
            try:
                while not done.is_set():
                    ids = rng.choice(KEPT, 5, replace=False)
                    docs.upsert(ids, vectors[ids])
                    docs.migrate(new, vectors=[(ids, other[ids])])
            except (ValueError, bebr.IncompatibleModel):  # what it embeds with is the old producer now
                assert docs.binarizer.digest == new.digest
            except BaseException as error:
                faults.append(error)

        work = [(search, "old", vectors[2600:2620], old, want_old), (search, "new", other[2600:2620], new, want_new)]
        threads = [threading.Thread(target=one, args=args) for one, *args in [*work, (write,)]]
        for thread in threads:
            thread.start()
        for i in range(100, 2600, 100):
            docs.migrate(new, vectors=[(range(i, i + 100), other[i : i + 100])])
        while docs.binarizer.digest != new.digest:
            try:
                docs.cutover()
            except ValueError as error:
                assert "have no vector" in str(error)  # the writer is between its two steps
        done.set()
        for thread in threads:
            thread.join()
        assert not faults, faults
        assert min(seen["old"]) > 0.95 and seen["new"][-1] > 0.9 and len(docs) == 2500


def test_a_cutover_that_kept_the_old_vectors_is_taken_back(tmp_path, old, new, vectors, other):
    q_old, q_new = vectors[2600:2650], other[2600:2650]
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", old, keep="float16")
        db.set_alias("current", "docs")
        _spread(docs, vectors)
        before = docs.search(q_old, 10)
        docs.migrate(new, vectors=[(KEPT, other[KEPT])])
        docs.cutover(keep_old=True)
        stats = docs.stats()
        assert (stats.model.digest, stats.target, stats.former) == (new.digest, "", old.digest)
        np.testing.assert_array_equal(docs.search(q_old, 10, binarizer=old).ids, before.ids)
        direct = KEPT[exact(other[KEPT], q_new, 10, "cosine")]
        assert recall(docs.search(q_new, 10).ids, direct) > 0.95
        docs.upsert([400, 5000], other[[401, 2700]], [{"n": "new"}] * 2)  # no old vector can be known of these
        docs.set_payloads([300], [{"n": "later"}])
        docs.delete([301])
        docs.settle()
        for call in (docs.retrain, lambda: docs.migrate(bebr.untrained(64, 18), vectors=())):
            with pytest.raises(ValueError, match=r"cutover\(\) or rollback\(\) first"):
                call()
    assert examine(tmp_path) == []
    with Database(tmp_path) as db:  # whatever it was opened by since
        docs = db.collection("current")
        assert db.collections() == ["docs"] and docs.binarizer.digest == new.digest
        assert docs.stats().rows_behind == 2 and _behind(docs) == [400, 5000]
        with pytest.raises(bebr.IncompatibleModel, match="2 of 2500 rows have no vector of model"):
            docs.search(q_old, 10, binarizer=old)
        with pytest.raises(ValueError, match=r"2 of 2500 rows have no vector of model .* or rollback\(bare=True\)"):
            docs.rollback()
        docs.migrate(old, vectors=[([400, 5000], vectors[[401, 2700]])])
        docs.rollback()
        assert (docs.binarizer.digest, docs.stats().target, docs.stats().former) == (old.digest, new.digest, "")
        ids = np.append(np.delete(KEPT, 201), 5000)
        index = bebr.FlatIndex(old, rescore="float16")
        index.add(vectors[np.where(ids == 400, 401, np.where(ids == 5000, 2700, ids))], ids)
        found, expected = docs.search(q_old, 10, rescore=200), index.search(q_old, 10, rescore=200)
        np.testing.assert_array_equal(found.ids, expected.ids)
        assert payloads_of(docs, [300, 400, 5000]) == [{"n": "later"}, {"n": "new"}, {"n": "new"}]
        assert _behind(docs) == []  # and the new vectors are as they were
        docs.cutover(keep_old=True)
        docs.cutover(keep_old=True)  # which it is
        assert docs.binarizer.digest == new.digest and len(docs) == 2500
        docs.cutover()
        assert (docs.stats().former, docs.stats().rows_behind) == ("", 0)
        with pytest.raises(ValueError, match="is not being migrated by streamed vectors"):
            docs.rollback()
        docs.settle()
        assert len(list((tmp_path / "segments").iterdir())) == docs.stats().segments
    assert examine(tmp_path) == []


def test_a_rollback_leaves_rows_without_what_nobody_knows(tmp_path, old, stranger, vectors, other):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", old)
        docs.upsert(range(10), vectors[:10])
        docs.migrate(stranger, vectors=[(range(9), other[:9])])
        docs.cutover(bare=True, keep_old=True)
        docs.upsert(["new", 3], other[[20, 3]], [{"n": 1}, None])
        assert docs.get([9], vectors=True)[0].vector is None  # of the new producer it has none
        docs.rollback(bare=True)
        assert sorted(map(str, docs.search(vectors[0], 20).ids[0][:8])) == ["0", "1", "2", "4", "5", "6", "7", "8"]
        assert docs.get([9], vectors=True)[0].vector is not None
        rows = docs.get(["new", 3], vectors=True)
        assert [row.vector is None for row in rows] == [True, True] and rows[0].payload == {"n": 1}
        assert [row.id for row in docs.scroll(behind=True)] == [9]  # it stood without a new one, so it waits for it
        with pytest.raises(bebr.IncompatibleModel):
            docs.search(other[0], 3, binarizer=stranger)
        docs.rollback()  # and the migration is given up
        assert (docs.stats().target, len(docs)) == ("", 11)


def test_a_kill_leaves_a_cutover_and_a_rollback_done_or_not(tmp_path, old, new, vectors, other, monkeypatch):
    """From copies of the folder after each transaction of the catalog."""
    copies = []
    original = FileCatalog.commit, FileCatalog.exchange, FileCatalog.drop_successor

    def copying(function):
        def call(*args):
            made = function(*args)
            copies.append(tmp_path / f"b{len(copies)}")
            shutil.copytree(tmp_path / "a", copies[-1])
            return made

        return call

    for function in original:
        monkeypatch.setattr(FileCatalog, function.__name__, copying(function))
    with Database(tmp_path / "a", seal_rows=10**9) as db:
        docs = db.create_collection("docs", old)
        db.set_alias("current", "docs")
        docs.upsert(range(60), [*vectors[:50], *[None] * 10])
        docs.migrate(new, vectors=[(range(50), other[:50])])
        docs.cutover(keep_old=True)
        docs.upsert([60], other[60:61])
        docs.rollback(bare=True)
        docs.cutover(bare=True)
    monkeypatch.undo()
    seen = []
    for path in copies:
        with Database(path) as db:
            docs = db.collection("current")
            model, stats = docs.binarizer, docs.stats()
            x = vectors if model.digest == old.digest else other
            found = {i for i in docs.search(x[:1], 70).ids[0].tolist() if i >= 0}
            assert set(range(50)) <= found <= {*range(50), 60}
            assert len(docs) in (60, 61)
            seen.append((model.digest == new.digest, bool(stats.target), bool(stats.former)))
            if stats.target or stats.former:
                docs.cutover(bare=True)
                assert docs.binarizer.digest == new.digest and docs.stats().former == ""
        assert examine(path) == []
    none, before, after = (False, False, False), (False, True, False), (True, False, True)
    assert set(seen) == {none, before, after, (True, False, False)}
