"""Which files are merged, and how often a row is written for it."""

from __future__ import annotations

import math
import os
import queue
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bebr
from bebr.store.database import Database
from bebr.store.segments.shape import Shape
from bebr.store.upkeep import migration, rewriting
from bebr.store.upkeep.migration import to_merge
from bebr.store.workers import compaction
from bebr.store.workers.compaction import CALM_RATIO, RATIO, Compactor, segments_to_merge


@pytest.mark.parametrize("ratio", [RATIO, CALM_RATIO])
@settings(deadline=None)
@given(seals=st.lists(st.integers(1, 100_000), min_size=1, max_size=200))
def test_rows_are_rewritten_a_logarithm_of_times(seals, ratio):
    """Whatever the sizes of the seals: a row's file at least doubles whenever the row is written again, or grows by a
    quarter where merges are of files that are less alike."""
    growth = 1 + 1 / ratio
    files: list[tuple[int, list[list[int]]]] = []  # rows, and of each seal's rows: the size and count of writes
    written = 0
    for size in seals:
        files.append((size, [[size, 1]]))
        while chosen := segments_to_merge([(rows, rows) for rows, _ in files], 1 << 24, ratio):
            merged = [files[i] for i in chosen]
            rows = sum(size for size, _ in merged)
            written += rows
            assert all(growth * size <= rows for size, _ in merged)
            parts = [[first, count + 1] for _, seals in merged for first, count in seals]
            files = [file for i, file in enumerate(files) if i not in chosen] + [(rows, parts)]
    total = sum(seals)
    for _, parts in files:
        assert all(count <= 2 + math.log(total / first, growth) for first, count in parts)
    sizes = sorted(rows for rows, _ in files)
    assert all(size > ratio * sum(sizes[:i]) for i, size in enumerate(sizes))  # so there are few
    assert written <= total * (1 + math.log(total / min(seals), growth))


def test_half_dead_files_are_rewritten_and_large_ones_are_not_merged():
    assert segments_to_merge([], 1 << 24) == segments_to_merge([(100, 100)], 1 << 24) == []
    assert segments_to_merge([(100, 75)], 1 << 24) == [] and segments_to_merge([(100, 74)], 1 << 24) == [0]
    assert segments_to_merge([(100, 0)], 1 << 24) == [0]
    assert segments_to_merge([(1000, 1000), (10, 10), (10, 10)], 1 << 24) == [1, 2]
    assert segments_to_merge([(1000, 1000), (10, 10), (900, 600)], 1 << 24) == [2]
    assert segments_to_merge([(1000, 1000), (300, 300)], 1 << 24) == []
    assert segments_to_merge([(1000, 1000), (300, 300)], 1 << 24, CALM_RATIO) == [1, 0]
    most = 1 << 24
    assert segments_to_merge([(most, most), (most, most)], 1 << 24) == []


def test_flush_waits_for_no_merge(tmp_path, vectors):
    with Database(tmp_path) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18))
        docs.upsert(range(100), vectors[:100])
        with docs._contents.current.merging:  # one that takes long
            docs.flush()
            docs.upsert(range(100, 200), vectors[100:200])
            docs.flush()
            assert (docs.stats().segments, docs.stats().tail_rows, docs.stats().merging) == (2, 0, True)
            with pytest.raises(TimeoutError, match=r"still being merged after 0\.05 s"):
                docs.settle(timeout=0.05)
        docs.settle(timeout=60)
        assert (docs.stats().segments, docs.stats().merging) == (1, False)


def test_files_that_are_less_alike_are_merged_once_nothing_is_written(tmp_path, vectors, monkeypatch):
    with Database(tmp_path, seal_rows=10**9, flat_rows=350) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18))
        for some in (slice(300), slice(300, 400)):
            docs.upsert(range(some.start or 0, some.stop), vectors[some])
            docs.settle()
        assert (docs.stats().segments, docs.stats().merging) == (2, False)
        contents = docs._contents
        state, flat = contents.state, Shape("auto", 10**6)
        assert len(to_merge(state.snapshot, state.target, state.shape, CALM_RATIO)) == 2
        assert to_merge(state.snapshot, state.target, flat, CALM_RATIO) == []  # these are scanned as one
        assert 0 < contents.rewriting.due_in <= 3600
        contents.rewriting.written -= 3600
        assert contents.rewriting.due_in == 0
        docs.upsert([400], vectors[400:401])
        assert contents.rewriting.due_in > 0  # it was written again
        merged = threading.Event()
        monkeypatch.setattr(contents, "_go_on", merged.set)
        monkeypatch.setattr(rewriting, "CALM", 0.1)
        contents._request()
        assert merged.wait(60) and (docs.stats().segments, len(docs)) == (1, 401)
        assert contents.rewriting.due_in is None


