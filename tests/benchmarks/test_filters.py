"""The benchmark of filters over payloads on a small set: no short answer, recall of the matching rows alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
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
    recalls = {"recall_apart": 0.7, "recall_level": 0.9, "unfiltered": 0.95, "ceiling": 0.9}
    shared = {"lists": 4, "one_apart": 5.0, "one_level": 10.0, "batch_apart": 0.5, "batch_level": 1.0}
    good = filters.Row(kind="random", share=0.1, recall=0.9, one=12.0, batch=1.2, short=0, **recalls, **shared)
    bad = filters.Row(kind="far", share=0.1, recall=0.89, one=14.0, batch=1.4, short=3, **recalls, **shared)
    searched, evaluated = filters.tables([good, bad], [filters.Evaluation("all", 10, 1.0)], "t")
    rows = list(zip(*(column.cells for column in searched.columns), strict=True))
    assert not any("✗" in cell for cell in rows[0])
    assert sum("✗" in cell for cell in rows[1]) == 4
    assert len(list(evaluated.columns[0].cells)) == 1


def test_equal_recall_takes_as_few_lists_as_it_can():
    truth = np.arange(40).reshape(4, 10)

    class Apart:
        """Each list but the first finds one more, up to eight. By itself it looks at four."""

        def search(self, q, k, nprobe=4):
            found = truth.copy()
            found[:, min(nprobe - 1, 8) :] = -1
            return SimpleNamespace(ids=found)

    assert filters.level(Apart(), truth, 10, truth, 0.3) == (0, pytest.approx(0.3))
    assert filters.level(Apart(), truth, 10, truth, 0.5) == (6, pytest.approx(0.5))
    assert filters.level(Apart(), truth, 10, truth, 0.9) == (10, pytest.approx(0.8))
