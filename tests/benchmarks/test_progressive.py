"""benchmarks/progressive.py: how few rows are enough after the first stage."""

from __future__ import annotations

import numpy as np

from benchmarks import progressive
from benchmarks.datasets import Dataset
from tests.conftest import clustered


def test_counts_are_multiples_of_k_up_to_all_rows() -> None:
    tried = progressive.counts(1234)
    assert tried[0] == progressive.K and tried[-1] == 1240
    assert tried == sorted(set(tried)) and all(n % progressive.K == 0 for n in tried)


def test_the_fewest_is_the_first_within_the_loss_of_all() -> None:
    assert progressive.fewest([10, 20, 30, 40], [0.5, 0.8985, 0.899, 0.9]) == 20
    assert progressive.fewest([10, 20], [0.9, 0.9]) == 10


def test_a_first_look_that_sees_everything_needs_no_more_than_k() -> None:
    x, queries = clustered(500, 32), clustered(20, 32, seed=9)
    truth = np.argsort(-(queries @ x.T), axis=1, kind="stable")[:, : progressive.K]
    assert progressive.by_look(x, x, queries, truth, [10, 500]) == [1.0, 1.0]
    blind = progressive.by_look(-x, x, queries, truth, [10, 500])
    assert blind[0] < 0.1 and blind[1] == 1.0


def test_all_looks_at_one_size() -> None:
    x = clustered(2000, 32)
    data = Dataset("tests", "cosine", "", x, x, clustered(30, 32, seed=9))
    rows = {row.stage: row for row in progressive.measured(data, 12, others=True)}
    assert len(rows) == 6
    recalls = [row.recall for row in rows.values() if row.stage != progressive.OWN]
    assert max(recalls) - min(recalls) < 0.02  # whole codes, by the engine's arithmetic and by floats
    assert rows["two planes, the code's factor"].share <= rows["sign plane, the code's factor"].share
    shared, own = rows[progressive.SHARED], rows[progressive.OWN]
    assert shared.size == own.size == 12 and shared.bits > own.bits
    for product in (shared, own):
        assert 0 < product.share < 1 and product.completed == round(product.share * len(x))
    assert [row.stage for row in progressive.measured(data, 12)] == [progressive.SHARED, progressive.OWN]
