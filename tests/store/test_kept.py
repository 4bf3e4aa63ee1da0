"""Kept vectors: exact scores, whichever part holds a row, and damage that is noticed."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr.exact import exact
from bebr.store.backup.doctor import examine
from bebr.store.database import Database
from bebr.store.files.kept import KeptBlocks
from tests.conftest import model_of, recall


def test_blocks_in_memory_give_back_what_was_appended():
    rng = np.random.default_rng(0)
    blocks, all_rows = KeptBlocks(5), np.empty((0, 5), np.uint8)
    for n in (1, 1023, 1, 3000, 7, 0):
        rows = rng.integers(0, 256, (n, 5), np.uint8)
        blocks.append(rows)
        all_rows = np.concatenate([all_rows, rows])
        which = rng.integers(0, len(all_rows), 50)
        np.testing.assert_array_equal(blocks.take(which), all_rows[which])


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_the_best_by_code_of_all_parts_get_exact_scores(tmp_path, bz, vectors, queries, kind):
    x = vectors.copy()
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", bz, keep=kind)
        docs.upsert(range(0, 1500), x[:1500])
        docs.settle()
        docs.upsert(range(1200, 2600), x[1200:2600])
        docs.settle()
        x[:100] = x[2900:3000]  # replaced: neither the old code nor the old vector counts
        docs.upsert(range(100), x[:100])
        docs.upsert(range(2600, 2900), x[2600:2900])
        docs.delete(range(500, 600))
        kept = np.r_[0:500, 600:2900]
        want = exact(x[kept], queries, 10, bz.metric)
        for _ in range(2):
            hits = docs.search(queries, 10)
            assert recall(hits.ids, kept[want]) > recall(docs.search(queries, 10, rescore=0).ids, kept[want])
            assert recall(docs.search(queries, 10, rescore=500).ids, kept[want]) > (0.98 if kind == "float16" else 0.95)
            true = np.array([_scores(bz, x[ids], q) for ids, q in zip(hits.ids, queries, strict=True)])
            np.testing.assert_allclose(hits.scores, true, atol=0.002 if kind == "float16" else 0.02)
            for one, q in zip(hits.ids, queries, strict=True):  # whatever the batch
                assert docs.search(q, 10).ids[0].tolist() == one.tolist()
            docs.settle()
        before = docs.search(queries, 10)
    with Database(tmp_path) as db:
        docs = db.collection("docs")
        after = docs.search(queries, 10)
        np.testing.assert_array_equal(after.ids, before.ids)
        np.testing.assert_array_equal(after.scores, before.scores)
        stats = docs.stats()
        assert stats.kept_bytes == (128 if kind == "float16" else 68)
        assert stats.bytes_per_vector == bz.bytes_per_vector + stats.kept_bytes
        assert stats.bytes_on_disk > len(docs) * stats.bytes_per_vector


def _scores(bz, x, q):
    return ((x - q) ** 2).sum(1) if bz.metric == "l2" else x @ q


@pytest.mark.parametrize("seal", [False, True])
def test_few_rows_are_answered_exactly(tmp_path, bz, vectors, queries, seal):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", bz, keep="float16")
        docs.upsert(range(2000), vectors[:2000])
        if seal:
            docs.settle()
        want = exact(vectors[:2000], queries, 5, bz.metric)
        assert recall(docs.search(queries, 5).ids, want) > 0.99  # float16 rounds
        allow = np.arange(0, 2000, 3)
        among = exact(vectors[allow], queries, 5, bz.metric)
        assert recall(docs.search(queries, 5, allow=allow).ids, allow[among]) > 0.99
        assert docs.search(queries, 3000).ids[:, 2000:].max() == -1


def test_vectors_come_back_by_id_from_every_part(tmp_path, bz, vectors):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", bz, keep="float16")
        docs.upsert(range(100), vectors[:100])
        docs.settle()
        docs.upsert(range(50, 150), vectors[150:250])
        docs.delete([3])
        found = docs.snapshot.vectors(np.array([149, 7, 3, 50, 7, 999]))
        np.testing.assert_allclose(found[[0, 1, 3, 4]], vectors[[249, 7, 150, 7]], atol=1e-3)
        assert np.isnan(found[[2, 5]]).all() and found.dtype == np.float32
        plain = db.create_collection("plain", bz)
        with pytest.raises(ValueError, match="keeps no vectors"):
            plain.snapshot.vectors(np.array([1]))


def test_what_is_kept_follows_a_crash(tmp_path, bz, vectors, queries):
    """Without closing: what a killed process leaves."""
    db = bebr.open(tmp_path / "a")
    docs = db.create_collection("docs", bz, keep="int8")
    docs.upsert(range(300), vectors[:300])
    docs.upsert(range(200, 400), vectors[400:600])
    want = docs.search(queries, 10)
    with _copied(tmp_path / "a", tmp_path / "b") as again:
        found = again.collection("docs").search(queries, 10)
        np.testing.assert_array_equal(found.scores, want.scores)
        np.testing.assert_array_equal(found.ids, want.ids)
    db.close()


def _copied(path, to):
    import shutil

    shutil.copytree(path, to)
    return bebr.open(to)


def test_damage_to_kept_vectors_is_noticed(tmp_path, bz, vectors):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", bz, keep="float16")
        docs.upsert(range(1000), vectors[:1000])
        docs.settle()
    (file,) = (tmp_path / "segments").iterdir()
    data = bytearray(file.read_bytes())
    at = bytes(data).index(vectors[500].astype("<f2").tobytes()[:8])
    data[at] ^= 1
    file.write_bytes(data)
    assert len(examine(tmp_path)) == 1
    with bebr.open(tmp_path) as db, pytest.raises(bebr.CorruptFile, match="kept_float16"):
        db.collection("docs")


def test_a_model_with_an_input_adapter(tmp_path, vectors, queries):
    """Exact scores are those of the space that the model's codes stand for."""
    plain = model_of(vectors, widths=[48, 16], metric="cosine")
    weight = np.eye(64, dtype=np.float32) * np.linspace(1, 3, 64, dtype=np.float32)
    tensors = plain.tensors | {"front.0.weight": weight, "front.0.bias": np.zeros(64, np.float32)}
    model = bebr.Binarizer.from_tensors(tensors, plain.config | {"front": {"skip": 0.0}})
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", model, keep="float16")
        docs.upsert(range(1000), vectors[:1000])
        inner = model.vectors(vectors[:1000])
        q = model.prepare(queries).exact
        hits = docs.search(queries, 10)
        assert recall(hits.ids, exact(inner, q, 10, "ip")) > 0.99
        np.testing.assert_allclose(hits.scores[:, 0], (q @ inner.T).max(axis=1), atol=0.002)


