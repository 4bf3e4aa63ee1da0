"""Large files that were checked and not written since: a start does not read them, and damage is found all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bebr
from bebr.index import files
from bebr.store.files import checked
from bebr.store.segments import segment, segment_files
from bebr.store.workers import checking


@pytest.fixture(autouse=True)
def read(monkeypatch):
    """Every file is large. The names of those that were read to the last byte when they were opened."""
    names: list[str] = []
    opened = files.core.open_index

    def spied(path, map, verify):
        if verify:
            names.append(Path(path).name.partition(".tmp")[0])
        return opened(path, map, verify)

    for module in (checked, segment_files):
        monkeypatch.setattr(module, "LARGE", 1)
    monkeypatch.setattr(files.core, "open_index", spied)
    return names


@pytest.fixture
def folder(tmp_path, bz, vectors):
    """A closed database of two collections of a file each."""
    with bebr.open(tmp_path / "data") as db:
        for name in ("docs", "other"):
            docs = db.create_collection(name, bz)
            docs.upsert(range(300), vectors[:300])
            docs.settle()
    return tmp_path / "data"


def file_of(folder, collection):
    with bebr.open(folder) as db:
        (view,) = db.collection(collection).snapshot.segments
        return folder / "segments" / view.part.row.file


def damage(path, keep_time):
    """One byte of the codes changes, as on a failing disk, or by somebody's hand."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(stat.st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    if keep_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_file_is_read_once_however_often_the_folder_is_opened(folder, read, queries):
    file = file_of(folder, "docs")
    with bebr.open(folder) as db:
        before = db.collection("docs").search(queries, 5).ids
    read.clear()
    with bebr.open(folder) as db:
        assert (db.collection("docs").search(queries, 5).ids == before).all()
    assert read == []
    (folder / "checked.json").write_bytes(b"{ half")
    with bebr.open(folder) as db:
        db.collection("docs")
    assert read == [file.name]


def test_a_file_that_was_written_or_copied_is_read_by_the_opening(folder, tmp_path, read):
    file = file_of(folder, "docs")
    read.clear()
    shutil.copytree(folder, tmp_path / "copy")
    with bebr.open(tmp_path / "copy") as db:
        db.collection("docs")
    assert read == [file.name]
    damage(file, keep_time=False)
    with bebr.open(folder) as db, pytest.raises(bebr.CorruptFile, match=f"{file.name}: section .* checksum"):
        db.collection("docs")


def test_damage_that_no_time_tells_of_closes_its_collection_and_no_other(folder, queries):
    file = file_of(folder, "docs")
    damage(file, keep_time=True)
    with bebr.open(folder) as db:
        docs, other = db.collection("docs"), db.collection("other")
        until(lambda: docs.closed)
        with pytest.raises(bebr.CorruptFile, match=f"{file.name}: section .* checksum expected"):
            docs.search(queries, 5)
        with pytest.raises(bebr.CorruptFile, match=f"{file.name}: section .* checksum expected"):
            db.collection("docs")  # read anew
        assert len(other.search(queries, 5).ids) == len(queries)
        damage(file, keep_time=True)  # the bit flips back
        assert len(db.collection("docs").search(queries, 5).ids) == len(queries)


def test_damage_that_is_found_while_its_collection_is_being_read_closes_it(folder, monkeypatch, queries):
    file = file_of(folder, "docs")
    damage(file, keep_time=True)
    made = segment.Segment.__init__
    with bebr.open(folder) as db:

        def slow(self, path, *rest):
            made(self, path, *rest)
            db._found_damaged(path.name, bebr.CorruptFile("found at once"))

        monkeypatch.setattr(segment.Segment, "__init__", slow)
        docs = db.collection("docs")
        with pytest.raises(bebr.CorruptFile):
            docs.search(queries, 5)


def test_closing_does_not_wait_for_a_check(folder, monkeypatch):
    file_of(folder, "docs")
    monkeypatch.setattr(checking, "_PIECE", 64)
    monkeypatch.setattr(checking, "RATE", 1)
    db = bebr.open(folder)
    db.collection("docs")
    start = time.monotonic()
    db.close()
    assert time.monotonic() - start < 5


def test_a_program_ends_without_waiting_for_a_check(folder):
    """Whether or not it closes its database."""
    file_of(folder, "docs")
    program = (
        "import sys, bebr\n"
        "from bebr.store.files import checked\n"
        "from bebr.store.segments import segment_files\n"
        "from bebr.store.workers import checking\n"
        "checked.LARGE = segment_files.LARGE = 1\n"
        "checking._PIECE, checking.RATE = 64, 320\n"  # a fifth of a second each, some 400 of them
        "db = bebr.open(sys.argv[1])\n"
        "db.collection('docs')\n"
        "print(db._checker._thread is not None)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


def test_an_attached_file_is_not_read_again_by_the_next_start(tmp_path, bz, vectors, read):
    index = bebr.FlatIndex(bz)
    index.add(vectors[:300])
    index.save(tmp_path / "built.bebr")
    with bebr.open(tmp_path / "data") as db:
        db.create_collection("docs", bz).attach(tmp_path / "built.bebr")
    read.clear()
    with bebr.open(tmp_path / "data") as db:
        assert len(db.collection("docs")) == 300
    assert read == []
