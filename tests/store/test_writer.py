"""Writes share commits; each stands or falls alone, and no one waits for another's fate."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import bebr
from bebr.collection.checks import check_ids
from bebr.store.catalog.file import FileCatalog
from bebr.store.snapshots.tail import Tail
from tests.conftest import payloads_of


@pytest.fixture
def db(tmp_path):
    with bebr.open(tmp_path) as db:
        yield db


@pytest.fixture
def held(monkeypatch):
    """FileCatalog.commit waits until `held.set()`; `held.calls` are the operations of each call."""

    held = threading.Event()
    held.calls = []
    original = FileCatalog.commit

    def commit(self, items):
        held.calls.append(items)
        held.wait(30)
        return original(self, items)

    monkeypatch.setattr(FileCatalog, "commit", commit)
    return held


def later(count: int, work):
    """Calls `work(i)` in a thread each; they are all under way when this returns."""
    pool = ThreadPoolExecutor(count)
    futures = [pool.submit(work, i) for i in range(count)]
    time.sleep(0.3)
    pool.shutdown(wait=False)
    return futures


def test_writes_that_come_together_share_one_commit(db, bz, vectors, same_answers, held):
    some = [db.create_collection(name, bz) for name in ("a", "b")]
    first = later(1, lambda _: some[0].upsert([100], vectors[100:101]))
    rest = later(16, lambda i: some[i % 2].upsert([i], vectors[i : i + 1], [{"i": i}]))
    assert len(held.calls) == 1  # the first, which waits
    held.set()
    assert [future.result() for future in first + rest] == [1] * 17
    assert len(held.calls) == 2
    same_answers(some[0], {100: vectors[100]} | {i: vectors[i] for i in range(0, 16, 2)})
    same_answers(some[1], {i: vectors[i] for i in range(1, 16, 2)})
    assert payloads_of(some[1], [3, 5]) == [{"i": 3}, {"i": 5}]


def test_writers_that_shared_a_commit_are_waited_for(db, bz, vectors, held, monkeypatch):
    monkeypatch.setattr("bebr.store.writes.writer._MOMENT", 2.0)
    docs = db.create_collection("docs", bz)

    def begin(i):
        return docs.begin_upsert(check_ids([i]), vectors[i : i + 1], [])

    first = begin(0)
    while not held.calls:
        time.sleep(0.01)
    together = [begin(1), begin(2)]
    held.set()
    assert [future.result(30) for future in (first, *together)] == [1, 1, 1]
    early = begin(3)
    time.sleep(0.1)
    late = begin(4)
    assert early.result(30) == late.result(30) == 1
    assert [[operation.ids.tolist() for _, operation in call] for call in held.calls] == [[[0]], [[1, 2]], [[3, 4]]]


def test_writes_of_one_batch_are_made_in_order(db, bz, vectors, same_answers, held):
    docs = db.create_collection("docs", bz)
    first = docs.begin_upsert(check_ids([1, 2]), vectors[:2], [])
    work = [
        docs.begin_upsert(check_ids([2, 3]), vectors[2:4], ['{"a": 1}', ""]),
        docs.begin_upsert(check_ids([3]), vectors[4:5], ['{"a": 2}']),
        docs.begin_set_payloads(check_ids([9, 3]), ['{"b": 9}', '{"b": 3}'], True),
        docs.begin_delete(check_ids([1, 2, 9])),
        docs.begin_set_payloads(check_ids([1]), ['{"b": 1}'], False),  # it was removed just before: it stays so
        docs.begin_upsert(check_ids([2]), vectors[5:6], []),
        docs.begin_delete(check_ids([9])),
    ]
    held.set()
    assert [future.result(30) for future in (first, *work)] == [2, 2, 1, 1, 2, 0, 1, 0]
    same_answers(docs, {2: vectors[5], 3: vectors[4]})
    assert payloads_of(docs, [3, 2]) == [{"a": 2, "b": 3}, None]


def test_a_write_that_the_catalog_refuses_fails_alone(db, tmp_path, bz, vectors, same_answers, monkeypatch):
    docs = db.create_collection("docs", bz)
    docs.upsert(range(10), vectors[:10])
    original, gate = FileCatalog.commit, threading.Event()

    def commit(self, items):
        gate.wait(30)
        if any(66 in operation.ids for _, operation in items):
            raise bebr.LimitExceeded("no space left for 66")
        return original(self, items)

    monkeypatch.setattr(FileCatalog, "commit", commit)
    good = [docs.begin_upsert(check_ids([i]), vectors[i : i + 1], []) for i in (3, 20)]
    bad = docs.begin_upsert(check_ids([66, 5]), vectors[66:68], [])
    good += [docs.begin_upsert(check_ids([5, 21]), vectors[40:42], []), docs.begin_delete(check_ids([9, 66]))]
    gate.set()
    with pytest.raises(bebr.LimitExceeded, match="66"):
        bad.result(30)
    assert [future.result(30) for future in good] == [1, 1, 2, 1]
    rows = dict(enumerate(vectors[:9])) | {20: vectors[20], 5: vectors[40], 21: vectors[41]}
    same_answers(docs, rows)
    assert docs.upsert([22], vectors[22:23]) == 1  # nothing of the failure remains
    same_answers(docs, rows | {22: vectors[22]})
    docs.settle()
    same_answers(docs, rows | {22: vectors[22]})
    db.close()
    with bebr.open(tmp_path) as again:
        same_answers(again.collection("docs"), rows | {22: vectors[22]})


def test_a_vector_that_cannot_be_encoded_fails_its_own_write_among_others(db, vectors, held):
    """Few rows are encoded by the writing thread, those of many writers at once."""
    docs = db.create_collection("docs", bebr.train(vectors, widths=[48, 16], metric="ip", factor_bytes=2, seed=0))
    first = later(1, lambda _: docs.upsert([100], vectors[100:101]))
    large = 1e7 * vectors[1:2]  # its factor is beyond float16
    rest = later(3, lambda i: docs.upsert([i], large if i == 1 else vectors[i : i + 1]))
    held.set()
    assert [future.result(30) for future in (*first, rest[0], rest[2])] == [1, 1, 1]
    with pytest.raises(ValueError, match=r"x\[0\] has a factor of .* train with factor_bytes=4"):
        rest[1].result(30)
    assert [row is not None for row in docs.get([100, 0, 1, 2])] == [True, True, False, True]


def test_a_write_that_breaks_off_before_its_commit_leaves_memory_as_it_was(db, bz, vectors, same_answers, monkeypatch):
    docs = db.create_collection("docs", bz)
    docs.upsert(range(30), vectors[:30], [{"n": i} for i in range(30)])
    original = Tail.append

    def out_of_memory(self, *columns):
        original(self, *columns)
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Tail, "append", out_of_memory)
        with pytest.raises(MemoryError):
            docs.upsert(range(20, 40), vectors[40:60])
    same_answers(docs, dict(enumerate(vectors[:30])))
    assert payloads_of(docs, [25]) == [{"n": 25}]
    docs.upsert([25, 30], vectors[60:62])
    same_answers(docs, dict(enumerate(vectors[:30])) | {25: vectors[60], 30: vectors[61]})
    assert payloads_of(docs, [25, 24]) == [None, {"n": 24}]


def test_a_write_may_be_cancelled_until_it_is_begun(db, bz, vectors, same_answers, held):
    docs = db.create_collection("docs", bz)
    begun = docs.begin_upsert(check_ids([1]), vectors[:1], [])
    while not held.calls:
        time.sleep(0.01)
    waiting = [docs.begin_upsert(check_ids([i]), vectors[i : i + 1], []) for i in (2, 3)]
    assert waiting[0].cancel() and not begun.cancel()
    held.set()
    assert begun.result(30) == waiting[1].result(30) == 1
    same_answers(docs, {1: vectors[0], 3: vectors[3]})


def test_dropping_a_collection_under_writers_ends_them_all(db, bz, vectors):
    docs, other = db.create_collection("docs", bz), db.create_collection("other", bz)
    written, dropped = [0] * 8, threading.Event()

    def write(i):
        with pytest.raises(KeyError, match="dropped"):
            while True:
                docs.upsert([i], vectors[i : i + 1])
                written[i] += 1

    writers = later(8, write)
    db.drop_collection("docs")
    dropped.set()
    for writer in writers:
        writer.result(30)
    assert other.upsert([1], vectors[:1]) == 1


def test_closing_the_database_waits_for_what_was_submitted(tmp_path, bz, vectors, same_answers):
    db = bebr.open(tmp_path)
    docs = db.create_collection("docs", bz)
    futures = [docs.begin_upsert(check_ids([i]), vectors[i : i + 1], []) for i in range(100)]
    db.close()
    assert [future.result(0) for future in futures] == [1] * 100
    with pytest.raises(ValueError, match="closed"):
        docs.upsert([1], vectors[:1])
    with bebr.open(tmp_path) as again:
        same_answers(again.collection("docs"), dict(enumerate(vectors[:100])))


def test_a_program_that_forgets_to_close_ends(tmp_path, bz):
    bz.save(tmp_path / "m.safetensors")
    script = (
        "import sys, numpy as np, bebr; db = bebr.open(sys.argv[1] + '/data'); "
        "docs = db.create_collection('docs', bebr.Binarizer.load(sys.argv[1] + '/m.safetensors')); "
        "docs.upsert(range(10), np.eye(10, 64)); docs.settle(); docs.upsert([1], np.eye(1, 64)); print(len(docs))"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "10\n") and "Traceback" not in done.stderr