def test_what_cannot_be_kept_is_refused(tmp_path, bz, vectors):
    with bebr.open(tmp_path) as db:
        with pytest.raises(ValueError, match="keep is 'float32': want None, 'float16' or 'int8'"):
            db.create_collection("docs", bz, keep="float32")
        assert db.collections() == []
        docs = db.create_collection("docs", bz, keep="float16")
        if bz.metric != "cosine":
            with pytest.raises(ValueError, match="float16 cannot hold"):
                docs.upsert([1], np.full((1, 64), 1e6))
            small = np.full((2, 64), 1e-12)
            small[0] = 0
            with pytest.raises(ValueError, match=r"vector 1 has no value that float16 can hold: .*keep='int8'"):
                docs.upsert([1, 2], small)
            new = db.create_collection("new", dim=64, metric=bz.metric)
            model = new.binarizer.digest
            for far in (1e-12, 1e12):
                with pytest.raises(ValueError, match="float16"):
                    new.upsert([1], np.full((1, 64), far))
            assert new.binarizer.digest == model and len(new) == 0
            coarse = db.create_collection("coarse", dim=64, metric=bz.metric, keep="int8")
            coarse.upsert(range(100), vectors[:100] * np.float32(1e-12))
            assert (coarse.search(vectors[:100] * np.float32(1e-12), 1).ids[:, 0] == np.arange(100)).mean() > 0.9
        with pytest.raises(ValueError, match="rescore is 3, fewer than k"):
            docs.search(vectors[0], 10, rescore=3)
        plain = db.create_collection("plain", bz)
        with pytest.raises(ValueError, match="rescore is 20, but this collection keeps no vectors"):
            plain.search(vectors[0], 10, rescore=20)
        assert len(docs) == len(plain) == 0


def test_a_collection_trains_on_the_rows_that_have_a_vector(tmp_path, vectors, queries):
    with Database(tmp_path) as db:
        docs = db.create_collection("docs", dim=64, bytes_per_vector=18, retrain=False)
        docs.upsert(range(2000), None)
        with pytest.raises(ValueError, match="no vectors to train on"):
            docs.retrain()
        x = list(vectors[:600])
        docs.upsert(range(3000, 4000), [*x, *[None] * 400])
        docs.retrain(wait=True)
        assert len(docs) == 3000
        assert (docs.search(vectors[:50], 1).ids[:, 0] == 3000 + np.arange(50)).all()
        assert docs.measure_recall(queries, 10).recall > 0.9
        assert docs.measure_recall(100, 10).queries == 100
    with Database(tmp_path) as db:
        found = db.collection("docs").search(queries, 700).ids
        assert ((found >= 3000) & (found < 3600)).sum() == 600 * len(queries)
