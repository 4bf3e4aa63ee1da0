"""The comparison measures what it says: recall, interleaved timing, and speed only at equal or better recall."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from benchmarks import datasets, flat


def row(name, library, accuracy, batch, single):
    return flat.Row(name, library, "1", 10, accuracy, 0, batch_qps=batch, single_qps=single)


def test_the_match_is_our_fastest_row_of_at_least_the_peers_recall():
    rows = [
        row("small", "bebr", 0.80, 1000, 90),
        row("middle", "bebr", 0.90, 500, 30),
        row("large", "bebr", 0.95, 400, 40),
        row("peer", "faiss", 0.85, 50, 10),
        row("exact", "faiss", 1.0, 5, 1),
    ]
    assert flat.matches(rows) == [flat.Match("peer", 0.85, "middle", 10, "large", 4)]


@pytest.fixture
def data(vectors, queries):
    return datasets.Dataset("made up", "cosine", "none", vectors, vectors, queries)


def test_both_modes_are_measured_against_exact_answers(data):
    engines = flat.engines(64, "cosine", [18], [], "^none$")
    assert [engine.name for engine in engines] == ["bebr 18 B ADC", "bebr 18 B SDC"]
    rows = flat.run(data, engines, 10, 1, 2, Console(quiet=True))
    assert [len(found.batch_seconds) for found in rows] == [2, 2]
    assert all(found.bytes_per_vector == 18 and found.batch_qps > 0 and found.single_qps > 0 for found in rows)
    assert 0.3 < rows[1].recall < rows[0].recall < 1


def test_the_command_writes_machine_and_rows(data, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(datasets, "load", lambda name: data)
    path = tmp_path / "flat.json"
    assert flat.main(["glove", "--sizes", "18", "--peers", "usearch", "--rounds", "1", "--json", str(path)]) == 0
    written = json.loads(path.read_text())
    assert written["machine"]["threads"] == 1 and written["machine"]["bebr"]["isa"]
    assert written["rows"][0]["name"] == "bebr 18 B ADC"
