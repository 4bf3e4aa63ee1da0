"""Queries of a new model on codes of an old one: two producers that see the same items differently."""

from __future__ import annotations

import builtins
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bebr
from bebr.training.compat.compatible import make_compatible
from tests.conftest import clustered, recall

ITEMS, QUERIES = 1500, 100


def second_producer(x: np.ndarray, d: int) -> np.ndarray:
    """Vectors float32[n, d] of the same items: turned, bent, and with a little noise."""
    rng = np.random.default_rng(3)
    turn = np.linalg.qr(rng.standard_normal((max(d, x.shape[1]),) * 2))[0][: x.shape[1], :d]
    mixed = np.tanh(4 * x @ turn)
    mixed += 0.05 * rng.standard_normal(mixed.shape)
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


OLD = clustered(ITEMS + QUERIES, 48, seed=5)
NEW = {d: second_producer(OLD, d) for d in (48, 64, 32)}
OLD_X, OLD_Q = OLD[:ITEMS], OLD[ITEMS:]


def exact(q: np.ndarray, x: np.ndarray, metric: str = "cosine") -> np.ndarray:
    scores = q @ x.T if metric != "l2" else 2 * q @ x.T - (x * x).sum(1)
    return np.argsort(-scores, axis=1)[:, :10]


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Any:
    """Two runs must agree to the bit, whatever the machine; and few steps, which is enough for few vectors."""
    torch = pytest.importorskip("torch", reason="the gradient part of a map needs torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    from bebr.training.compat import descend_map

    full = descend_map._STEPS, descend_map._BATCH
    descend_map._STEPS, descend_map._BATCH = 8, 256
    yield
    descend_map._STEPS, descend_map._BATCH = full
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def old() -> bebr.Binarizer:
    return bebr.train(OLD_X, widths=(48, 48, 32), rounds=4)


@functools.cache
def plain(d: int, widths: tuple[int, ...]) -> bebr.Binarizer:
    """A new model that knows of no older one; read only."""
    return bebr.train(NEW[d][:ITEMS], widths=widths, rounds=4)


@pytest.fixture(scope="module")
def old_index(old: bebr.Binarizer) -> bebr.FlatIndex:
    index = bebr.FlatIndex(old)
    index.add(OLD_X)
    return index


@pytest.fixture(scope="module")
def new(old: bebr.Binarizer) -> bebr.Binarizer:
    return with_ridge(64, old, (64, 64), epochs=1, hidden=64)


def test_train_makes_what_make_compatible_makes(old: bebr.Binarizer, monkeypatch: pytest.MonkeyPatch) -> None:
    from bebr.training.compat import descend_map

    monkeypatch.setattr(descend_map, "_STEPS", 1)
    x = NEW[64][:300]
    trained = bebr.train(x, widths=(64,), rounds=1, compatible_with=old, old_vectors=OLD_X[:300])
    assert trained.digest == make_compatible(bebr.train(x, widths=(64,), rounds=1), old, x, OLD_X[:300]).digest
    assert trained.compatible_with == (old.digest,)


@pytest.mark.parametrize(
    ("d", "widths", "least_float", "least_code"),
    [
        (48, (48, 48, 32), 0.75, 0.7),
        (64, (64, 64, 64, 64), 0.75, 0.75),
        (32, (32, 24), 0.35, 0.3),  # two thirds of the dimensions: what they miss is gone
        (48, (16,), 0.75, 0.1),  # a code of 16 bits says little about the query
    ],
)
def test_new_queries_find_old_codes(
    old_index: bebr.FlatIndex, d: int, widths: tuple[int, ...], least_float: float, least_code: float
) -> None:
    """Same or other dimensions, longer codes or shorter; as shares of what the old model's own queries find."""
    q, bz = NEW[d][ITEMS:], with_ridge(d, old_index.binarizer, widths)
    truth = exact(OLD_Q, OLD_X)
    for query, least in (("float", least_float), ("code", least_code)):
        own = recall(old_index.search(OLD_Q, 10, query=query).ids, truth)
        assert recall(old_index.search(q, 10, query=query, binarizer=bz).ids, truth) > least * own, query


def test_gradient_follows_its_aim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old producer makes much of some directions and little of others. Regression imitates its queries; the
    gradient, with the new producer's neighbourhoods as its only aim, learns to ask for what that one would find. Judged
    on queries nothing was trained or chosen on."""
    from bebr.training.compat import descend_map, mapping

    for module in (mapping, descend_map):
        monkeypatch.setattr(module, "SHARES", (1.0, 0.0))
    monkeypatch.setattr(descend_map, "_OWN", 0.0)
    lopsided = (OLD * np.linspace(0.2, 2, 48)).astype(np.float32)
    old, x, q = bebr.train(lopsided[:ITEMS], widths=(48, 48, 48, 48), rounds=0), NEW[64][:ITEMS], NEW[64][ITEMS:]
    index, new = bebr_index(old, lopsided[:ITEMS]), plain(64, (64, 64))
    ridge, trained = (make_compatible(new, old, x, lopsided[:ITEMS], epochs=e, hidden=64) for e in (0, 10))
    bridged, start = (recall(index.search(q, 10, binarizer=bz).ids, exact(q, x)) for bz in (trained, ridge))
    assert bridged > start + 0.02
    facts = trained.config["compatible"][old.digest]["heldout"]
    assert facts["bridge"]["end"] > facts["bridge"]["ridge"] and facts["lift"]["end"] >= facts["lift"]["ridge"]
    for facts in ridge.config["compatible"][old.digest]["heldout"].values():
        assert facts["end"] == facts["ridge"]


def test_lifted_codes_answer_new_queries(old: bebr.Binarizer, new: bebr.Binarizer) -> None:
    """Old codes become codes of the new model's shape; its queries find in them far more than chance."""
    x, q = NEW[64][:ITEMS], NEW[64][ITEMS:]
    upgraded = new.upgrade(old.encode(OLD_X), old)
    assert upgraded.planes.shape == (ITEMS, new.settings.code_bytes) and upgraded.factors.shape == (
        ITEMS,
        new.settings.factor_count,
    )
    index = bebr.FlatIndex(new)
    index.add_codes(upgraded, np.arange(ITEMS))
    own = bebr.FlatIndex(new)
    own.add(x)
    truth = exact(q, x)
    for query in ("float", "code"):
        found = recall(index.search(q, 10, query=query).ids, truth)
        assert 0.6 < found / recall(own.search(q, 10, query=query).ids, truth) < 1


def test_own_codes_are_those_of_training_without(new: bebr.Binarizer) -> None:
    x, without = NEW[64][:ITEMS], plain(64, (64, 64))
    ours, theirs = new.encode(x), without.encode(x)
    assert np.array_equal(ours.planes, theirs.planes) and np.array_equal(ours.factors, theirs.factors)
    assert np.array_equal(new.prepare(x[:9]).y, without.prepare(x[:9]).y)


def test_scores_on_old_codes_merge_with_those_on_new(old: bebr.Binarizer, new: bebr.Binarizer) -> None:
    """Half of the documents moved to new codes: merged by score, the moved ones take about their share of the top."""
    x, q = NEW[64][:ITEMS], NEW[64][ITEMS:]
    half = ITEMS // 2
    kept, moved = bebr.FlatIndex(old), bebr.FlatIndex(new)
    kept.add(OLD_X[:half])
    moved.add(x[half:], np.arange(half, ITEMS))
    for query in ("float", "code"):
        a = kept.search(q, 10, query=query, binarizer=new)
        b = moved.search(q, 10, query=query)
        scores, ids = np.hstack([a.scores, b.scores]), np.hstack([a.ids, b.ids])
        best = np.take_along_axis(ids, np.argsort(-scores, axis=1)[:, :10], axis=1)
        whole = recall(bebr_index(new, x).search(q, 10, query=query).ids, exact(q, x))
        assert recall(best, exact(q, x)) > 0.7 * whole
        assert 0.25 < np.mean(best >= half) < 0.8
        slope, level = new.config["compatible"][old.digest]["calibration"][query]
        bare = kept.search_prepared(_bare(new.prepare_for(old, q, query)), 10).scores
        assert np.allclose(a.scores, slope * bare + level, atol=1e-5)


@pytest.mark.parametrize("factor_bytes", [1, 2, 4])
def test_old_codes_count_as_the_engine_scores_them(factor_bytes: int) -> None:
    """The factor's value, not its byte: what maps and calibration learn from is what a search will see."""
    old = bebr.train(OLD_X, widths=(48, 48, 32), factor_bytes=factor_bytes, rounds=0)
    new = with_ridge(64, old, (64, 64))
    index, q = bebr_index(old, OLD_X), NEW[64][ITEMS:]
    bridged = new._map("bridge", old)(q)
    bridged /= np.linalg.norm(bridged, axis=1, keepdims=True)
    slope, level = new.config["compatible"][old.digest]["calibration"]["float"]
    hits = index.search(q, 10, exact=True, binarizer=new)
    expected = np.take_along_axis(bridged @ old._scored(index.codes()[0]).T, hits.ids, axis=1)
    np.testing.assert_allclose(hits.scores, slope * expected + level, atol=1e-4)
    own = bebr_index(new, NEW[64][:ITEMS]).search(q, 10, exact=True).scores
    assert abs(hits.scores.mean() - own.mean()) < 0.15 * own.mean()


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_other_metrics(metric: str) -> None:
    """Lengths matter, and data of any unit: here a thousand."""
    size = 1000 * np.random.default_rng(0).uniform(0.8, 1.25, (len(OLD), 1)).astype(np.float32)
    a, b = OLD * size, NEW[64] * size / 7
    old = bebr.train(a[:ITEMS], widths=(48, 48, 32), metric=metric, rounds=2)
    alone = bebr.train(b[:ITEMS], widths=(64, 64), metric=metric, rounds=2)
    new = make_compatible(alone, old, b[:ITEMS], a[:ITEMS], epochs=1, hidden=64)
    index = bebr_index(old, a[:ITEMS])
    truth = exact(b[ITEMS:], b[:ITEMS], metric)
    hits = index.search(b[ITEMS:], 10, binarizer=new)
    own = bebr_index(new, b[:ITEMS]).search(b[ITEMS:], 10)
    assert recall(hits.ids, truth) > 0.6 * recall(own.ids, truth)
    assert np.all(np.diff(hits.scores, axis=1) >= 0 if metric == "l2" else np.diff(hits.scores, axis=1) <= 0)
    assert np.mean(np.abs(hits.scores.mean() / own.scores.mean() - 1)) < 0.3  # in the new model's unit
    upgraded = bebr.FlatIndex(new)
    upgraded.add_codes(new.upgrade(old.encode(a[:ITEMS]), old), np.arange(ITEMS))
    assert recall(upgraded.search(b[ITEMS:], 10).ids, truth) > 0.6 * recall(own.ids, truth)


def test_a_model_without_decoder_is_searched_in_code_space(old: bebr.Binarizer) -> None:
    """The paper's form: v itself is the reconstruction."""
    bare = bebr.Binarizer.from_tensors(
        {name: t for name, t in old._tensors.items() if name.startswith("encoder")},
        {"architecture": "linear", "widths": old.widths, "metric": "cosine", "input_dim": 48},
    )
    new = with_ridge(64, bare, (64, 64))
    index = bebr_index(bare, OLD_X)
    own = recall(index.search(OLD_Q, 10, query="code").ids, exact(OLD_Q, OLD_X))
    for query in ("float", "code"):
        assert (
            recall(index.search(NEW[64][ITEMS:], 10, query=query, binarizer=new).ids, exact(OLD_Q, OLD_X)) > 0.6 * own
        )


def test_a_file_keeps_it(tmp_path: Path, old_index: bebr.FlatIndex, new: bebr.Binarizer) -> None:
    new.save(tmp_path / "new.safetensors")
    back = bebr.Binarizer.load(tmp_path / "new.safetensors")
    assert back.digest == new.digest and back.compatible_with == new.compatible_with == (old_index.binarizer.digest,)
    q = NEW[64][ITEMS:]
    assert np.array_equal(old_index.search(q, 10, binarizer=back).scores, old_index.search(q, 10, binarizer=new).scores)
    codes = old_index.codes()[0]
    assert np.array_equal(
        back.upgrade(codes, old_index.binarizer).planes, new.upgrade(codes, old_index.binarizer).planes
    )


def test_compatible_with_two_older_models(old: bebr.Binarizer, new: bebr.Binarizer) -> None:
    older = plain(48, (48,))
    both = make_compatible(new, older, NEW[64][:ITEMS], NEW[48][:ITEMS], epochs=0)
    assert set(both.compatible_with) == {old.digest, older.digest}
    q = NEW[64][ITEMS:]
    assert np.array_equal(both.prepare_for(old, q).y, new.prepare_for(old, q).y)
    assert both.prepare_for(older, q).y.shape == (QUERIES, 48)


def test_a_model_that_was_not_trained_for_it_is_refused(old: bebr.Binarizer, new: bebr.Binarizer) -> None:
    stranger = bebr.train(OLD_X, widths=(32,), rounds=0)
    with pytest.raises(bebr.IncompatibleModel, match=f"{stranger.digest}.*but with {old.digest}: train it with"):
        bebr_index(stranger, OLD_X).search(NEW[64][ITEMS:], 10, binarizer=new)
    with pytest.raises(bebr.IncompatibleModel, match="but with no other model"):
        stranger.prepare_for(old, OLD_Q)
    with pytest.raises(bebr.IncompatibleModel):
        new.upgrade(stranger.encode(OLD_X), stranger)


def test_its_own_model_may_be_named(old_index: bebr.FlatIndex, old: bebr.Binarizer) -> None:
    assert np.array_equal(old_index.search(OLD_Q, 5).scores, old_index.search(OLD_Q, 5, binarizer=old).scores)


def test_the_same_seed_gives_the_same_model(old: bebr.Binarizer) -> None:
    def once(seed: int) -> str:
        return with_ridge(32, old, (32,), epochs=1, hidden=32, seed=seed).digest

    assert once(0) == once(0) != once(1)


def test_without_torch_ridge_stays_and_is_said(monkeypatch: pytest.MonkeyPatch, old: bebr.Binarizer) -> None:
    import sys

    real = builtins.__import__

    def absent(name: str, *rest: Any, **named: Any) -> Any:
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "bebr.training.compat.descend_map", raising=False)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.warns(UserWarning, match="torch is absent, so the bridge to the old model is a ridge regression only"):
        bz = with_ridge(64, old, (64, 64), epochs=3)
    assert bz.digest == with_ridge(64, old, (64, 64)).digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"old_vectors": None}, "old_vectors is missing"),
        ({"compatible_with": None}, "compatible_with is missing"),
        ({"compatible_with": "old"}, "compatible_with is a str: want a bebr.Binarizer"),
        ({"metric": "ip"}, "compatible_with has metric 'cosine': want 'ip'"),
        ({"old_vectors": OLD_X[:-1]}, "old_vectors has 1499 rows and x 1500: want the same items"),
        ({"old_vectors": OLD_X[:, :-1]}, r"old_vectors has shape \(1500, 47\): want \(n, 48\)"),
        ({"old_vectors": np.where(np.arange(48) == 3, np.nan, OLD_X)}, r"old_vectors\[0, 3\] is nan"),
        ({"x": NEW[64][:20], "old_vectors": OLD_X[:20]}, "old_vectors has 20 rows: want at least 32"),
    ],
)
def test_bad_input_is_named(old: bebr.Binarizer, options: dict[str, Any], message: str) -> None:
    call: dict[str, Any] = {"x": NEW[64][:ITEMS], "compatible_with": old, "old_vectors": OLD_X}
    call |= {"widths": (64,), "rounds": 0}
    with pytest.raises(ValueError, match=message):
        bebr.train(**(call | options))


