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


def test_rows_in_a_file_are_those_of_the_mixture(tmp_path):
    source = mixture(16, 0, centers=20)
    made = np.concatenate([next(source.blocks(0)), next(source.blocks(65_536))])[:70_000].astype(np.float16)
    for most_held in (0, 70_000):
        rows = Rows(source, 70_000, np.float32, tmp_path, most_held)
        assert len(rows) == 70_000 and (tmp_path / "rows.npy").exists() == (most_held == 0)
        for some in (slice(0, 10), slice(65_530, 65_540), slice(69_990, 70_000)):
            np.testing.assert_array_equal(rows.vectors(some), made[some].astype(np.float32))
        np.testing.assert_array_equal(np.concatenate(list(rows.floats())), made.astype(np.float32))
        (tmp_path / "rows.npy").unlink(missing_ok=True)


def test_a_server_that_pauses_before_a_merge_has_not_settled(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(ingest.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(ingest.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    busy = [(0.0, 3.0), (8.0, 20.0)]  # the pause is that before a merge of files that are less alike
    monkeypatch.setattr(ingest, "cpu_of", lambda _: sum(min(max(now[0], begin), end) - begin for begin, end in busy))
    assert ingest.settle(1) == 20.0
    assert now[0] == 20.0 + ingest.CALM + 2
    now[0] = 0.0
    assert ingest.settle(1, most=10.0) == 10.0


def test_what_misses_an_aim_is_marked():
    slow = ingest.Load("stream", 1000, 1.0, 0.5, 0.5, 1, {"p50_ms": 9.0, "p99_ms": 9.0, "worst_ms": 200.0})
    after = ingest.After(1, {"p50_ms": 1.0, "p99_ms": 1.0, "worst_ms": 1.0}, 0.8, 0.9, 0.9, 2.0, 1.0)
    first, second = (["".join(column.cells) for column in table.columns] for table in ingest.tables([slow], after))
    assert sum("✗" in cell for cell in first) == 3
    assert sum("✗" in cell for cell in second) == 2
