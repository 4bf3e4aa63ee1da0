"""The benchmark of filters over payloads on a small set: no short answer, recall of the matching rows alone."""

from __future__ import annotations

import pytest

from benchmarks import filters


def test_every_filter_is_answered_in_full(capsys, monkeypatch):
    monkeypatch.setattr(filters, "WARM", 3)
    monkeypatch.setattr(filters, "SHARES", (0.5, 0.02))
    options = ["--rows", "3000", "--dim", "32", "--bytes", "8", "--queries", "20", "--rounds", "1"]
    assert filters.main(options) == 0
    shown = capsys.readouterr().out
    assert "3,000 rows of 8 bytes" in shown and "a keyword of 1 %" in shown


def test_what_misses_a_bound_is_marked():
    good = filters.Row("random", 0.1, 0.9, 0.9, 0.9, 12.0, 10.0, 1.2, 1.0, 0)
    bad = filters.Row("far", 0.1, 0.8, 0.9, 0.9, 14.0, 10.0, 1.4, 1.0, 3)
    searched, evaluated = filters.tables([good, bad], [filters.Evaluation("all", 10, 1.0)], "t")
    rows = list(zip(*(column.cells for column in searched.columns), strict=True))
    assert not any("✗" in cell for cell in rows[0])
    assert sum("✗" in cell for cell in rows[1]) == 4
    assert len(list(evaluated.columns[0].cells)) == 1 and good.recall == pytest.approx(0.9)
