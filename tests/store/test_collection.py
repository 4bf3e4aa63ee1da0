"""A collection is its segments minus dead rows plus its tail; none of that may show in the answers."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest

import bebr
from bebr.store.database import Database
from bebr.store.upkeep import rewriting
from tests.conftest import payloads_of


def test_rows_survive_a_restart_in_every_state(tmp_path, bz, vectors, same_answers):
    rows = {}

    def upsert(ids, x):
        assert collection.upsert(ids, x) == len(ids)
        rows.update(zip(ids, x, strict=True))

    with Database(tmp_path) as db:
        collection = db.create_collection("docs", bz)
        same_answers(collection, rows)
        upsert(range(300), vectors[:300])
        same_answers(collection, rows)  # tail only
        collection.settle()
        same_answers(collection, rows)  # segment only
        upsert(range(280, 400), vectors[1000:1120])  # 20 of them replace rows of the segment
        assert collection.delete([5, 6, 399, 12345]) == 3
        for gone in (5, 6, 399):
            del rows[gone]
        same_answers(collection, rows)  # dead rows, segment, tail
    with Database(tmp_path) as db:
        collection = db.collection("docs")
        assert collection.stats().tail_rows == 119 and collection.stats().dead_rows == 22
        same_answers(collection, rows)
        collection.settle()
        assert collection.stats().tail_rows == 0
        same_answers(collection, rows)
    with Database(tmp_path) as db:
        collection = db.collection("docs")
        same_answers(collection, rows)
        upsert([5], vectors[7:8])  # a removed id may come back
        same_answers(collection, rows)


def test_batches_and_single_queries_give_the_same_bits(tmp_path, bz, vectors, queries):
    with Database(tmp_path) as db:
        collection = db.create_collection("docs", bz)
        collection.upsert(range(2000), vectors[:2000])
        for query in ("float", "code"):
            batch = collection.search(queries, 10, query=query)
            for i, q in enumerate(queries):
                one = collection.search(q, 10, query=query)
                np.testing.assert_array_equal(one.ids[0], batch.ids[i])
                np.testing.assert_array_equal(one.scores[0], batch.scores[i])


def test_answers_that_would_be_of_no_row_have_a_limit(tmp_path, bz, vectors, queries):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", bz)
        docs.upsert(range(20), vectors[:20], [{"lang": "de"}] * 20)
        hits = docs.search(queries[:2], 1000)
        assert hits.ids.shape == (2, 1000) and (hits.ids[:, :20] >= 0).all() and (hits.ids[:, 20:] == -1).all()
        for search in (
            lambda: docs.search(queries[:1], 2**31 - 1),
            lambda: docs.search(queries[:1], 1, offset=2**31 - 2),
            lambda: docs.search(queries[:1], 10**6, group_by="lang", group_size=100),
            lambda: docs.search_ids([3], 2**31 - 1),
        ):
            with pytest.raises(bebr.LimitExceeded, match=r"of a collection of 20 rows: .* would be of no row"):
                search()


def test_writes_seal_the_tail_in_the_background_and_merging_bounds_the_number_of_segments(
    tmp_path, bz, vectors, same_answers, until
):
    with Database(tmp_path, seal_rows=50) as db:
        collection = db.create_collection("docs", bz)
        for start in range(0, 2000, 25):
            collection.upsert(range(start, start + 25), vectors[start : start + 25])
        until(lambda: collection.stats().tail_rows < 50)
        assert collection.stats().rows == 2000
        until(lambda: 1 <= collection.stats().segments <= 7)  # log2(2000 / 50) is 5.3; unmerged it were 40
        collection.settle()  # waits for a merge that is still deleting files
        assert len(list((tmp_path / "segments").iterdir())) == collection.stats().segments
        same_answers(collection, dict(enumerate(vectors[:2000])))


def test_updates_of_the_same_rows_do_not_grow_the_catalog_without_end(tmp_path, bz, vectors, until):
    with Database(tmp_path, seal_rows=100) as db:
        collection = db.create_collection("docs", bz)
        for i in range(50):
            collection.upsert(range(10), vectors[i : i + 10])

        def journal() -> int:
            stats = collection.stats()
            return stats.bytes_on_disk - sum(file.stat().st_size for file in (tmp_path / "segments").iterdir())

        until(lambda: journal() < 100 * (bz.bytes_per_vector + 8))
        assert collection.stats().rows == 10
        until(lambda: collection.stats().segments <= 1)


def test_the_space_of_dead_rows_comes_back(tmp_path, bz, vectors, same_answers):
    with Database(tmp_path) as db:
        collection = db.create_collection("docs", bz)
        collection.upsert(range(3000), vectors)
        collection.settle()
        before = collection.stats()
        collection.delete(range(500))
        collection.settle()
        assert collection.stats().dead_rows == 500  # a sixth is not worth a rewrite
        collection.delete(range(2000))
        collection.settle()
        after = collection.stats()
        assert after.dead_rows == 0 and after.segments == 1
        assert before.bytes_on_disk - after.bytes_on_disk >= 2000 * bz.bytes_per_vector
        same_answers(collection, {i: vectors[i] for i in range(2000, 3000)})
        collection.delete(range(3000))
        collection.settle()
        assert collection.stats().segments == 0 and not list((tmp_path / "segments").iterdir())


def test_a_write_that_is_refused_changes_nothing(tmp_path, bz, vectors, same_answers):
    with Database(tmp_path) as db:
        collection = db.create_collection("docs", bz)
        collection.upsert(range(10), vectors[:10], [{"n": i} for i in range(10)])
        bad = vectors[10:12].copy()
        bad[1, 3] = np.nan
        for ids, x, payloads in [
            ([1, 2], bad, None),
            ([1, -2], vectors[:2], None),
            ([1], vectors[:2], None),
            ([1.5, 2], vectors[:2], None),
            ([1, 2], vectors[:2, :-1], None),
            ([1, 2], vectors[:2], [{}]),
            ([1, 2], vectors[:2], [{}, "text"]),
            ([1, 2], vectors[:2], [{}, {"x": float("nan")}]),
            ([1, 2], vectors[:2], [{}, {"x": object()}]),
            ([1, 2], vectors[:2], [{}, {"x": "\ud800"}]),
        ]:
            with pytest.raises(ValueError):
                collection.upsert(ids, x, payloads)
        same_answers(collection, dict(enumerate(vectors[:10])))
        assert payloads_of(collection, range(10)) == [{"n": i} for i in range(10)]


def test_searches_beside_a_writer_see_each_id_once(tmp_path, bz, vectors, queries):
    """Rows move from tail to segment to merged segment, and are replaced, under running searches."""
    with Database(tmp_path, seal_rows=150) as db:
        collection = db.create_collection("docs", bz)
        collection.upsert(range(500), vectors[:500])
        stop, problems, searches = threading.Event(), [], [0]

        def search():
            while not stop.is_set():
                ids = collection.search(queries[:4], 20).ids
                searches[0] += 1
                if (ids < 0).any() or any(len(set(row)) != 20 for row in ids.tolist()):
                    problems.append(ids)
                stop.wait(0.002)  # searches enough come between two writes

        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        for i in range(40):
            some = np.arange(i * 10, i * 10 + 50) % 500
            collection.upsert(some, vectors[1000 + some])
        stop.set()
        for thread in threads:
            thread.join()
        assert not problems and searches[0] > 0
        assert collection.stats().segments >= 1


def test_a_seal_that_fails_does_not_fail_the_write_and_is_tried_again(
    tmp_path, bz, vectors, same_answers, until, monkeypatch, caplog
):
    def no_space(*_args):
        raise OSError("no space left")

    monkeypatch.setattr("bebr.store.workers.compaction.FIRST_RETRY", 0.1)
    with Database(tmp_path, seal_rows=50) as db:
        collection = db.create_collection("docs", bz)
        with monkeypatch.context() as patch:
            patch.setattr("bebr.store.upkeep.rewriting.write_segment", no_space)
            assert collection.upsert(range(60), vectors[:60]) == 60
            until(lambda: "no space left" in caplog.text)
            same_answers(collection, dict(enumerate(vectors[:60])))
            with pytest.raises(OSError, match="no space"):
                collection.settle()
        until(lambda: collection.stats().tail_rows == 0)
        same_answers(collection, dict(enumerate(vectors[:60])))


@pytest.mark.parametrize("step", ["seal", "merge"])
def test_rows_that_die_during_a_seal_or_a_merge_are_dead_in_the_new_segment(
    tmp_path, bz, vectors, same_answers, monkeypatch, step
):
    rows = dict(enumerate(vectors[:100]))
    with Database(tmp_path) as db:
        collection = db.create_collection("docs", bz)
        inside = collection._contents
        monkeypatch.setattr(inside.current.shared.merger, "request", lambda _: None)
        collection.upsert(range(50), vectors[:50])
        inside.seal()
        collection.upsert(range(50, 100), vectors[50:100])
        if step == "merge":
            inside.seal()

        def write_segment(*args):
            row = original(*args)
            collection.delete([3, 70])
            collection.upsert([4, 71, 200], vectors[200:203])
            if step == "merge":
                inside.seal()  # beside it: the journal forgets who died
            collection.upsert([5], vectors[203:204])
            return row

        original = rewriting.write_segment
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rewriting, "write_segment", lambda *args: patch.undo() or write_segment(*args))
            getattr(inside, step)()
        for i in (3, 70):
            del rows[i]
        rows.update(zip([4, 71, 200, 5], vectors[200:204], strict=True))
        stats = collection.stats()
        assert (stats.segments, stats.tail_rows, stats.dead_rows) == (2, 4 if step == "seal" else 1, 5)
        same_answers(collection, rows)
    with Database(tmp_path) as db:
        collection = db.collection("docs")
        same_answers(collection, rows)
        collection.settle()
        same_answers(collection, rows)
    with Database(tmp_path) as db:
        same_answers(db.collection("docs"), rows)


def test_a_kill_during_a_seal_leaves_nothing_to_keep(tmp_path, bz, vectors, same_answers, monkeypatch):
    def write_segment(*args):
        row = original(*args)
        shutil.copytree(tmp_path / "data", tmp_path / "killed")
        return row

    original = rewriting.write_segment
    monkeypatch.setattr(rewriting, "write_segment", write_segment)
    with Database(tmp_path / "data") as db:
        db.create_collection("docs", bz).upsert(range(60), vectors[:60])
        db.collection("docs").settle()
    monkeypatch.undo()
    assert len(list((tmp_path / "killed" / "segments").iterdir())) == 1
    with Database(tmp_path / "killed") as db:
        same_answers(db.collection("docs"), dict(enumerate(vectors[:60])))
    assert not list((tmp_path / "killed" / "segments").iterdir()) and not (tmp_path / "killed" / "quarantine").exists()


def test_closing_ends_a_seal_and_leaves_no_file(tmp_path, bz, vectors, same_answers, monkeypatch):
    begun, closing = threading.Event(), threading.Event()

    def slow(*args):
        begun.set()
        closing.wait(30)
        return original(*args)

    original = rewriting.write_segment
    monkeypatch.setattr(rewriting, "write_segment", slow)
    db = Database(tmp_path, seal_rows=10)
    db.create_collection("docs", bz).upsert(range(60), vectors[:60])
    assert begun.wait(30)
    closer = threading.Thread(target=db.close)
    closer.start()
    closing.set()
    closer.join(30)
    assert not closer.is_alive() and not list((tmp_path / "segments").iterdir())
    monkeypatch.undo()
    with Database(tmp_path) as db:
        same_answers(db.collection("docs"), dict(enumerate(vectors[:60])))
