"""Collections that are made without a model: exact while small, trained by themselves later."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import bebr
from bebr.exact import exact
from bebr.store.backup.doctor import examine
from bebr.store.catalog.records import Settings
from bebr.store.database import Database
from bebr.store.search.measuring import estimated
from bebr.store.workers import retraining
from tests.conftest import clustered, recall


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("dim", [1, 2, 7, 64, 100])
def test_three_documents_are_answered_exactly(tmp_path, metric, dim):
    rng = np.random.default_rng(dim)
    x, q = rng.standard_normal((3, dim)).astype(np.float32), rng.standard_normal((20, dim)).astype(np.float32)
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", dim=dim, metric=metric)
        docs.upsert([7, 8, 9], x)
        want = 7 + exact(x, q, 3, metric)
        hits = docs.search(q, 3)
        if dim > 1:
            np.testing.assert_array_equal(hits.ids, want)
        assert hits.scores[0, 0] == pytest.approx(_score(x[hits.ids[0, 0] - 7], q[0], metric), abs=0.02)
    with bebr.open(tmp_path) as db:
        docs = db.collection("docs")
        np.testing.assert_array_equal(docs.search(q, 3).ids, hits.ids)
        assert docs.stats().model.input_dim == dim and docs.stats().model.metric == metric
    assert examine(tmp_path) == []


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("length", [100.0, 0.01])
def test_codes_fit_vectors_of_any_length(tmp_path, vectors, queries, metric, length):
    """The first rows say how long vectors are; codes made for length 1 would be clipped, or signs alone."""
    x, q = length * vectors, length * queries
    with bebr.open(tmp_path) as db:
        want = exact(x, q, 10, metric)
        docs = db.create_collection("docs", dim=64, bytes_per_vector=26, metric=metric, keep=None)
        for i in range(0, 3000, 500):
            docs.upsert(range(i, i + 500), x[i : i + 500])
        unit = db.create_collection("unit", dim=64, bytes_per_vector=26, metric=metric, keep=None)
        unit.upsert(range(3000), vectors)
        clipped = db.create_collection("clipped", bebr.untrained(64, 26, metric=metric))
        clipped.upsert(range(3000), x)
        reached = {c.name: recall(c.search(s, 10).ids, want) for c, s in ((docs, q), (unit, queries), (clipped, q))}
        assert reached["docs"] > reached["unit"] - 0.03 and reached["docs"] > reached["clipped"] + 0.1, reached
        assert docs.stats().rows_behind == 0 and docs.stats().model.bytes_per_vector == 26
        model = docs.binarizer.digest
        docs.settle()
    with bebr.open(tmp_path) as db:
        docs = db.collection("docs")
        docs.upsert([0], x[:1])
        assert docs.binarizer.digest == model and recall(docs.search(q, 10).ids, want) == pytest.approx(reached["docs"])


def _score(a, b, metric):
    if metric == "l2":
        return float(((a - b) ** 2).sum())
    return float(a @ b) / (float(np.linalg.norm(a) * np.linalg.norm(b)) if metric == "cosine" else 1)


def test_a_collection_trains_itself_as_rows_come(tmp_path, vectors, queries, until, monkeypatch):
    monkeypatch.setattr(retraining, "FIRST_ROWS", 200)
    with Database(tmp_path, seal_rows=500) as db:
        docs = db.create_collection("docs", dim=64, bytes_per_vector=10)
        first = docs.binarizer.digest
        docs.upsert(range(150), vectors[:150])
        assert docs.stats().target == ""
        docs.upsert(range(150, 220), vectors[150:220])
        until(lambda: docs.binarizer.digest != first and docs.stats().target == "")
        second = docs.binarizer.digest
        docs.upsert(range(220, 3000), vectors[220:])
        until(lambda: docs.binarizer.digest not in (first, second) and docs.stats().target == "")
        stats = docs.stats()
        assert stats.model.bytes_per_vector == 10 and stats.rows == 3000 and stats.rows_behind == 0
        want = exact(vectors, queries, 10, "cosine")
        assert recall(docs.search(queries, 10).ids, want) > 0.95
        settings = docs._contents.state.row.settings
        assert settings.trained_rows >= 880 and settings.retrain
        model = docs.binarizer.digest
    with Database(tmp_path) as db:
        assert db.collection("docs").binarizer.digest == model


def test_when_training_is_due():
    trained = [0]
    while rows := retraining.next_training(Settings("float16", retrain=True, trained_rows=trained[-1])):
        trained.append(rows)
    assert trained == [0, 1000, 4000, 16_000, 64_000, 256_000]
    assert retraining.next_training(Settings("float16", target="0123", retrain=True)) is None
    assert retraining.next_training(Settings("float16")) is None


def test_training_that_fails_leaves_the_collection_as_it_is(tmp_path, vectors, monkeypatch, caplog, until):
    monkeypatch.setattr(retraining, "FIRST_ROWS", 200)
    monkeypatch.setattr("bebr.training.train", lambda *_, **__: 1 / 0)
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", dim=64)
        docs.upsert(range(300), vectors[:300])
        until(lambda: "training failed" in caplog.text)
        docs.upsert(range(300, 400), vectors[300:400])
        assert docs.search(vectors[350], 1).ids[0, 0] == 350
        assert caplog.text.count("training failed") == 1  # not at every write


def test_retraining_on_demand(tmp_path, vectors, queries):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", dim=64, bytes_per_vector=10, retrain=False)
        with pytest.raises(ValueError, match="'docs' has no vectors to train on"):
            docs.retrain()
        docs.upsert(range(3000), vectors)
        before = docs.measure_recall(queries, rescore=0)
        docs.retrain(wait=True)
        trained = docs.measure_recall(queries, rescore=0)
        assert trained.recall > before.recall + 0.05
        docs.retrain(18, wait=True)
        assert docs.stats().model.bytes_per_vector == 18
        assert docs.measure_recall(queries, rescore=0).recall > trained.recall + 0.05
        with pytest.raises(ValueError, match="bytes_per_vector is 1000"):
            docs.retrain(1000)


def test_recall_is_measured_against_every_live_row(tmp_path, bz, vectors, queries):
    x = vectors.copy()
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", bz, keep="float16")
        docs.upsert(range(2500), x[:2500])
        docs.settle()
        x[:50] = x[2950:]
        docs.upsert(range(50), x[:50])
        docs.delete(range(100, 200))
        kept = np.r_[0:100, 200:2500]
        want = kept[exact(x[kept], queries, 10, bz.metric)]
        for rescore in (0, 100):
            hits = docs.search(queries, 11, rescore=rescore).ids[:, :10]
            measured = docs.measure_recall(queries, 10, rescore=rescore)
            assert measured.recall == pytest.approx(recall(hits, want), abs=0.005)  # float16 rounds
            assert measured.low <= measured.recall <= measured.high and (measured.queries, measured.k) == (50, 10)
        drawn = docs.measure_recall(300, 5, rescore=0)
        assert drawn.queries == 300 and 0.2 < drawn.recall < 0.99  # its own row does not count
        assert docs.measure_recall(10_000, 1).queries == 2400
        for sample, words in ((0, "sample is 0"), (np.empty((0, 64)), "at least one"), (x[:2, :3], r"want \(n, 64\)")):
            with pytest.raises(ValueError, match=words):
                docs.measure_recall(sample)
        plain = db.create_collection("plain", bz)
        with pytest.raises(ValueError, match="keeps no vectors"):
            plain.measure_recall()


def test_the_interval_holds_the_true_recall_in_95_of_100_measurements():
    """Queries that each find a share of their own, drawn from a known distribution."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        found = rng.binomial(10, rng.beta(9, 1, 200)) / 10  # .9 on average
        measured = estimated(found, 10)
        inside += measured.low <= 0.9 <= measured.high
    assert 0.92 < inside / 400 < 0.98
    perfect = estimated(np.ones(200), 10)
    assert perfect.high == 1.0 and 0.99 < perfect.low < 1.0


