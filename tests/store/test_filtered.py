"""Filters of a collection on disk: files without columns, deletes beside writes, what seals and merges keep."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import bebr
from bebr.collection.filter_form import as_filter
from bebr.store.columns import table
from bebr.store.database import Database
from bebr.store.segments import segment, writing
from bebr.store.snapshots import copies, growing

PAYLOADS = [{"n": i, "tag": f"t{i % 10}", "deep": {"list": [i % 3, "x"]}} if i % 11 else None for i in range(1000)]
FILTERS = [{"n": {"gte": 900}}, {"tag": "t3"}, {"deep.list": 2}, {"n": None}, {"tag": {"ne": "t1"}, "deep.list": "x"}]


def counts(collection):
    return [collection.count(filter) for filter in FILTERS]


def expected(payloads):
    return [sum(made.matches(p) for p in payloads) for made in map(as_filter, FILTERS)]


@pytest.fixture
def db(tmp_path):
    with Database(tmp_path, seal_rows=10**6) as db:
        yield db


def test_columns_go_with_the_rows_through_seals_and_merges(db, bz, vectors, monkeypatch):
    """Payloads are read once, when their rows are sealed first."""
    collection = db.create_collection("docs", bz)
    read = []
    of_texts = table.Columns.of_texts

    def counted(texts):
        read.append(len(texts))
        return of_texts(texts)

    monkeypatch.setattr(table.Columns, "of_texts", staticmethod(counted))
    for begin in range(0, 1000, 250):
        rows = np.arange(begin, begin + 250)
        collection.upsert(rows, vectors[rows], PAYLOADS[begin : begin + 250])
        collection.settle()
    collection.delete([5, 6, 7])
    collection.upsert([5], vectors[:1], [PAYLOADS[5]])
    collection.settle()
    assert counts(collection) == expected([p for i, p in enumerate(PAYLOADS) if i not in (6, 7)])
    assert sum(read) == 1001
    assert collection.stats().segments < 4


def test_a_file_without_columns_is_read_once(db, tmp_path, bz, vectors, monkeypatch):
    """As those that were written before there were columns."""
    with monkeypatch.context() as patch:
        patch.setattr(writing, "column_sections", _no_sections)
        collection = db.create_collection("docs", bz)
        collection.upsert(np.arange(1000), vectors[:1000], PAYLOADS)
        collection.settle()
    db.close()
    with Database(tmp_path) as again:
        collection = again.collection("docs")
        assert counts(collection) == expected(PAYLOADS)
        with monkeypatch.context() as patch:
            patch.setattr(table.Columns, "of_texts", None)
            assert counts(collection) == expected(PAYLOADS)
            assert collection.count({"n": {"gt": 10}, "tag": "t1"}) > 0  # another one
            collection.upsert([1], vectors[:1])
        collection.settle()
    with Database(tmp_path) as again:
        assert again.collection("docs").count({"tag": "t2"}) == sum((p or {}).get("tag") == "t2" for p in PAYLOADS)


def test_columns_of_a_file_are_read_by_the_first_filter(tmp_path, bz, vectors, monkeypatch):
    with Database(tmp_path) as db:
        db.create_collection("docs", bz).upsert(np.arange(1000), vectors[:1000], PAYLOADS)
        db.collection("docs").settle()
    read, read_columns = [], segment.read_columns
    monkeypatch.setattr(segment, "read_columns", lambda *about: read.append(about) or read_columns(*about))
    with Database(tmp_path) as db:
        collection = db.collection("docs")
        assert collection.get([1])[0].payload == PAYLOADS[1] and len(collection.search(vectors[:2], 5).ids) == 2
        assert not read
        assert counts(collection) == expected(PAYLOADS) and len(read) == 1


class _no_sections:
    def __init__(self, columns, folder): ...

    def __enter__(self):
        return {}

    def __exit__(self, *error): ...


def test_a_delete_takes_what_was_written_before_it_and_nothing_after(db, bz, vectors):
    """Writers add rows while deletes run: whatever a delete leaves was written after it began."""
    collection = db.create_collection("docs", bz)
    writing = threading.Event()
    written = []

    def write():
        for i in range(60):
            collection.upsert([i], vectors[i : i + 1], [{"old": True}])
            written.append(i)
            if i == 10:
                writing.set()

    thread = threading.Thread(target=write)
    thread.start()
    writing.wait()
    removed = 0
    while thread.is_alive():
        before = set(written)
        removed += collection.delete(filter={"old": True})
        left = collection.search(vectors[0], 300).ids[0]
        assert not set(left[left >= 0].tolist()) & before
    thread.join()
    removed += collection.delete(filter={"old": True})
    assert removed == 60 and len(collection) == 0


def test_a_snapshot_keeps_its_matches(db, bz, vectors):
    collection = db.create_collection("docs", bz)
    collection.upsert(np.arange(100), vectors[:100], PAYLOADS[:100])
    snapshot = collection.snapshot
    filter = as_filter({"n": {"lt": 50}})
    before = [rows.tolist() for rows in snapshot.matching(filter)]
    collection.upsert(np.arange(200, 300), vectors[:100], [{"n": 1}] * 100)
    collection.delete([1, 2])
    assert collection.count(filter) == snapshot.count(filter) + 98
    assert [rows.tolist() for rows in snapshot.matching(filter)] == before


@pytest.fixture
def soon_copied(monkeypatch):
    """Whole copies after a search or two."""
    monkeypatch.setattr(copies, "_COPY_COST", 1)


OPTIONS = {"plain": {}, "exact": {"exact": True}, "few": {"oversampling": 2}, "allow": {"allow": np.arange(0, 3000, 2)}}


@pytest.mark.parametrize(
    ("below", "options"),
    [
        *((below, "plain") for below in (1200, 300, 80, 30, 7)),
        *((n, how) for n in (300, 30) for how in OPTIONS if how != "plain"),
        (1200, "allow"),
        (7, "exact"),
    ],
)
def test_copies_answer_as_the_rows_do(db, bz, vectors, queries, soon_copied, below, options):
    """To the bit, however often a filter comes, whatever was written meanwhile, and by how many queries."""
    options = OPTIONS[options]
    collection = db.create_collection("docs", bz)
    order = np.random.default_rng(1).permutation(3000)
    collection.upsert(np.arange(2700), vectors[:2700], [{"n": int(n)} for n in order[:2700]])
    collection.settle()
    collection.upsert(np.arange(2700, 3000), vectors[2700:], [{"n": int(n)} for n in order[2700:]])
    for step in range(3):
        for asked in (queries[:1], queries[:2], queries[:20]):
            fresh = {"$and": [{"n": {"lt": below}}, {"n": {"gte": -1 - step - len(asked)}}]}  # never copied
            expected = collection.search(asked, 10, filter=fresh, **options)
            for _ in range(6):
                hits = collection.search(asked, 10, filter={"n": {"lt": below}}, **options)
                np.testing.assert_array_equal(hits.ids, expected.ids)
                np.testing.assert_array_equal(hits.scores, expected.scores)
        collection.delete(np.flatnonzero(order < below)[step::7])
        collection.upsert([step], vectors[5:6], [{"n": 3}])
    copied = collection.snapshot.segments[0].part.copies._copies
    assert below > 0.6 * 2700 or "allow" in options or any(copy._whole is not None for copy in copied.values())


def test_copies_have_a_bound(db, bz, vectors, queries, soon_copied):
    collection = db.create_collection("docs", bz)
    collection.upsert(np.arange(2000), vectors[:2000], [{"n": i % 10} for i in range(2000)])
    collection.settle()
    for _ in range(5):
        for n in range(10):
            collection.search(queries[0], 10, filter={"n": n})
            collection.search(queries[0], 10, filter={"n": {"ne": n}})
    copied = collection.snapshot.segments[0].part.copies._copies
    assert 0 < sum(len(copy.rows) for copy in copied.values() if copy.begun) <= 0.6 * 2000


def test_a_copy_that_was_given_up_is_made_again(db, bz, vectors, queries, soon_copied, monkeypatch):
    collection = db.create_collection("docs", bz)
    collection.upsert(np.arange(2000), vectors[:2000], [{"n": i % 10} for i in range(2000)])
    collection.settle()
    monkeypatch.setattr(copies, "MOST_COPIES", 1)
    expected = [collection.search(queries[:1], 10, filter={"n": n, "m": {"exists": False}}).ids for n in (3, 4)]
    kept = collection.snapshot.segments[0].part.copies
    for _ in range(3):
        for n in (3, 4):
            for _ in range(3):
                found = collection.search(queries[:1], 10, filter={"n": n}).ids
                np.testing.assert_array_equal(found, expected[n - 3])
            assert kept.held(bebr.F("n") == n).whole and kept.held(bebr.F("n") == 7 - n) is None


def test_answers_that_are_kept_do_not_grow_old(db, bz, vectors):
    """One filter, asked for again and again while rows come and go."""
    collection = db.create_collection("docs", bz)
    there = {}
    for step in range(12):
        begin = step * growing.PIECE // 3 % 2000
        rows = np.arange(begin, begin + growing.PIECE // 3)
        collection.upsert(rows, vectors[rows % 3000], [{"n": int(i) + step} for i in rows])
        there |= {int(i): int(i) + step for i in rows}
        gone = collection.delete(filter={"n": {"lt": 5 * step}})
        assert gone == sum(n < 5 * step for n in there.values())
        there = {i: n for i, n in there.items() if n >= 5 * step}
        assert collection.count({"n": {"gte": 1000}}) == sum(n >= 1000 for n in there.values())
        if step % 5 == 4:
            collection.settle()
