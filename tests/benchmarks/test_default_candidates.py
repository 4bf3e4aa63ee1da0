"""What a collection takes by default is set beside 3 k + 20, of every k and size."""

from __future__ import annotations

import json

from benchmarks import datasets, default_candidates
from tests.conftest import clustered


def test_small_codes_take_more_and_find_more(tmp_path, monkeypatch):
    rows = clustered(12_000, 64)
    data = datasets.Dataset("made up", "cosine", "none", rows, rows[:2000], clustered(40, 64, seed=3))
    monkeypatch.setattr(datasets, "load", lambda name: data)
    target = tmp_path / "candidates.json"
    arguments = ["any", "--bytes", "6", "34", "--queries", "40", "--json", str(target)]
    assert default_candidates.main(arguments) == 0
    small, large = (json.loads(target.read_text())["rows"][begin : begin + 3] for begin in (0, 3))
    for these in (small, large):
        assert [(row["k"], row["usual"]) for row in these] == [(1, 23), (10, 50), (100, 320)]
        assert all(row["rows"] == 12_000 and row["ms"] > 0 and row["usual_ms"] > 0 for row in these)
    assert all(row["candidates"] > row["usual"] and row["recall"] > row["usual_recall"] for row in small)
    assert all(row["candidates"] == row["usual"] and row["recall"] == row["usual_recall"] > 0.9 for row in large)
