"""Which files are merged, and how often a row is written for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bebr
from bebr.store.database import Database
from bebr.store.upkeep import rewriting
from bebr.store.workers.compaction import segments_to_merge


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=200))
def test_rows_are_rewritten_a_logarithm_of_times(seals):
    """Whatever the sizes of the seals: a row's file at least doubles whenever the row is written again."""
    files: list[tuple[int, list[list[int]]]] = []  # rows, and of each seal's rows: the size and count of writes
    written = 0
    for size in seals:
        files.append((size, [[size, 1]]))
        while chosen := segments_to_merge([(rows, rows) for rows, _ in files], 1 << 24):
            merged = [files[i] for i in chosen]
            rows = sum(size for size, _ in merged)
            written += rows
            assert all(2 * size <= rows for size, _ in merged)
            parts = [[first, count + 1] for _, seals in merged for first, count in seals]
            files = [file for i, file in enumerate(files) if i not in chosen] + [(rows, parts)]
    total = sum(seals)
    for _, parts in files:
        assert all(count <= 2 + math.log2(total / first) for first, count in parts)
    sizes = sorted(rows for rows, _ in files)
    assert all(size > sum(sizes[:i]) for i, size in enumerate(sizes))  # so there are few
    assert written <= total * (1 + math.log2(total / min(seals)))


def test_half_dead_files_are_rewritten_and_large_ones_are_not_merged():
    assert segments_to_merge([], 1 << 24) == segments_to_merge([(100, 100)], 1 << 24) == []
    assert segments_to_merge([(100, 75)], 1 << 24) == [] and segments_to_merge([(100, 74)], 1 << 24) == [0]
    assert segments_to_merge([(100, 0)], 1 << 24) == [0]
    assert segments_to_merge([(1000, 1000), (10, 10), (10, 10)], 1 << 24) == [1, 2]
    assert segments_to_merge([(1000, 1000), (10, 10), (900, 600)], 1 << 24) == [2]
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
