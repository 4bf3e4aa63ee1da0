"""The filtered benchmark on a small set: every index at every share, no short answer, marks where a bound is missed."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from benchmarks import datasets, filtered
from tests.conftest import clustered


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("BEBR_DATA", str(tmp_path))
    x = clustered(3000, 64)
    return datasets.Dataset("small", "cosine", "0", x, x, clustered(20, 64, seed=9))


def test_every_index_answers_in_full_at_every_share(data):
    model = bebr.train(data.train, widths=[64, 64, 32], seed=0)
    rows = filtered.measure(data, model, nlist=16, k=10, rounds=1, seed=0)
    assert [(r.index, r.share) for r in rows] == [
        (name, share) for share in filtered.SHARES for name in ("Flat", "IVF16", "Graph32")
    ]
    assert all(r.short == 0 and r.microseconds > 0 and r.materialized > 0 for r in rows)
    assert min(r.recall for r in rows) > 0.6
    assert [r.recall for r in rows[:3]] == pytest.approx([r.unfiltered for r in rows[:3]])


def test_what_misses_a_bound_is_marked():
    bad = filtered.Row("IVF", 0.1, 0.80, 0.90, 13.0, 10.0, 2)
    good = filtered.Row("IVF", 0.1, 0.895, 0.90, 11.0, 10.0, 0)
    cells = np.array([list(column.cells) for column in filtered.table([bad, good], "t").columns]).T
    assert [("✗" in cell) for cell in cells[0]] == [False, False, True, False, False, False, True, True]
    assert not any("✗" in cell for cell in cells[1])
