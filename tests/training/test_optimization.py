"""Alternating least squares and coordinate descent: what it promises against the closed form and plain rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bebr
from bebr.training.linear.alternating import optimize, relaxation
from bebr.training.linear.closed_form import allocate, fit, spectrum
from bebr.training.linear.grid import depths
from bebr.training.linear.planes import best_uniform, choose_planes
from tests.conftest import recall


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    """Correlated rows with a steep spectrum, as embeddings have."""
    rng = np.random.default_rng(0)
    mixing = np.linalg.qr(rng.standard_normal((48, 48)))[0] * np.arange(1, 49) ** -0.7
    return (rng.standard_normal((4_000, 48)) @ mixing.T + 0.05).astype(np.float32)


@pytest.fixture(scope="module")
def vectors(many: np.ndarray) -> np.ndarray:
    return many[:2_000]


@pytest.fixture(scope="module")
def trained(vectors: np.ndarray) -> bebr.Binarizer:
    return bebr.train(vectors, widths=[40, 24, 8], rounds=8)


def error(binarizer: bebr.Binarizer, x: np.ndarray, optimized: bool) -> float:
    """Mean of (z - v)^T G (z - v), what the descent lowers."""
    layers = {name: binarizer._tensors[name] for name in ("encoder.0.weight", "encoder.0.bias", "refine.gram")}
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    z = unit @ layers["encoder.0.weight"].T + layers["encoder.0.bias"]
    left = z - binarizer.code_values(binarizer.encode(x, optimize=optimized))
    return float(np.einsum("ij,jk,ik->i", left, layers["refine.gram"], left, optimize=True).mean())


def test_optimization_beats_the_closed_form_on_held_out_rows(trained: bebr.Binarizer) -> None:
    heldout = trained.config["heldout"]
    assert heldout["refined"] > heldout["closed_form"]


def test_descent_lowers_the_error_of_rounding(trained: bebr.Binarizer, vectors: np.ndarray) -> None:
    assert error(trained, vectors, optimized=True) < 0.95 * error(trained, vectors, optimized=False)


def test_no_single_step_improves_an_optimized_code(trained: bebr.Binarizer, vectors: np.ndarray) -> None:
    x = vectors[:200] / np.linalg.norm(vectors[:200], axis=1, keepdims=True)
    weight, bias, gram = (trained._tensors[n] for n in ("encoder.0.weight", "encoder.0.bias", "refine.gram"))
    v = trained.code_values(trained.encode(x))
    g = (x @ weight.T + bias - v) @ gram
    step = np.exp2(2.0 - depths(trained.widths))
    for move in (step, -step):
        inside = np.abs(v + move) <= 2 - step / 2
        change = move**2 * np.diag(gram) - 2 * g * move
        assert change[inside].min() > -1e-4


def test_more_tries_never_raise_the_error(vectors: np.ndarray) -> None:
    trained = bebr.train(vectors, widths=[40, 24], rounds=2, tries=0)
    config = trained.config
    errors = []
    for tries in (0, 4, 16):
        config["refine"]["tries"] = tries
        errors.append(error(bebr.Binarizer.from_tensors(trained._tensors, config), vectors[:500], optimized=True))
    assert errors[0] > errors[1] > errors[2]


def test_a_code_does_not_depend_on_what_is_encoded_beside_it(trained: bebr.Binarizer, vectors: np.ndarray) -> None:
    together = trained.encode(vectors[:500]).planes
    alone = np.vstack([trained.encode(row[None]).planes for row in vectors[:500]])
    # Matrix products of another shape may round otherwise, which moves a code that was on the edge.
    assert (together != alone).any(axis=1).mean() < 0.01


def test_rounds_zero_is_the_closed_form(vectors: np.ndarray) -> None:
    trained = bebr.train(vectors, widths=[40, 24], rounds=0)
    assert "refine" not in trained.config


def test_the_same_seed_gives_the_same_model(vectors: np.ndarray) -> None:
    one, two = (bebr.train(vectors[:1_000], widths=[16, 8], rounds=2, seed=7).digest for _ in range(2))
    assert one == two


def test_survives_a_file(trained: bebr.Binarizer, vectors: np.ndarray) -> None:
    again = bebr.Binarizer.from_bytes(trained.to_bytes())
    np.testing.assert_array_equal(again.encode(vectors[:100]).planes, trained.encode(vectors[:100]).planes)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_awkward_data(metric: str) -> None:
    """Constant and doubled dimensions, fewer rows than dimensions, more code dimensions than the data has."""
    rng = np.random.default_rng(1)
    half = rng.standard_normal((60, 20)).astype(np.float32)
    x = np.hstack([half, half, np.full((60, 10), 3, np.float32)])
    trained = bebr.train(x, widths=[64, 48], metric=metric, rounds=4)
    index = bebr.FlatIndex(trained)
    index.add(x)
    found = index.search(x, 1, exact=True).ids[:, 0]
    assert (found == np.arange(60)).mean() > 0.9


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_a_factor_of_the_sign_plane_counts_among_the_bytes_and_leaves_fewer_rows(many: np.ndarray, metric: str) -> None:
    # By squared distance it spares few rows, and those are seen among many alone.
    vectors, rounds = (many, 4) if metric == "l2" else (many[:2_000], 2)
    shared, own = (
        bebr.train(vectors, bytes_per_vector=12, metric=metric, rounds=rounds, stage_factor=with_one)
        for with_one in (False, True)
    )
    assert (shared.settings.factor_count, own.settings.factor_count) == (1, 2)
    assert shared.bytes_per_vector == own.bytes_per_vector == 12
    assert sum(own.widths) == 8 * (12 - 2 * own.settings.factor_bytes)
    assert own.config["survivors"]["rows"] < shared.config["survivors"]["rows"]
    index, exhaustive = bebr.FlatIndex(own), len(vectors)
    index.add(vectors)
    found, every = (index.search(vectors[:100], 10, oversampling=n).ids for n in (None, exhaustive))
    assert recall(found, every) > 0.99


@pytest.mark.parametrize(("gain", "chosen"), [(0.03, "uniform"), (0.001, "ragged"), (-0.03, "ragged")])
def test_uniform_planes_are_taken_where_they_recall_more(
    vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch, gain: float, chosen: str
) -> None:
    values = spectrum(vectors)[1]
    planes = {"ragged": allocate(values, 80), "uniform": best_uniform(values, 80)}
    noise = np.random.default_rng(0).standard_normal(300) * 0.05

    def hits(candidate: Any, queries: np.ndarray, base: np.ndarray) -> np.ndarray:
        return 0.8 + (candidate[1]["widths"] == planes["uniform"]) * (gain + noise)

    monkeypatch.setattr("bebr.training.linear.planes.heldout_hits", hits)
    assert choose_planes(vectors, 80, "cosine", seed=0) == planes[chosen]


def test_few_vectors_get_ragged_planes(vectors: np.ndarray) -> None:
    assert choose_planes(vectors[:300], 80, "cosine", seed=0) == allocate(spectrum(vectors[:300])[1], 80)


def test_best_uniform_planes_take_all_bits_and_no_more_dimensions_than_there_are() -> None:
    values = 1 / np.arange(1, 65.0)
    for bits in range(8, 8 * 64 + 1, 8):
        widths = best_uniform(values, bits)
        assert widths is not None and sum(widths) == bits
        assert widths[0] <= 64 and widths[0] - widths[-1] in (0, 8)
    assert best_uniform(values, 8 * 64 + 8) is None
    flat, steep = best_uniform(np.ones(64), 128), best_uniform(0.5 ** np.arange(64.0), 128)
    assert flat is not None and steep is not None and len(flat) < len(steep)


def test_a_factor_of_the_sign_plane_is_the_default_from_100_bytes_on(vectors: np.ndarray) -> None:
    # Enough rows to be trusted alone, and too few to compare planes on: both take long.
    wide = np.tile(vectors[:450], (1, 3))[:, :104] + np.random.default_rng(0).standard_normal((450, 104))
    few, many = (bebr.train(wide, bytes_per_vector=size, rounds=0) for size in (99, 100))
    assert (few.settings.stage_factor, many.settings.stage_factor) == (False, True)
    assert not bebr.train(wide, bytes_per_vector=100, rounds=0, stage_factor=False).settings.stage_factor
    assert not bebr.train(wide, widths=[104] * 4, rounds=0).settings.stage_factor


def test_progress_is_told(vectors: np.ndarray) -> None:
    seen: list[tuple[str, int, int]] = []
    bebr.train(vectors[:600], widths=[16], rounds=3, progress=lambda *step: seen.append(step))
    assert ("optimization", 3, 3) in seen


def test_relaxation_follows_the_bits() -> None:
    assert [round(relaxation(bits, 384), 2) for bits in (192, 384, 768, 1536, 3072)] == [1.0, 1.0, 1.4, 1.8, 1.8]


def test_bad_options_are_named(vectors: np.ndarray) -> None:
    with pytest.raises(ValueError, match="stage_factor needs a second plane"):
        bebr.train(vectors, widths=[32], stage_factor=True)
    with pytest.raises(ValueError, match="stage_factor is for architecture='linear'"):
        bebr.train(vectors, widths=[32, 8], stage_factor=True, architecture="recurrent")
    with pytest.raises(ValueError, match="rounds is -1"):
        bebr.train(vectors, widths=[16], rounds=-1)
    with pytest.raises(ValueError, match="unknown option 'hidden'"):
        bebr.train(vectors, widths=[16], hidden=5)


def test_optimize_takes_a_fitted_start(vectors: np.ndarray) -> None:
    start = fit(vectors, (16, 8), 0)
    state = optimize(vectors, start, (16, 8), 0, rounds=5)
    x = vectors[:1_000]
    left = x - state.codes(x, (16, 8)) @ state.decoder - state.mean
    plain = x - x.mean(axis=0)
    assert (left**2).sum() < 0.5 * (plain**2).sum()
