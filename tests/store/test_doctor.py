"""The doctor finds every damage, says what it costs and what to do, and changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import bebr
from bebr.collection.protocol import DatabaseLocked
from bebr.store.backup.doctor import examine
from tests.commands import run
from tests.conftest import model_of
from tests.forked import fork


@pytest.fixture
def folder(tmp_path, vectors):
    """A database that a killed process left: "docs" with segment and journal, "other" with a segment."""
    path, bz = tmp_path / "data", model_of(vectors[:500], widths=[16])

    def write():
        db = bebr.open(path)
        for name in ("docs", "other"):
            collection = db.create_collection(name, bz)
            collection.upsert(range(100), vectors[:100], [{"n": n} for n in range(100)])
            collection.settle()
        for n in range(5):
            db.collection("docs").upsert([n], vectors[n : n + 1])
        os._exit(0)

    child = fork()
    if child == 0:
        write()
    assert os.waitpid(child, 0)[1] == 0
    return path


def contents(path):
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def flip(file, at, bit=1):
    data = bytearray(file.read_bytes())
    data[at] ^= bit
    file.write_bytes(data)


def damages(path):
    return [finding for finding in examine(path) if finding.damage]


def test_a_healthy_folder_has_no_findings_and_is_left_as_it_is(folder):
    before = contents(folder)
    assert examine(folder) == [] and contents(folder) == before
    with bebr.open(folder) as db:
        with pytest.raises(DatabaseLocked, match="is open"):
            examine(folder)
        assert len(db.collection("docs")) == 100
    with pytest.raises(FileNotFoundError, match="no data folder"):
        examine(folder / "segments")


@pytest.mark.parametrize("quarantined", [False, True])
def test_segments(folder, quarantined):
    (file,) = (folder / "segments").glob("1-*")
    if quarantined:
        (folder / "quarantine").mkdir()
        file.rename(folder / "quarantine" / f"{file.name}.0")
    else:
        flip(file, file.read_bytes().index(b'{"n": 50}'))  # spaces between sections are not covered, and hold nothing
    before = contents(folder)
    (found,) = damages(folder)
    assert contents(folder) == before
    assert file.name in found.problem and found.costs == "collection 'docs'"
    if quarantined:
        assert found.problem.startswith(f"{file} is missing") and found.remedy.startswith("move ")
    else:
        assert re.search(r"section '\w+': checksum expected [0-9a-f]{8}, found [0-9a-f]{8}", found.problem)
        assert "restore this file from a backup" in found.remedy


def test_models(folder):
    (file,) = (folder / "models").iterdir()
    flip(file, 300)
    (found,) = damages(folder)
    assert re.fullmatch(rf"{file}: digest expected {file.stem}, found [0-9a-f]{{16}}", found.problem)
    assert found.costs == "collection 'docs', 'other'" and "register the model again" in found.remedy


def test_a_model_that_has_seen_no_data_is_made_anew(tmp_path):
    x = np.eye(64, dtype=np.float32)
    with bebr.open(tmp_path) as db:
        db.create_collection("docs", dim=64, bytes_per_vector=18, metric="ip").upsert(range(64), x)
    (file,) = (tmp_path / "models").iterdir()
    file.unlink()
    (found,) = damages(tmp_path)
    assert found.problem == f"{file} is missing" and "bebr.untrained(dim, bytes_per_vector, metric=…)" in found.remedy
    with bebr.open(tmp_path) as db:
        with pytest.raises(bebr.CorruptFile, match="is missing"):
            db.collection("docs")
        assert db.register_model(bebr.untrained(64, 18, metric="ip")) == file.stem
        assert (db.collection("docs").search(x, 1).ids[:, 0] == np.arange(64)).all()


def test_rows_of_the_catalog(folder):
    bebr.open(folder).close()
    with sqlite3.connect(folder / "catalog.db") as db:
        db.execute("UPDATE operations SET ids = x'0000000000000001' WHERE version IN (4, 6)")
        db.execute("DELETE FROM segments WHERE collection = 2")
    db.close()
    found = damages(folder)
    assert [finding.costs for finding in found] == ["collection 'docs'", "collection 'docs'", "collection 'other'"]
    assert re.search(
        r"table 'operations', collection 1, version 4, part 0: checksum expected \w{8}, found", found[0].problem
    )
    assert "version 6" in found[1].problem and "has 0 rows of collection 'other', which counts 1" in found[2].problem
    assert all(finding.problem.startswith(str(folder / "catalog.db")) for finding in found)
    assert "restore the folder from a backup, or drop" in found[0].remedy


def test_the_log(folder):
    log = folder / "catalog.db-wal"
    flip(log, log.stat().st_size - 100)
    before = contents(folder)
    found = damages(folder)
    assert contents(folder) == before
    assert [finding.costs for finding in found] == ["collection 'docs'", "nothing more: it explains lost commits"]
    assert "lacks the last 1 of 7 acknowledged writes" in found[0].problem
    assert re.search(
        r"catalog\.db-wal: frame \d+ at byte \d+: checksum expected \w{16}, found \w{16}", found[1].problem
    )


def test_versions_and_structure(folder):
    flip(folder / "catalog.versions", 20)
    (found,) = damages(folder)
    assert "catalog.versions: slot 0 checksum" in found.problem and found.costs == "nothing"
    bebr.open(folder).close()
    assert damages(folder) == []
    assert [finding.problem.split("/")[-1] for finding in examine(folder)] == [
        "catalog.versions.0 was set aside by an opening"
    ]
    (folder / "catalog.db").unlink()
    (found,) = damages(folder)
    assert found.costs == "every collection" and "catalog.db is missing" in found.problem


def test_the_command(folder):
    said = run("doctor", folder)
    assert (said.exit_code, said.output) == (0, f"{folder}: healthy\n")
    (file,) = (folder / "segments").glob("2-*")
    shutil.copy(file, folder / "segments" / f"2-{'0' * 32}.bebr")
    file.write_bytes(file.read_bytes()[:-1])
    done = subprocess.run([sys.executable, "-m", "bebr", "doctor", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr == ""
    assert f"DAMAGE: {file} has " in done.stdout and "costs: collection 'other'" in done.stdout
    assert "note: " in done.stdout and done.stdout.endswith(": 1 damage\n")


def test_a_folder_whose_name_begins_like_a_url_is_a_folder(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    folder.rename("postgresql-data")
    said = run("doctor", "postgresql-data")
    assert (said.exit_code, said.output.splitlines()[-1]) == (0, "postgresql-data: healthy")
