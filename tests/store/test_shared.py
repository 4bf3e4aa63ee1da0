"""A database that two processes have open: one writes a collection, the other one follows. Here both are one process;
two that die or stop are in test_shared_crash."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import bebr
from bebr.collection.protocol import DatabaseLocked
from bebr.store.catalog import shared as shared_catalog
from bebr.store.home_shared import SharedHome
from tests.conftest import model_of, payloads_of
from tests.store.leases import expire, seen


@pytest.fixture(scope="module")
def bz(vectors):
    return model_of(vectors, widths=[48, 16])


def test_another_process_follows_whatever_is_written(two, bz, vectors, queries):
    first, second = two
    docs = first.create_collection("docs", bz, text="t", keep="int8")
    seen(second)
    there = second.collection("docs")

    def alike() -> None:
        seen(second)
        assert there.snapshot.version == docs.snapshot.version and len(there) == len(docs)
        one, other = (each.search(queries[:8], 20, with_payloads=True) for each in (docs, there))
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.scores, other.scores)
        assert one.payloads == other.payloads
        assert there.stats().segments == docs.stats().segments

    docs.upsert(range(300), vectors[:300], [{"t": f"word{i % 7}", "n": i} for i in range(300)])
    alike()
    parts = there.snapshot.segments
    docs.delete(range(10))
    docs.set_payloads([20], [{"n": -1}])
    docs.upsert(["key"], vectors[300:301])
    alike()
    assert there.snapshot.segments == parts and payloads_of(there, [20]) == [{"n": -1}]
    docs.flush()
    alike()
    file = there.snapshot.segments[0].part
    docs.delete([30])
    docs.upsert(range(400, 700), vectors[400:700])
    docs.flush()
    alike()
    assert there.snapshot.segments[0].part is file  # it was not opened again
    docs.settle()
    alike()
    docs.truncate()
    alike()
    assert len(there) == 0 and there.search(None, text="word1").ids.tolist() == [[-1] * 10]


def test_who_writes_after_a_writer_that_died_goes_on_with_its_migration(
    two, shared, postgres, bz, vectors, monkeypatch
):
    first, second = two
    docs = first.create_collection("docs", bz, keep="int8")
    docs.upsert(range(300), vectors[:300])
    docs.flush()
    for worker in (first._sealer, first._merger):  # it dies before they do anything
        monkeypatch.setattr(worker, "request", lambda collection: None)
    better = model_of(vectors, widths=[64, 16])
    docs.migrate(better)
    seen(second)
    there = second.collection("docs")
    assert there.stats().target == better.digest
    expire(postgres, shared)
    there.upsert([300], vectors[300:301])
    end = time.monotonic() + 60
    while there.stats().target and time.monotonic() < end:
        time.sleep(0.02)
    assert there.binarizer.digest == better.digest and len(there) == 301


def test_models_and_names_are_followed_too(two, bz, vectors, queries):
    first, second = two
    first.create_collection("docs", bz, keep="float16").upsert(range(200), vectors[:200])
    seen(second)
    there = second.collection("docs")
    shown = []
    second.watch_aliases(lambda aliases: shown.append(dict(aliases)))
    first.set_alias("live", "docs")
    seen(second)
    assert shown == [{}, {"live": "docs"}] and second.collection("live") is there
    larger = model_of(vectors, widths=[64, 32])
    first.collection("docs").migrate(larger, wait=True)
    seen(second)
    assert there.binarizer.digest == larger.digest and larger.digest in {each.digest for each in second.models()}
    np.testing.assert_array_equal(there.search(queries, 5).ids, first.collection("docs").search(queries, 5).ids)
    with pytest.raises(bebr.store.database.AlreadyExists):
        second.create_collection("docs", bz)
    second.create_collection("more", bz)
    seen(first)
    assert first.collections() == second.collections() == ["docs", "more"]
    second.drop_collection("docs")
    seen(first)
    assert first.collections() == ["more"] and first.aliases() == {}
    with pytest.raises(KeyError, match="no collection 'docs'"):
        first.collection("docs")


def test_a_look_reads_the_catalog_where_it_has_changed(two, bz, vectors, monkeypatch):
    first, second = two
    first.create_collection("docs", bz)
    seen(second)
    read, reads = shared_catalog.read_listing, []

    def noted(sql, versions):
        reads.append(sql)
        return read(sql, versions)

    monkeypatch.setattr(shared_catalog, "read_listing", noted)
    for done, change in enumerate(
        (
            lambda: None,
            lambda: first.collection("docs").upsert([1], vectors[:1]),
            lambda: first.set_alias("live", "docs"),
            lambda: first.register_model(model_of(vectors, widths=[64, 32])),
            lambda: first.drop_collection("docs"),
        )
    ):
        change()
        for _ in range(2):
            seen(second)
        assert reads.count(second._home.catalog._sql) == done
    assert second.collections() == [] and second.aliases() == {}


def test_another_producers_vectors_are_followed(two, bz, vectors, queries):
    first, second = two
    docs = first.create_collection("docs", bz, keep="float16")
    docs.upsert(range(100), vectors[:100])
    seen(second)
    there = second.collection("docs")
    other = bebr.untrained(64, 16)
    docs.migrate(other, vectors=[(range(60), vectors[:60])])
    seen(second)
    assert there.stats().target == other.digest and there.stats().rows_behind == 40
    docs.migrate(other, vectors=[(range(60, 100), vectors[60:100])])
    seen(second)
    hits = [each.search(queries[:4], 5, binarizer=other).ids for each in (docs, there)]
    np.testing.assert_array_equal(*hits)
    docs.cutover()
    seen(second)
    assert there.binarizer.digest == other.digest and there.stats().target == "" and len(there) == 100
    docs.upsert([500], vectors[500:501])
    seen(second)
    assert len(there) == 101


def test_a_collection_opens_though_its_successor_was_dropped_since_somebody_looked(two, bz, vectors, queries):
    first, second = two
    second._home.unfollow()  # from now on it looks where the test says so
    docs = first.create_collection("docs", bz)
    docs.upsert(range(100), vectors[:100])
    docs.migrate(bebr.untrained(64, 16), vectors=[(range(100), vectors[:100])])
    seen(second)
    docs.rollback()
    np.testing.assert_array_equal(second.collection("docs").search(queries, 5).ids, docs.search(queries, 5).ids)


def test_a_cutover_while_somebody_looks_shows_no_old_rows_as_new_ones(two, bz, vectors, queries, monkeypatch):
    first, second = two
    other = bebr.untrained(64, 16)
    docs = first.create_collection("docs", bz)
    docs.upsert(range(100), vectors[:100])
    docs.migrate(other, vectors=[(range(100), vectors[:100])])
    seen(second)
    there, follower, cut = second.collection("docs"), second._home._follower, []
    follow = follower._follow

    def and_then(current, **how):
        found = follow(current, **how)
        if current is there._contents.current and not cut:  # before its successor is looked at
            cut.append(docs.cutover(keep_old=True))
            second._home.catalog.refresh()
        return found

    monkeypatch.setattr(follower, "_follow", and_then)
    seen(second)
    assert cut
    hits, wanted = there.search(queries, 5, binarizer=other), docs.search(queries, 5)
    np.testing.assert_array_equal(hits.ids, wanted.ids)
    np.testing.assert_array_equal(hits.scores, wanted.scores)
    seen(second)
    assert there.binarizer.digest == other.digest and there.stats().former == bz.digest


def test_another_process_cuts_over_what_one_has_streamed(shared, bz, vectors, queries):
    other = model_of(vectors[:, ::-1], widths=[40, 16])
    with shared.open() as first:
        docs = first.create_collection("docs", bz)
        docs.upsert(range(100), vectors[:100])
        docs.migrate(other, vectors=[(range(100), vectors[:100, ::-1])])
    with shared.open() as second:
        docs = second.collection("docs")
        docs.check_exchange("cutover")
        docs.cutover()  # the first write of this process
        assert docs.binarizer.digest == other.digest
        index = bebr.FlatIndex(other)
        index.add(vectors[:100, ::-1])
        q = queries[:5, ::-1]
        np.testing.assert_array_equal(docs.search(q, 5, exact=True).ids, index.search(q, 5, exact=True).ids)


def test_one_process_writes_a_collection_and_the_next_one_goes_on(shared, bz, vectors, same_answers):
    with shared.open() as second:
        with shared.open() as first:
            docs = first.create_collection("docs", bz)
            docs.upsert(range(50), vectors[:50])
            seen(second)
            there = second.collection("docs")
            for write in (
                lambda: there.upsert([1], vectors[:1]),
                lambda: there.delete([1]),
                there.flush,
                there.truncate,
                lambda: there.set_payloads([1], [{"a": 1}]),
            ):
                with pytest.raises(DatabaseLocked, match=r"'docs' is written by process .+:\d+, whose lease"):
                    write()
            other = second.create_collection("other", bz)  # each has its own
            other.upsert([1], vectors[:1])
            docs.upsert(range(50, 60), vectors[50:60])
        # It is closed: nobody waits, and what was written last is not lost.
        assert there.upsert([60], vectors[60:61]) == 1
        same_answers(there, {i: vectors[i] for i in range(61)})


def test_a_writer_that_lost_its_lease_can_commit_nothing(two, shared, postgres, bz, vectors, same_answers, tmp_path):
    first, second = two
    docs = first.create_collection("docs", bz)
    docs.upsert(range(50), vectors[:50])
    expire(postgres, shared)
    docs.upsert([50], vectors[50:51])  # nobody took it: it still holds
    seen(second)
    there = second.collection("docs")
    expire(postgres, shared)
    there.upsert([51], vectors[51:52])
    for write in (lambda: docs.upsert([0], vectors[90:91]), lambda: docs.upsert([0], vectors[90:91]), docs.flush):
        with pytest.raises(DatabaseLocked, match=r"holds its lease no more|is written by process"):
            write()
    same_answers(there, {i: vectors[i] for i in range(52)})
    seen(first)
    same_answers(docs, {i: vectors[i] for i in range(52)})
    assert not (tmp_path / "segments" / "segments").exists()
    expire(postgres, shared)
    assert docs.upsert([52], vectors[52:53]) == 1  # and back
    second._home._follower._renew()  # or a third of the lease later
    seen(second)
    same_answers(there, {i: vectors[i] for i in range(53)})


def test_a_seal_that_ends_after_the_lease_was_lost_changes_nothing(two, shared, postgres, bz, vectors, monkeypatch):
    first, second = two
    docs = first.create_collection("docs", bz)
    docs.upsert(range(50), vectors[:50])
    seen(second)
    there, files = second.collection("docs"), first._home.files
    publish = files.publish

    def late(row) -> None:
        publish(row)
        expire(postgres, shared)
        there.upsert([50], vectors[50:51])

    monkeypatch.setattr(files, "publish", late)
    with pytest.raises(DatabaseLocked):
        docs.flush()
    assert there.stats().segments == 0 and there.stats().tail_rows == 51
    there.flush()
    seen(first)
    assert docs.stats().segments == 1 and len(docs) == 51


def test_a_lease_is_renewed_and_its_loss_is_told(two, shared, postgres, bz, vectors, caplog):
    first, second = two
    docs = first.create_collection("docs", bz)
    docs.upsert([1], vectors[:1])
    expire(postgres, shared)
    first._home._follower._renew()
    with pytest.raises(DatabaseLocked):
        second.collection("docs").upsert([2], vectors[:1])
    expire(postgres, shared)
    second.collection("docs").upsert([2], vectors[:1])
    first._home._follower._renew()
    assert "the lease of collection 1 was lost" in caplog.text
    seen(first)
    assert len(docs) == 2


def test_a_commit_whose_answer_was_lost_is_read_before_the_next(shared, bz, vectors, monkeypatch):
    with shared.open() as db:
        docs = db.create_collection("docs", bz)
        docs.upsert([1], vectors[:1])
        commit = db._catalog._sql._writer.dialect.do_commit

        def lost(connection) -> None:
            commit(connection)
            connection.driver_connection.close()
            raise db._catalog._sql._writer.dialect.loaded_dbapi.OperationalError("the connection is lost")

        monkeypatch.setattr(db._catalog._sql._writer.dialect, "do_commit", lost)
        with pytest.raises(ConnectionError, match="whether it was written is not known: repeat it"):
            docs.upsert([2], vectors[1:2])
        monkeypatch.undo()
        docs.upsert([3], vectors[2:3])
        assert [row is not None for row in docs.get([1, 2, 3])] == [True] * 3
    with shared.open() as db:
        assert len(db.collection("docs")) == 3


def test_postgresql_restarts(shared, postgres, bz, vectors, queries, same_answers):
    with shared.open() as db, shared.open() as other:
        docs = db.create_collection("docs", bz)
        docs.upsert(range(100), vectors[:100])
        seen(other)
        postgres.stop()
        try:
            with pytest.raises(ConnectionError, match="cannot be reached"):
                docs.upsert([100], vectors[100:101])
            with pytest.raises(
                ConnectionError, match=r"cannot be reached: .*; nothing was changed: repeat it"
            ) as refused:
                other.collection("docs")
            assert "drop" not in str(refused.value) and "restore" not in str(refused.value)
            assert docs.search(queries[:1], 3).ids.min() >= 0
        finally:
            postgres.start()
        docs.upsert([101], vectors[101:102])
        same_answers(docs, {**{i: vectors[i] for i in range(100)}, 101: vectors[101]})


def test_writers_of_one_process_share_commits_and_a_follower_sees_whole_ones(two, bz, vectors):
    first, second = two
    docs = first.create_collection("docs", bz)
    seen(second)
    there, sizes = second.collection("docs"), []
    threads = [
        threading.Thread(target=lambda n=n: [docs.upsert(range(n * 50, n * 50 + 50), vectors[:50]) for _ in range(3)])
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen(second)
        sizes.append(len(there))
    seen(second)
    assert all(size % 50 == 0 for size in sizes) and len(there) == 150


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": None}, "segments is None: want the URL of an object store"),
        ({"cache_bytes": 0}, "cache_bytes is 0"),
        ({"lease_seconds": 0}, "lease_seconds is 0: want"),
    ],
)
def test_what_cannot_be_opened_is_refused(shared, options, message):
    with pytest.raises(ValueError, match=message):
        shared.open(**options)


def test_a_schema_that_is_not_there_is_named(postgres, tmp_path):
    url = f"{postgres.url}&options=-csearch_path%3Dnowhere"
    with pytest.raises(ValueError, match=r"postgresql\+?\w*://.*: no schema .*: create schema"):
        bebr.open(url, segments=f"file://{tmp_path}/segments", cache=tmp_path / "c")


def test_a_folder_and_another_databases_store_are_refused(shared, postgres, tmp_path, bz):
    with pytest.raises(ValueError, match="segments is 'file:///x', but path is a folder"):
        bebr.open(tmp_path, segments="file:///x")
    with shared.open() as db:
        db.register_model(bz)
        for call in (lambda: db.snapshot(tmp_path), lambda: db.restore_collection(tmp_path, "docs")):
            with pytest.raises(ValueError, match=r"pg_dump|out of snapshots"):
                call()
        with pytest.raises(DatabaseLocked):
            SharedHome(shared.url, shared.segments, db.path)
        assert str(db.info()["path"]).startswith("postgresql://")
    with pytest.raises(ValueError, match="which belongs to another database"):
        bebr.open(postgres.schema(), segments=shared.segments, cache=tmp_path / "c")
    with pytest.raises(ValueError, match="the catalog lists files, and none are there"):
        shared.open(segments=f"file://{tmp_path}/elsewhere")
