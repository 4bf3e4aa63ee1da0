"""The planner: bits for a budget or for a recall, and predictions that hold for queries it never saw."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

import bebr
from bebr.exact import exact, hits
from bebr.training.linear.closed_form import spectrum
from bebr.training.planning.holdout import Holdout, fewest
from bebr.training.planning.noise import NoiseModel
from tests.conftest import clustered


def outcome(x: np.ndarray, queries: np.ndarray, widths: tuple[int, ...], metric: str, query: str = "float") -> float:
    """Recall@10 of ``queries`` by a search through the whole product."""
    index = bebr.FlatIndex(bebr.train(x, widths=widths, metric=metric))
    index.add(x)
    return float(hits(index.search(queries, 10, query=query).ids, exact(x, queries, 10, metric)).mean())


@pytest.fixture(scope="module")
def base() -> np.ndarray:
    return clustered(2000, 32, seed=5)


@pytest.fixture(scope="module")
def planned(base: np.ndarray) -> Callable[..., bebr.Plan]:
    """Plans for ``base``, each made once."""
    return functools.cache(functools.partial(bebr.plan, base))


@pytest.fixture(scope="module")
def unseen() -> np.ndarray:
    return clustered(500, 32, seed=6)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_a_target_is_reached_by_unseen_queries(base: np.ndarray, unseen: np.ndarray, metric: str) -> None:
    if metric != "cosine":  # lengths that matter
        base, unseen = (x * np.linspace(0.5, 2, len(x), dtype=np.float32)[:, None] for x in (base, unseen))
    p = bebr.plan(base, target_recall=0.9, metric=metric)
    assert p.adc.recall - p.adc.error >= 0.9
    assert 0.88 <= outcome(base, unseen, p.widths, metric) <= 0.95


def test_queries_may_be_coded(base: np.ndarray, unseen: np.ndarray, planned: Callable[..., bebr.Plan]) -> None:
    adc, sdc = planned(target_recall=0.9), planned(target_recall=0.9, query="code")
    assert sdc.bytes_per_vector > adc.bytes_per_vector
    assert 0.88 <= outcome(base, unseen, sdc.widths, "cosine", "code") <= 0.96


def test_a_prediction_holds_within_its_error(
    base: np.ndarray, unseen: np.ndarray, planned: Callable[..., bebr.Plan]
) -> None:
    p = planned(bytes_per_vector=12)
    for predicted, query in ((p.adc, "float"), (p.sdc, "code")):
        spread = (predicted.error**2 + 0.15**2 / len(unseen)) ** 0.5  # of a query's own recall: about 0.15
        assert abs(outcome(base, unseen, p.widths, "cosine", query) - predicted.recall) < 4 * spread


def test_more_bytes_more_recall_and_the_widths_that_training_takes(
    base: np.ndarray, planned: Callable[..., bebr.Plan]
) -> None:
    plans = [planned(bytes_per_vector=size) for size in (6, 12, 24)]
    assert all(a.adc.recall < b.adc.recall and a.sdc.recall < b.sdc.recall for a, b in pairwise(plans))
    for p in plans:
        assert (
            p.widths
            == bebr.train(base[400:], bytes_per_vector=p.bytes_per_vector, factor_bytes=p.factor_bytes, rounds=0).widths
        )
        assert p.bits == sum(p.widths) == 8 * (p.bytes_per_vector - p.factor_bytes) and p.dims == p.widths[0]
        assert p.bits_per_dim == p.bits / 32


def test_higher_targets_take_more_bytes(planned: Callable[..., bebr.Plan]) -> None:
    sizes = [planned(target_recall=target).bytes_per_vector for target in (0.5, 0.9)]
    assert sizes == sorted(set(sizes))


def test_more_rows_are_predicted_harder_and_extrapolation_holds() -> None:
    x, queries = clustered(8_000, 16, seed=7), clustered(500, 16, seed=8)
    few, many = (bebr.plan(x[:2000], bytes_per_vector=8, rows=rows) for rows in (None, 8_000))
    assert few.rows == 2000 and many.rows == 8_000
    assert many.adc.recall < few.adc.recall and many.adc.error > few.adc.error
    assert abs(outcome(x, queries, many.widths, "cosine") - many.adc.recall) < 0.04


def test_a_plan_depends_on_its_seed_alone(base: np.ndarray) -> None:
    first, again = (bebr.plan(base[:600], target_recall=0.8, seed=3) for _ in range(2))
    assert first == again and repr(first) == repr(again)


def test_a_plan_reads_well_and_goes_through_json(planned: Callable[..., bebr.Plan]) -> None:
    p = planned(bytes_per_vector=12)
    assert f"recall@10 of 2,000 vectors: ADC {p.adc.recall:.3f} ± {p.adc.error:.3f}" in repr(p)
    read = json.loads(json.dumps(p.to_dict()))
    assert read["widths"] == list(p.widths) and read["sdc"]["recall"] == p.sdc.recall
    assert read["trials"] == [{"bytes_per_vector": 12, "adc": read["adc"], "sdc": read["sdc"]}]


def test_a_memory_takes_the_largest_code_that_fits(planned: Callable[..., bebr.Plan]) -> None:
    p = planned(memory="40kB")  # 2,000 rows of 8 bytes of id
    assert (p.bytes_per_vector, p.index, p.memory) == (12, "flat", 40_000)
    assert p.adc == planned(bytes_per_vector=12).adc
    many = planned(memory="300MB", rows=10**7)
    assert (many.bytes_per_vector, many.index) == (17, "ivf") and 289 < many.memory / 1e6 <= 300
    assert planned(memory="1GiB").bytes_per_vector == 34  # nothing is larger


def test_training_takes_a_target(base: np.ndarray) -> None:
    x = base[:600]
    assert bebr.train(x, target_recall=0.8, rounds=1).widths == bebr.plan(x, target_recall=0.8).widths


def test_an_unreachable_target_names_the_best_there_is(base: np.ndarray) -> None:
    with pytest.raises(
        ValueError, match=r"target_recall is 0\.99999: the most that 34 bytes a vector reach here is 0\.9"
    ):
        bebr.plan(base, target_recall=0.99999)


# Odd data


def test_fewer_vectors_than_dimensions() -> None:
    p = bebr.plan(clustered(40, 64), bytes_per_vector=12)
    assert 0 < p.adc.recall < 1 and p.adc.error > 0.01  # eight queries know little, and the plan says so


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_constant_dimensions(base: np.ndarray, unseen: np.ndarray, metric: str) -> None:
    flat, queries = base.copy(), unseen.copy()
    flat[:, ::2] = queries[:, ::2] = 0.1
    p = bebr.plan(flat, target_recall=0.9, metric=metric)
    assert 0.87 <= outcome(flat, queries, p.widths, metric) <= 0.96


def test_vectors_that_are_all_equal_end_in_an_answer() -> None:
    x = np.ones((200, 16), np.float32)
    assert bebr.plan(x, bytes_per_vector=4).bytes_per_vector == 4
    try:
        assert bebr.plan(x, target_recall=0.9).adc.recall >= 0.9
    except ValueError as error:
        assert "target_recall is 0.9: the most" in str(error)


def test_the_fewest_vectors(base: np.ndarray) -> None:
    assert bebr.plan(base[: fewest(10)], bytes_per_vector=12).rows == fewest(10)
    with pytest.raises(ValueError, match=f"x has 12 vectors: want at least {fewest(10)} to plan for k=10"):
        bebr.plan(base[: fewest(10) - 1], bytes_per_vector=12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of bytes_per_vector, target_recall and memory"),
        ({"bytes_per_vector": 12, "target_recall": 0.9}, "exactly one of"),
        ({"target_recall": 1.0}, "target_recall is 1.0: want a number between 0 and 1"),
        ({"target_recall": float("nan")}, "target_recall is nan"),
        ({"bytes_per_vector": 2}, "bytes_per_vector is 2: want 3 to 34"),
        ({"bytes_per_vector": 12, "metric": "euclid"}, "metric is 'euclid'"),
        ({"bytes_per_vector": 12, "query": "adc"}, "query is 'adc'"),
        ({"bytes_per_vector": 12, "k": 0}, "k is 0"),
        ({"bytes_per_vector": 12, "rows": 9}, "rows is 9: want at least k=10"),
        ({"bytes_per_vector": 12, "memory": "1GiB"}, "exactly one of"),
        ({"memory": "lots"}, "memory is 'lots': want a size"),
        ({"memory": "10kB"}, "memory is 10,000 bytes: 2,000 rows of 3 bytes, the smallest code, take 22,000"),
        ({"bytes_per_vector": 12, "index": "hnsw"}, "index is 'hnsw': want one of flat, ivf, graph"),
    ],
)
def test_wrong_arguments_are_named(base: np.ndarray, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bebr.plan(base, **arguments)  # type: ignore[arg-type]


def test_training_refuses_a_target_beside_another_way(base: np.ndarray) -> None:
    with pytest.raises(ValueError, match="exactly one of"):
        bebr.train(base, target_recall=0.9, bytes_per_vector=12)
    with pytest.raises(ValueError, match="target_recall is predicted for architecture='linear'"):
        bebr.train(base, target_recall=0.9, architecture="recurrent")


# The parts


def test_the_noise_model_is_monotone_and_inverts(base: np.ndarray) -> None:
    r = Holdout(base, "cosine", 10, None, 0)
    model = NoiseModel(r.train, r.base, r.queries, "cosine", 10, 0)
    np.testing.assert_allclose(model.values, spectrum(r.train)[1])
    noises = [model.noise(widths) for widths in ((16,), (32,), (32, 16), (32, 32), (32, 32, 32))]
    assert noises == sorted(noises, reverse=True)
    recalls = [model.recall(noise) for noise in noises]
    assert recalls == sorted(recalls) and model.recall(0) == 1
    for recall in (0.5, 0.9):
        assert model.recall(model.noise_for(recall)) == pytest.approx(recall, abs=0.002)


def test_queries_are_in_neither_base_nor_training(base: np.ndarray) -> None:
    r = Holdout(base, "ip", 10, None, 0)
    queries, searched = {row.tobytes() for row in r.queries}, {row.tobytes() for row in r.base}
    assert len(queries) == 400 and len(searched) == 1600 and not queries & searched
    assert not queries & {row.tobytes() for row in r.train}