def test_equal_rows_stand_for_each_other(tmp_path):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", dim=16, metric="l2", retrain=False)
        assert docs.measure_recall(np.ones((3, 16))).recall == 1.0  # nothing is there to be missed
        docs.upsert(range(3000), np.ones((3000, 16)))
        assert docs.measure_recall(100).recall == 1.0
        docs.upsert(range(4000, 4003), np.zeros((3, 16)))
        assert docs.measure_recall(np.zeros((1, 16)), 3, rescore=100).recall == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "bz is None: want a bebr.Binarizer, as bebr.train makes it, or dim="),
        ({"dim": 0}, "dim is 0"),
        ({"dim": 2.5}, "dim is 2.5"),
        ({"dim": 64, "metric": "dot"}, "metric is 'dot'"),
        ({"dim": 64, "bytes_per_vector": 2}, "bytes_per_vector is 2"),
        ({"dim": 64, "keep": "float32"}, "keep is 'float32'"),
        ({"dim": 64, "keep": None, "retrain": True}, "retrain is True, but no vectors are kept"),
        ({"dim": 64, "retrain": 1}, "retrain is 1: want True or False"),
    ],
)
def test_what_no_collection_can_be_is_refused(tmp_path, arguments, words):
    with bebr.open(tmp_path) as db:
        with pytest.raises(ValueError, match=words):
            db.create_collection("docs", **arguments)
        assert db.collections() == []


def test_a_model_comes_without_the_rest(tmp_path, bz):
    with bebr.open(tmp_path) as db:
        for arguments in ({"dim": 64}, {"metric": bz.metric}, {"bytes_per_vector": 10}):
            with pytest.raises(ValueError, match="beside a model, which has its own"):
                db.create_collection("docs", bz, **arguments)


def test_codes_alone_without_a_model(tmp_path):
    x = clustered(500, 64)
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", dim=64, bytes_per_vector=26, keep=None)
        docs.upsert(range(500), x)
        assert docs.stats().kept_bytes == 0 and docs.stats().bytes_per_vector == 26
        assert recall(docs.search(x[:100], 1).ids, np.arange(100)[:, None]) > 0.95


@pytest.mark.parametrize("closed", [True, False])
def test_a_program_ends_while_a_collection_is_being_trained(tmp_path, closed):
    script = (
        "import sys, time, numpy as np, bebr\n"
        f"db = bebr.open({str(tmp_path)!r})\n"
        "docs = db.create_collection('docs', dim=192)\n"
        "docs.upsert(range(1100), np.random.default_rng(0).standard_normal((1100, 192)))\n"
        "time.sleep(0.2)\n" + ("db.close()\n" if closed else "")
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    with bebr.open(tmp_path) as db:
        assert len(db.collection("docs")) == 1100
