"""Another model for a collection that is being searched and written, from the vectors it keeps."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest

import bebr
from bebr.exact import exact
from bebr.store.backup.doctor import examine
from bebr.store.database import Database
from tests.conftest import clustered, model_of, payloads_of, recall


@pytest.fixture(scope="module")
def old(vectors) -> bebr.Binarizer:
    return model_of(vectors, widths=[48, 16], metric="cosine")


@pytest.fixture(scope="module")
def new(vectors) -> bebr.Binarizer:
    return model_of(vectors, widths=[64, 64, 32], metric="cosine", seed=1)


def _spread(docs, x) -> None:
    """Rows of two segments, the tail, a payload and some that died."""
    docs.upsert(range(2000), x[:2000], [{"n": i} for i in range(2000)])
    docs.settle()
    docs.upsert(range(1900, 2400), x[1900:2400], [{"n": i} for i in range(1900, 2400)])
    docs.settle()
    docs.upsert(range(2400, 2600), x[2400:2600], [{"n": i} for i in range(2400, 2600)])
    docs.delete(range(100))


def test_all_rows_become_the_new_models(tmp_path, old, new, vectors, queries):
    kept = np.arange(100, 2600)
    want = kept[exact(vectors[kept], queries, 10, "cosine")]
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", old, keep="float16")
        _spread(docs, vectors)
        before = recall(docs.search(queries, 10, rescore=0).ids, want)
        docs.migrate(new)
        docs.upsert([2600], vectors[2600:2601])  # coded by the new one from the start
        assert docs.search(vectors[2600], 1, rescore=0).ids[0, 0] == 2600
        docs.delete([2600])
        docs.migrate(new, wait=True)
        assert docs.binarizer.digest == docs.stats().model.digest == new.digest
        assert docs.stats().target == "" and docs.stats().rows_behind == 0 and len(docs) == 2500
        after = docs.search(queries, 10, rescore=0)
        assert recall(after.ids, want) > before + 0.05
        index = bebr.FlatIndex(new)  # to the bit, but for what float16 rounds
        index.add(docs.snapshot.vectors(kept), kept)
        np.testing.assert_array_equal(
            docs.search(queries, 10, rescore=0, exact=True).ids, index.search(queries, 10, exact=True).ids
        )
        assert payloads_of(docs, [100, 2599]) == [{"n": 100}, {"n": 2599}]
    assert examine(tmp_path) == []
    with Database(tmp_path) as db:
        docs = db.collection("docs")
        assert docs.binarizer.digest == new.digest
        np.testing.assert_array_equal(docs.search(queries, 10, rescore=0).ids, after.ids)


def test_searches_see_every_row_throughout(tmp_path, old, new, vectors, queries):
    """With writers and searchers at work, and the direction changed on the way."""
    kept = np.arange(100, 2600)
    want = kept[exact(vectors[kept], queries, 10, "cosine")]
    with Database(tmp_path, seal_rows=300) as db:
        docs = db.create_collection("docs", old, keep="float16")
        _spread(docs, vectors)
        lowest = min(recall(docs.search(queries, 10, rescore=r).ids, want) for r in (0, 30))
        done, seen, faults = threading.Event(), [], []

        def search() -> None:
            try:
                while not done.is_set():
                    hits = docs.search(queries, 10, rescore=0)
                    seen.append(recall(hits.ids, want))
                    assert all(len(set(ids)) == 10 for ids in hits.ids.tolist())
                    assert len(docs) >= 2500
            except BaseException as error:
                faults.append(error)

        def write() -> None:
            i = 0
            try:
                while not done.is_set():
                    ids = 100 + (np.arange(20) * 7 + i) % 2500
                    docs.upsert(ids, vectors[ids])
                    i += 1
            except BaseException as error:
                faults.append(error)

        threads = [threading.Thread(target=work) for work in (search, write)]
        for thread in threads:
            thread.start()
        for model in (new, old, new):
            docs.migrate(model, wait=model is new)
        done.set()
        for thread in threads:
            thread.join()
        assert not faults and seen and min(seen) > 0.95 * lowest
        assert docs.binarizer.digest == new.digest
        assert recall(docs.search(queries, 10, rescore=100).ids, want) > 0.98


def test_half_way_no_model_drowns_the_other(tmp_path, vectors, queries, monkeypatch):
    """Scores of small codes err more, and so fill the first places; exact scores see candidates of both models."""
    small, large = bebr.untrained(64, 5), bebr.untrained(64, 34)
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", small, keep="float16")
        docs.upsert(range(1000, 3000), vectors[1000:])
        docs.settle()
        docs.upsert(range(1000), vectors[:1000])
        docs.settle()
        want = exact(vectors, queries, 10, "cosine")
        before = recall(docs.search(queries, 10, rescore=50).ids, want)
        monkeypatch.setattr(docs._contents.current.shared.merger, "request", lambda _: None)
        docs.migrate(large)
        docs._contents.merge()
        assert docs.stats().rows_behind == 2000
        found = docs.search(queries, 10, rescore=50).ids
        assert recall(found, want) > before
        for one, q in zip(found, queries, strict=True):  # whatever the batch
            assert docs.search(q, 10, rescore=50).ids[0].tolist() == one.tolist()


def test_a_migration_goes_on_after_a_kill(tmp_path, old, new, vectors, queries, until):
    """From copies of the folder taken at every step, as a kill would leave it."""
    kept = np.arange(100, 2600)
    with Database(tmp_path / "a", seal_rows=10**9) as db:
        docs = db.create_collection("docs", old, keep="int8")
        _spread(docs, vectors)
        docs.upsert(range(3), vectors[:3])
        docs.delete(range(3))
        want = docs.search(queries, 10, rescore=100)
        copies = [tmp_path / "b0"]
        shutil.copytree(tmp_path / "a", copies[0])
        contents = docs._contents
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(contents.current.shared.merger, "request", lambda _: None)
            patch.setattr(contents.current.shared.sealer, "request", lambda _: None)
            docs.migrate(new)
            while contents.state.migrating:
                docs.upsert([5000 + len(copies)], vectors[2990:2991])
                copies.append(tmp_path / f"b{len(copies)}")
                shutil.copytree(tmp_path / "a", copies[-1])
                contents.seal()
                contents.merge()
        assert len(copies) >= 3
    for step, path in enumerate(copies[1:], 1):
        with Database(path) as db:
            docs = db.collection("docs")
            until(lambda docs=docs: docs.stats().target == "")
            assert docs.binarizer.digest == new.digest and docs.stats().rows_behind == 0
            docs.delete(range(5000, 5100))
            found = docs.search(queries, 10, rescore=100)
            assert recall(found.ids, want.ids) > 0.99 and len(docs) == len(kept), step
        assert examine(path) == []


def test_what_cannot_be_migrated_is_refused(tmp_path, old, new, vectors):
    with bebr.open(tmp_path) as db:
        plain = db.create_collection("plain", old)
        with pytest.raises(ValueError, match="keeps no vectors to re-encode"):
            plain.migrate(new)
        docs = db.create_collection("docs", old, keep="float16")
        with pytest.raises(ValueError, match="bz has metric 'l2': want 'cosine'"):
            docs.migrate(model_of(vectors, widths=[32], metric="l2"))
        with pytest.raises(ValueError, match="bz has input_dim 32: want 64"):
            docs.migrate(model_of(clustered(100, 32), widths=[32]))
        with pytest.raises(ValueError, match=r"bz is 5: want a bebr\.Binarizer"):
            docs.migrate(5)
        assert docs.stats().target == "" and docs.binarizer.digest == old.digest
