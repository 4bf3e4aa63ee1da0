"""A writer in a process of its own that is killed, or stopped and woken up: what it acknowledged is there, another
process goes on once the lease has ended, and the one that wakes up can write no more."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from bebr.collection.protocol import DatabaseLocked
from tests.conftest import model_of

SCRIPT = """
import numpy as np
import bebr
from bebr.store.database import Database

with Database({url!r}, segments={segments!r}, cache={cache!r}, lease_seconds=0.5, seal_rows=40) as db:
    docs = db.create_collection("docs", bebr.Binarizer.load({model!r}))
    for i, x in enumerate(np.load({vectors!r})):
        try:
            docs.upsert([i], x[None])
        except Exception as error:
            print(type(error).__name__, flush=True)
            break
        print(i, flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_another_process_goes_on(shared, tmp_path, vectors, same_answers, how):
    import numpy as np

    bz = model_of(vectors, widths=[48, 16])
    bz.save(tmp_path / "model")
    np.save(tmp_path / "vectors.npy", vectors)
    files = {"model": str(tmp_path / "model"), "vectors": str(tmp_path / "vectors.npy"), "cache": str(tmp_path / "w")}
    code = SCRIPT.format(url=shared.url, segments=shared.segments, **files)
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        for line in writer.stdout:
            if int(line) == 130:
                break
        writer.send_signal(how)
        with shared.open() as db:
            docs, begun = db.collection("docs"), time.monotonic()
            while True:
                try:
                    docs.upsert([100_000], vectors[:1])
                    break
                except DatabaseLocked:
                    assert time.monotonic() - begun < 30
                    time.sleep(0.05)
            after = len(docs)
            if how == signal.SIGSTOP:
                writer.send_signal(signal.SIGCONT)
            acknowledged = [130]
            for line in writer.stdout:
                if line.strip() in ("DatabaseLocked", "ConnectionError"):  # the latter: stopped within a transaction
                    break
                acknowledged.append(int(line))
            else:
                assert how == signal.SIGKILL
            last = acknowledged[-1]
            assert len(docs) == after and after - last in (2, 3)  # one more may have been on its way
            same_answers(docs, {**{i: vectors[i] for i in range(after - 1)}, 100_000: vectors[0]})
            docs.settle()
        with shared.open() as db:
            same_answers(db.collection("docs"), {**{i: vectors[i] for i in range(after - 1)}, 100_000: vectors[0]})
    finally:
        writer.kill()
        writer.communicate(timeout=30)
