"""The comparison of databases: each finds the rows that a filter lets through, and a run marks what is short."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks import filters_peers
from benchmarks.databases import MAKERS, Absent, Below, base


@pytest.mark.parametrize("name", MAKERS)
def test_a_database_finds_the_nearest_of_the_rows_that_match(name):
    with tempfile.TemporaryDirectory() as place:  # pytest closes its own folder, and PostgreSQL may run as another user
        Path(place).chmod(0o755)
        check(name, Path(place) / "db")


def check(name, folder):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((500, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    year = rng.permutation(500)
    folder.mkdir()
    try:
        database, version = MAKERS[name](folder, 16, ["year"])
    except Absent as absent:
        pytest.skip(str(absent))
    try:
        for half in (slice(0, 250), slice(250, 500)):
            database.add(np.arange(500)[half], vectors[half], {"year": year[half]})
        database.finish()
        for setting in database.settings:
            found = list(database.search(vectors[7], 3, None, setting))
            assert found[0] == 7 and len(found) == 3
            found = list(database.search(vectors[7], 3, Below("year", 250), setting))
            assert len(found) == 3 and (year[found] < 250).all()
    finally:
        database.close()
    assert version


def test_what_is_not_installed_says_how_to_install_it():
    with pytest.raises(Absent, match="pip install no-such-database"):
        base.version("no-such-database")


def test_all_databases_answer_the_same_filters(capsys, monkeypatch):
    monkeypatch.setattr(filters_peers, "SHARES", (0.5, 0.02))
    options = ["--rows", "3000", "--dim", "32", "--queries", "5", "--engines", "bebr", "--most", "int8=1000"]
    assert filters_peers.main(options) == 0
    shown = capsys.readouterr().out
    assert "3,000" in shown and "1,000" in shown and "✗" not in shown


def test_a_short_answer_and_a_loss_are_marked():
    good = filters_peers.Row("a", "", 10, "random", 0.1, 0.9, 0.9, 2.0, 1.0, 0)
    bad = filters_peers.Row("a", "", 10, "far", 0.1, 0.8, 0.9, 2.0, 1.0, 3)
    cells = list(filters_peers.table([good, bad], "t").columns[-1].cells)
    assert cells == ["0.900 1.00 (2.0)", "0.800 ↓ ✗3 1.00 (2.0)"]
