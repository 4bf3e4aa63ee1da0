"""A process that dies at any step of a write or a seal leaves exactly the rows that were acknowledged (or the one write
in flight)."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import bebr
from benchmarks import crash
from tests.conftest import model_of, payloads_of

# Every call of these is a step at which the child may die: before it, or just after it.
STEPS = """
import os, sys
import numpy as np
import bebr
from bebr.store.upkeep import rewriting
from bebr.store.catalog.file import FileCatalog
from bebr.store.contents import Contents
from bebr.store.database import Database

vectors, model = np.load(sys.argv[1]), bebr.Binarizer.load(sys.argv[2])
die_at = steps = 0

def step():
    global steps
    steps += 1
    if steps == die_at:
        os._exit(77)

def stepped(owner, name):
    original = getattr(owner, name)
    def wrapper(*args, **kwargs):
        step()
        result = original(*args, **kwargs)
        step()
        return result
    setattr(owner, name, wrapper)

stepped(FileCatalog, "commit")
stepped(FileCatalog, "install")
stepped(rewriting, "write_segment")
stepped(Contents, "publish")


def life(path):
    with Database(path) as db:
        docs = db.create_collection("docs", model)
        for i in range(4):
            docs.upsert(range(i * 40, i * 40 + 60), vectors[i * 40 : i * 40 + 60], [{"n": i}] * 60)
            print("upsert", i, flush=True)
            docs.delete([i * 40 + 1])
            print("delete", i, flush=True)
            docs.settle()
    print("steps", steps, flush=True)

# One life per argument "step:path", each in a process of its own. Forked, since starting Python takes longer than a
# life; nothing that does not bear it (threads, connections) exists yet.
for argument in sys.argv[3:]:
    at, path = argument.split(":", 1)
    print("life", at, flush=True)
    pid = os.fork()
    if pid == 0:
        die_at = int(at)
        life(path)
        os._exit(0)
    print("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def state_after(writes: int, vectors: np.ndarray) -> tuple[dict[int, np.ndarray], dict[int, dict]]:
    """Rows and payloads after the first ``writes`` upserts and deletes of STEPS."""
    rows, payloads = {}, {}
    for write in range(writes):
        i = write // 2
        if write % 2 == 0:
            for n in range(i * 40, i * 40 + 60):
                rows[n], payloads[n] = vectors[n], {"n": i}
        else:
            rows.pop(i * 40 + 1), payloads.pop(i * 40 + 1)
    return rows, payloads


@pytest.fixture(scope="module")
def cosine(vectors):
    return model_of(vectors, widths=[48, 16], metric="cosine")


def test_death_at_any_step(tmp_path, vectors, cosine, same_answers):
    np.save(tmp_path / "x.npy", vectors[:400])
    cosine.save(tmp_path / "m.safetensors")

    def lives(*die_at: int) -> dict[int, str]:
        """What each life said before it ended, by the step at which it was to die (0: never)."""
        deaths = [f"{step}:{tmp_path / f'd{step}'}" for step in die_at]
        command = [sys.executable, "-c", STEPS, tmp_path / "x.npy", tmp_path / "m.safetensors", *deaths]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        told = dict(part.split("\n", 1) for part in done.stdout.split("life ")[1:])
        return {int(step): text for step, text in told.items()}

    whole = lives(0)[0]
    assert whole.endswith("exit 0\n")
    steps = int(whole.split("steps ")[1].split()[0])
    assert steps > 40  # 8 writes, and seals among them
    # Every third: both sides of every kind of call come up, and just after one is mostly just before the next.
    for die_at, said in lives(*range(1, steps + 1, 3)).items():
        assert said.endswith("exit 77\n")
        acknowledged = said.count("upsert") + said.count("delete")
        with bebr.open(tmp_path / f"d{die_at}") as db:
            docs = db.collection("docs")
            states = [state_after(n, vectors) for n in (acknowledged, acknowledged + 1)]
            rows, payloads = next(s for s in reversed(states) if len(s[0]) == len(docs))
            same_answers(docs, rows)
            assert payloads_of(docs, list(payloads)) == list(payloads.values())
            docs.settle()  # merges go on in the background until then
            files = {file.name for file in (tmp_path / f"d{die_at}" / "segments").iterdir()}
            assert len(files) == docs.stats().segments


def test_kills_lose_nothing_and_revive_nothing(tmp_path, vectors, cosine):
    """Four writers, seals and merges, and kill -9 at random moments: `python -m benchmarks.crash` with more of them."""
    for seed, longest in enumerate((0.4, 4.0, 40.0)):  # on a busy machine a short life ends before its first snapshot
        report = crash.run(12, seed, tmp_path, vectors, cosine, longest)
        assert report.good, report.examples
        assert report.kills == 12
        if report.writes > 0 and report.snapshots > 0:
            return
    pytest.fail(f"no write or no snapshot was done before a kill: {report}")
