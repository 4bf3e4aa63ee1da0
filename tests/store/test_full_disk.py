"""A real file system of a few MB that is full: what frees space works, everything else is refused and changes nothing.

Mounting one needs a privilege; where it is missing, these tests are skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import bebr
from tests.conftest import model_of, payloads_of

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path):
    """A folder on a disk of 8 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", path], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(disk, free=0):
    """Leaves so many bytes, in whole pages, of the disk."""
    with (disk / "ballast").open("ab", buffering=0) as file:
        for size in (MIB, 4096):
            with pytest.raises(OSError, match="No space"):
                while file.write(bytes(size)) == size:
                    pass
                raise OSError("No space")
    os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - free)


@pytest.fixture
def full(disk, bz, vectors):
    """A database on a full disk: "docs" with a segment and a tail, "old" with a segment."""
    with bebr.open(disk / "data") as db:
        for name in ("docs", "old"):
            docs = db.create_collection(name, bz)
            docs.upsert(range(1000), vectors[:1000], [{"n": i, "text": "x" * 300} for i in range(1000)])
            docs.settle()
        db.collection("docs").upsert(range(1000, 1100), vectors[1000:1100], [{"n": i} for i in range(1000, 1100)])
        fill(disk)
        yield db


def test_what_needs_space_is_refused_and_changes_nothing(full, bz, vectors, same_answers):
    docs, rows = full.collection("docs"), dict(enumerate(vectors[:1100]))
    for _ in range(2):
        with pytest.raises(bebr.LimitExceeded, match="space"):
            docs.upsert(range(3000), vectors, [{"text": "y" * 500}] * 3000)
        with pytest.raises(bebr.LimitExceeded, match="space"):
            docs.settle()
        with pytest.raises(bebr.LimitExceeded, match="space"):
            full.create_collection("new", model_of(vectors, widths=[32]))
        same_answers(docs, rows)
        assert payloads_of(docs, [1050]) == [{"n": 1050}]
    assert full.collections() == ["docs", "old"]
    segments = sorted(file.name for file in (full.path / "segments").iterdir())
    assert len(segments) == 2, segments  # what failed left no file


def test_what_frees_space_works(full, vectors, same_answers):
    docs = full.collection("docs")
    assert docs.delete(range(0, 1100, 3)) == 367
    rows = {i: vectors[i] for i in range(1100) if i % 3}
    same_answers(docs, rows)
    full.drop_collection("old")
    assert len(list((full.path / "segments").iterdir())) == 1
    docs.settle()  # there is room now
    assert docs.upsert(range(200), vectors[:200]) == 200
    same_answers(docs, rows | dict(enumerate(vectors[:200])))


def test_a_full_folder_opens(full, disk, vectors, same_answers):
    full.close()
    fill(disk)
    for _ in range(2):
        with bebr.open(disk / "data") as db:
            same_answers(db.collection("docs"), dict(enumerate(vectors[:1100])))
            assert payloads_of(db.collection("docs"), [7])[0]["n"] == 7
    with bebr.open(disk / "data") as db:
        db.drop_collection("old")
        assert db.collection("docs").upsert([5000], np.ones((1, 64))) == 1


def test_a_kill_on_a_full_disk_loses_nothing(disk, tmp_path, bz, vectors, same_answers):
    bz.save(tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", vectors)
    script = """
import os, sys, numpy as np, bebr
db, x, n = bebr.open(sys.argv[1]), np.load(sys.argv[3]), 0
docs = db.create_collection("docs", bebr.Binarizer.load(sys.argv[2]))
try:
    while True:
        docs.upsert(range(n, n + 100), x[np.arange(n, n + 100) % 3000], [{"text": "x" * 200}] * 100)
        n += 100
except bebr.LimitExceeded:
    print(n, flush=True)
    os._exit(1)
"""
    command = [sys.executable, "-c", script, disk / "data", tmp_path / "m.safetensors", tmp_path / "x.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    written = int(done.stdout)
    assert written > 1000, done.stderr
    fill(disk)
    with bebr.open(disk / "data") as db:
        same_answers(db.collection("docs"), {n: vectors[n % 3000] for n in range(written)})