def test_tensors_of_an_unlisted_model_are_refused(new: bebr.Binarizer) -> None:
    config = {k: v for k, v in new.config.items() if k != "compatible"}
    with pytest.raises(ValueError, match="belongs to no model that config 'compatible' lists"):
        bebr.Binarizer.from_tensors(new._tensors, config)
    short = {k: v for k, v in new._tensors.items() if not k.startswith("lift")}
    with pytest.raises(ValueError, match=r"tensor lift\..*\.linear\.0\.weight is missing"):
        bebr.Binarizer.from_tensors(short, new.config)


def with_ridge(d: int, old: bebr.Binarizer, widths: tuple[int, ...], **options: Any) -> bebr.Binarizer:
    """Without the gradient part, unless ``options`` say otherwise."""
    return make_compatible(plain(d, widths), old, NEW[d][:ITEMS], OLD_X, **{"epochs": 0, **options})


def bebr_index(bz: bebr.Binarizer, x: np.ndarray) -> bebr.FlatIndex:
    index = bebr.FlatIndex(bz)
    index.add(x)
    return index


def _bare(prepared: Any) -> Any:
    from dataclasses import replace

    return replace(prepared, calibration=(1.0, 0.0))


def test_a_collection_of_old_rows_takes_new_queries(
    tmp_path: Path, old_index: bebr.FlatIndex, new: bebr.Binarizer
) -> None:
    q = NEW[64][ITEMS:]
    with bebr.open(tmp_path) as db:
        rows = db.create_collection("rows", old_index.binarizer)
        rows.upsert(np.arange(ITEMS), OLD_X)
        hits = rows.search(q, 10, binarizer=new)
        # A collection's answers do not depend on the batch.
        single = [old_index.search(one, 10, binarizer=new).ids for one in q]
        assert np.array_equal(hits.ids, np.concatenate(single))
        with pytest.raises(ValueError, match=r"q has shape \(100, 64\): want \(n, 48\)"):
            rows.search(q, 10)
