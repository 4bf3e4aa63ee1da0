"""A snapshot is a collection at one moment: it keeps rows, scores and payloads while writes, seals and drops go on."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import bebr
from bebr.collection.checks import check_ids
from bebr.collection.options import SearchOptions
from bebr.store.catalog.file import FileCatalog
from bebr.store.database import Database
from bebr.store.files.payloads import PayloadColumn
from tests.conftest import payloads_of


def found(collection, snapshot, q, k=30):
    hits = collection.search_snapshot(snapshot, q, SearchOptions(k, exact=True))
    return hits.scores.tobytes(), hits.ids.tolist(), snapshot.payload_texts(hits.ids.ravel())


@pytest.mark.parametrize("sealed", [False, True])
def test_a_snapshot_outlives_whatever_happens_to_its_collection(tmp_path, bz, vectors, queries, sealed):
    with Database(tmp_path) as db:
        docs = db.create_collection("docs", bz)
        docs.upsert(range(100), vectors[:100], [{"n": i} for i in range(100)])
        if sealed:
            docs.settle()
        docs.delete([7])
        snapshot = docs.snapshot
        before = found(docs, snapshot, queries[:3])
        for _ in range(2):
            docs.upsert(range(50, 150), vectors[200:300])
            docs.delete(range(20))
            assert found(docs, snapshot, queries[:3]) == before
            docs.settle()
            assert found(docs, snapshot, queries[:3]) == before
        assert found(docs, docs.snapshot, queries[:3]) != before
        db.drop_collection("docs")
        assert not list((tmp_path / "segments").iterdir())
        assert found(docs, snapshot, queries[:3]) == before  # the files are gone, their pages are not
    assert len(snapshot) == 99


def test_the_payload_of_a_hit_is_that_of_the_write_its_row_came_from(tmp_path, bz, vectors, queries):
    with Database(tmp_path, seal_rows=200) as db:
        docs = db.create_collection("docs", bz)
        docs.upsert(range(100), vectors[:100], [{"row": i} for i in range(100)])
        stop = threading.Event()

        def write():
            chance = np.random.default_rng(0)
            while not stop.is_set():
                ids, rows = chance.choice(100, 10, replace=False), chance.integers(0, 3000, 10)
                docs.upsert(ids, vectors[rows], [{"row": int(row)} for row in rows])

        writer = threading.Thread(target=write)
        writer.start()
        checked = 0
        try:
            codes = bz.encode(vectors)
            for i in range(60):
                hits = docs.search(queries[i % 50], 10, exact=True, with_payloads=True)
                rows = [payload["row"] for payload in hits.payloads[0]]
                fresh = bebr.FlatIndex(bz)
                fresh.add_codes(codes[rows], np.arange(10))
                expected = fresh.search(queries[i % 50], 10, exact=True)
                np.testing.assert_array_equal(hits.scores, expected.scores)
                checked += len(rows)
        finally:
            stop.set()
            writer.join()
        assert checked == 600


def test_answers_do_not_depend_on_sealing(tmp_path, bz, vectors):
    """With the same vector twice, rows deleted and replaced, few survivors, k beyond a segment: equal to the bit."""
    rng = np.random.default_rng(0)
    q = vectors[rng.integers(0, 3000, 1000)] + rng.standard_normal((1000, 64), np.float32) * 0.05
    with Database(tmp_path) as db:
        docs = db.create_collection("docs", bz)
        docs.upsert(range(1500), vectors[:1500])
        docs.settle()
        docs.upsert(range(2000, 2700), vectors[:700])
        docs.settle()
        docs.upsert(range(3000, 3100), vectors[1500:1600])
        docs.delete(range(0, 1500, 7))
        docs.upsert(range(1, 1500, 9), vectors[1600:1767])

        def answers():
            yield docs.search(q, 10)
            yield docs.search(q, 1, oversampling=2)
            yield docs.search(q, 5, allow=np.arange(0, 3100, 3))
            yield docs.search(q[:20], 900)

        before = list(answers())
        assert (docs.stats().segments, docs.stats().tail_rows) == (2, 267)
        docs.settle()
        assert docs.stats().tail_rows == 0
        for one, other in zip(before, answers(), strict=True):
            np.testing.assert_array_equal(one.ids, other.ids)
            np.testing.assert_array_equal(one.scores, other.scores)


def test_a_search_waits_for_no_writer(tmp_path, bz, vectors, queries, monkeypatch):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", bz)
        docs.upsert([1, 2], vectors[:2], [{"a": 1}, None])
        committing, original = threading.Event(), FileCatalog.commit
        monkeypatch.setattr(FileCatalog, "commit", lambda self, items: committing.wait(30) and original(self, items))
        write = docs.begin_upsert(check_ids([1]), vectors[5:6], [])
        assert docs.search(queries[0], 5, with_payloads=True).ids[0].tolist().count(-1) == 3
        assert payloads_of(docs, [1]) == [{"a": 1}] and len(docs) == 2 and docs.stats().rows == 2
        committing.set()
        assert write.result(30) == 1 and payloads_of(docs, [1]) == [None]


def test_the_payload_of_an_id_is_read_once_however_often_it_is_asked_for(tmp_path, bz, vectors, monkeypatch):
    reads, original = [], PayloadColumn.text

    def text(self, row):
        reads.append(row)
        return original(self, row)

    monkeypatch.setattr(PayloadColumn, "text", text)
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", bz)
        docs.upsert([3, 4], vectors[:2], [{"a": "ü" * 1000}, None])
        docs.settle()
        assert payloads_of(docs, [3, 4] * 1000 + [3]) == [{"a": "ü" * 1000}, None] * 1000 + [{"a": "ü" * 1000}]
        assert len(reads) == 2


@pytest.mark.parametrize("sealed", [False, True])
def test_the_size_of_payloads_is_known_before_they_are_read(tmp_path, bz, vectors, sealed):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", bz)
        docs.upsert([3, 4, 5], vectors[:3], [{"a": "ü"}, None, {}])
        docs.delete([5])
        if sealed:
            docs.settle()
        ids = np.array([4, 3, -1, 5, 3, 7])
        assert docs.snapshot.payload_bytes(ids).tolist() == [0, 11, 0, 0, 11, 0]
        assert docs.snapshot.payload_texts(ids) == ["", '{"a": "ü"}', "", "", '{"a": "ü"}', ""]
        assert docs.snapshot.missing(ids).tolist() == [-1, 5, 7]
