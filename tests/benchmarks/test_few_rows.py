"""Figures by training rows: a run ends in all of its cells, and an aim that is not reached is said."""

from __future__ import annotations

import json

import pytest

from benchmarks import datasets, few_rows


def test_a_run_ends_in_a_row_a_cell(vectors, queries, tmp_path, monkeypatch):
    data = datasets.Dataset("made up", "cosine", "none", vectors, vectors, queries)
    monkeypatch.setattr(datasets, "load", lambda name: data)
    target = tmp_path / "few.json"
    few_rows.main(["made", "--sizes", "10", "--counts", "0,300", "--draws", "1", "--json", str(target)])
    rows = json.loads(target.read_text())["rows"]
    ours = [row for row in rows if row["engine"] == "bebr"]
    assert [(row["size"], row["trained_on"]) for row in ours] == [(10, 0), (10, 300)]
    assert ours[0]["recall"] < ours[1]["recall"]
    assert all(row["recall"] > ours[0]["recall"] - 0.02 for row in ours)


@pytest.mark.parametrize(
    ("none", "hundred", "thousand", "said"),
    [
        (0.70, 0.73, 0.80, []),
        (0.68, 0.73, 0.80, ["RaBitQ1 without centroid of 56 bytes: 0.7000"]),
        (0.70, 0.69, 0.80, ["untrained: 0.7000", "-0.0100 to untrained, aim +0.02"]),
        (0.70, 0.75, 0.74, ["100 rows: 0.7500", "+0.0400 to untrained, aim +0.09"]),
    ],
)
def test_aims_that_are_missed_are_said(none, hundred, thousand, said):
    cells = {0: none, 100: hundred, 1000: thousand}
    rows = [few_rows.Row("x", "bebr", 52, n, value, 0.0, value, 1) for n, value in cells.items()]
    rows.append(few_rows.Row("x", "faiss RaBitQ1 without centroid", 56, 0, 0.70, 0.0, 0.70, 1))
    lines = few_rows.missed(rows)
    for part in said:
        assert any(part in line for line in lines)
    assert bool(lines) == bool(said)
