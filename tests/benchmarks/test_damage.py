"""Forty damages of a data folder: none silent, none fatal, none that costs a collection which the file is not of."""

from __future__ import annotations

from benchmarks.damage import run


def test_no_damage_is_silent(tmp_path):
    report = run(40, 7, tmp_path)
    assert (report.count, report.silent, report.crashes, report.bystanders) == (40, [], [], [])
    assert sum(costs.total() for costs in report.costs.values()) == 40
    assert len(report.costs) >= 5  # kinds of files
    # The benchmark must notice what it looks for: damaged segments and models do cost somebody something.
    for kind in ("segments", "models"):
        assert report.costs.get(kind, {}).get("0 collections", 0) == 0