def test_large_merges_wait_while_rows_come_fast(tmp_path, vectors, monkeypatch, until):
    monkeypatch.setattr(migration, "LOAD_ROWS", 300)
    monkeypatch.setattr(rewriting, "LOAD_SECONDS", 3600.0)
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18))
        contents = docs._contents

        def sizes() -> list[int]:
            return sorted(view.live for view in contents.snapshot.segments)

        for begin in range(0, 2000, 100):
            docs.upsert(range(begin, begin + 100), vectors[np.arange(begin, begin + 100) % len(vectors)])
            docs.flush()
            until(lambda: not docs.stats().merging)
            # Two seals become a file of 200 rows; two of these, with 400 rows, do not become one.
            assert sizes() == sorted([200] * ((begin + 100) // 200) + [100] * ((begin + 100) % 200 // 100))
        about = contents.snapshot, contents.state.target, contents.state.shape
        assert len(to_merge(*about)) == 10 and to_merge(*about, loading=True) == []
        monkeypatch.setattr(migration, "LOAD_SHARE", 0.5)  # of 2,000
        assert sum(view.live for view in to_merge(*about, loading=True)) == 1000
        docs.settle(timeout=60)
        assert sizes() == [2000]
        docs.upsert(range(2000, 2100), vectors[:100])  # one seal is no load
        docs.flush()
        assert not contents.rewriting._loading


def test_large_merges_go_on_where_rows_come_slowly(tmp_path, vectors, monkeypatch, until):
    monkeypatch.setattr(migration, "LOAD_ROWS", 300)
    monkeypatch.setattr(rewriting, "LOAD_SECONDS", 0.0)
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18))
        for begin in range(0, 800, 100):
            docs.upsert(range(begin, begin + 100), vectors[begin : begin + 100])
            docs.flush()
            until(lambda: not docs.stats().merging)
        assert docs.stats().segments < 4 and max(view.live for view in docs._contents.snapshot.segments) > 300


def test_work_rests_only_where_somebody_else_computes(monkeypatch):
    class Waits(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return False

    def work(_, give_way):
        for others in (0, 3, 0):
            begin = time.thread_time()
            calls[0] += others
            while time.thread_time() < begin + 0.02:
                pass
            give_way()
        done.set()

    class Named:
        name, closed = "docs", False

    waits, calls, done = [], [0], threading.Event()
    monkeypatch.setattr(compaction.core, "foreground_calls", lambda: calls[0])
    compactor = Compactor("test", work, "")
    compactor._stopping = Waits()
    compactor.request(Named())
    assert done.wait(60)
    compactor.close()
    assert len(waits) == 1 and waits[0] >= 0.02  # as long as it worked


def test_work_that_is_requested_for_later_is_done_then():
    class Named:
        def __init__(self, name):
            self.name, self.closed = name, False

    done: queue.SimpleQueue[str] = queue.SimpleQueue()
    compactor = Compactor("test", lambda one, rest: done.put(one.name), "")
    slow, soon = Named("slow"), Named("soon")
    compactor.request_in(slow, 0.05)
    compactor.request_in(soon, 0.0)  # the alarm is for the other: both are due by then
    assert {done.get(timeout=60), done.get(timeout=60)} == {"slow", "soon"}
    compactor.request_in(slow, 3600)
    compactor.request_in(slow, 0.0)
    assert done.get(timeout=60) == "slow"
    compactor.request_in(slow, 3600)
    compactor.close()
    compactor.request_in(soon, 0)
    assert done.empty()


def test_a_program_that_closes_nothing_ends_without_complaint(tmp_path):
    program = """
import sys
import numpy as np
from bebr.store.database import Database
docs = Database(sys.argv[1], seal_rows=100).create_collection("docs", dim=16)
for first in range(0, 4_000, 100):  # seals and merges are under way when the last one returns
    docs.upsert(range(first, first + 100), np.ones((100, 16)))
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    with Database(tmp_path) as db:
        assert len(db.collection("docs")) == 4_000


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_merges_have_a_lower_priority_than_searches_and_seals(tmp_path, vectors, monkeypatch):
    seen: dict[str, int] = {}

    def write_segment(*args):
        seen[threading.current_thread().name.partition("_")[0]] = os.getpriority(os.PRIO_PROCESS, 0)
        return original(*args)

    original = rewriting.write_segment
    monkeypatch.setattr(rewriting, "write_segment", write_segment)
    with Database(tmp_path, seal_rows=100) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18))
        docs.upsert(range(100), vectors[:100])
        docs.flush()
        docs.upsert(range(100, 200), vectors[100:200])
        deadline = time.monotonic() + 60
        while docs.merges == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    seen.pop("MainThread", None)  # a flush seals in its caller's thread
    assert seen == {"bebr-seal": own, "bebr-merge": min(own + 5, 19)}


def test_a_long_ingest_writes_each_row_a_few_times(tmp_path, vectors, monkeypatch):
    """10,000 rows sealed by 100, counted where segments are written."""
    rows = []

    def write_segment(*args):
        row = original(*args)
        rows.append(0 if row is None else row.rows)
        return row

    original = rewriting.write_segment
    monkeypatch.setattr(rewriting, "write_segment", write_segment)
    bz = bebr.untrained(64, 18)
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", bz)
        for start in range(0, 10_000, 100):
            docs.upsert(range(start, start + 100), vectors[np.arange(start, start + 100) % len(vectors)])
            docs.settle()
        assert len(docs) == 10_000 and docs.stats().segments <= 1 + math.log2(100)
    assert sum(rows) <= 10_000 * (2 + math.log2(100))
