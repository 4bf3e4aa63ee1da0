"""The version matrix: who is a query, who may train, what counts as found."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from benchmarks import compatible
from tests.conftest import clustered


def test_split_keeps_training_away_and_answers_single() -> None:
    pairs = [(f"s{i}", f"l{i}") for i in range(60)] + [("s0", "l60"), ("s61", "l1"), ("l2", "l62")]
    texts = list(dict.fromkeys([long for _, long in pairs] + [synopsis for synopsis, _ in pairs]))
    queries, documents, train = compatible.split(texts, pairs)
    assert len(queries) == len(documents) and len(np.unique(documents)) == len(documents)
    for query, document in zip(queries, documents, strict=True):
        assert (texts[query], texts[document]) in pairs
    assert not set(train) & (set(queries) | set(documents))
    assert len(set(train)) == len(train)


def test_found_counts_first_place_and_the_first_ten() -> None:
    ids = np.full((4, 10), 99)
    ids[0, 0], ids[1, 9], ids[2, 0] = 0, 1, 0
    assert compatible.found(ids) == (0.25, 0.5)


def test_merged_takes_the_best_of_both() -> None:
    a = bebr.Hits(np.float32([[9, 7, 5, -np.inf]]), np.array([[1, 2, 3, -1]]))
    b = bebr.Hits(np.float32([[8, 6, 4, 2]]), np.array([[4, 5, 6, 7]]))
    assert compatible.merged(a, b)[0, :7].tolist() == [1, 4, 2, 5, 3, 6, 7]


def test_broken_names_what_fails() -> None:
    def row(what: str, r10: float) -> compatible.Row:
        return compatible.Row(what, 100, 100, "float", 0.0, r10)

    good = [
        row("old -> old", 0.8),
        row("new -> old", 0.721),
        row("new -> new", 0.79),
        row("new -> new, without", 0.8),
    ]
    assert compatible.broken(good) == []
    assert "new -> old 0.719" in compatible.broken([good[0], row("new -> old", 0.719), *good[2:]])[0]
    assert "new -> new 0.780" in compatible.broken([*good[:2], row("new -> new", 0.78), good[3]])[0]


def test_matrix_of_one_producer_seen_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old and new are the same up to a turn, so every crossing must find about what the old finds."""
    descend_map = pytest.importorskip(
        "bebr.training.compat.descend_map", reason="the gradient part of a map needs torch"
    )
    monkeypatch.setattr(descend_map, "_STEPS", 2)
    x = clustered(1100, 32)
    y = x @ np.linalg.qr(np.random.default_rng(0).standard_normal((32, 32)))[0].astype(np.float32)
    noise = 0.02 * np.random.default_rng(1).standard_normal((100, 32)).astype(np.float32)
    turned = noise @ np.linalg.lstsq(x, y, rcond=None)[0]
    old = compatible.View(x[:100] + noise, x[:600], x[600:])
    new = compatible.View(y[:100] + turned, y[:600], y[600:])
    rows = {(r.what, r.query): r.r10 for r in compatible.matrix(old, new, 14, 14)}
    for query in ("float", "code"):
        assert rows["old -> old", query] > 0.9
        for what in ("new -> old", "new -> new", "new -> upgraded", "new -> half old, half new"):
            assert rows[what, query] > 0.8, (what, query)
        assert rows["new -> new", query] == rows["new -> new, without", query]
