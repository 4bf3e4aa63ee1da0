"""The benchmark of bulk loads on a small collection: it loads all rows, and the server is there after a kill."""

from __future__ import annotations

import json

import numpy as np

from benchmarks import ingest
from benchmarks.filters import mixture
from benchmarks.ingested_rows import Rows


def test_rows_are_loaded_and_found_after_a_kill(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ingest, "settle", lambda *_: 0.0)
    options = ["--rows", "3000", "--dim", "16", "--bytes", "6", "--searches", "5", "--queries", "10", "--rate", "50"]
    file = tmp_path / "ingest.json"
    options += ["--ways", "embedded,searched", "--restarts", "1", "--kill-after", "0.5", "--json", str(file)]
    assert ingest.main(options) == 0
    shown = capsys.readouterr().out
    assert "embedded" in shown and "searched" in shown and "after kill -9" in shown
    shares = list(json.loads(file.read_text())["rows"][1]["in_server"].values())
    assert shares == sorted(shares) and shares[-1] > 0


def test_rows_that_are_not_held_are_made_again():
    source = mixture(16, 0, centers=20)
    held, made = Rows(source, 40_000, np.float32), Rows(source, 40_000, np.float32, most_held=0)
    assert held.held and not made.held and len(made) == 40_000
    for some in (slice(0, 10), slice(4090, 4100), slice(39_990, 40_000)):
        np.testing.assert_array_equal(made.vectors(some), held.vectors(some))
    np.testing.assert_array_equal(np.concatenate(list(made.floats())), np.concatenate(list(held.floats())))


def test_what_misses_an_aim_is_marked():
    slow = ingest.Load("stream", 1000, 1.0, 0.5, 0.5, 1, {"p50_ms": 9.0, "p99_ms": 9.0, "worst_ms": 200.0})
    after = ingest.After(1, {"p50_ms": 1.0, "p99_ms": 1.0, "worst_ms": 1.0}, 0.8, 0.9, 0.9, 2.0, 1.0)
    first, second = (["".join(column.cells) for column in table.columns] for table in ingest.tables([slow], after))
    assert sum("✗" in cell for cell in first) == 3
    assert sum("✗" in cell for cell in second) == 2
