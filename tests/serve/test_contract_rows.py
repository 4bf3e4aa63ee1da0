"""What a user may rely on when rows are written and read, on disk or on a server."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import bebr
from bebr.collection.protocol import AlreadyExists
from tests.conftest import payloads_of
from tests.serve.rows import BOOKS

SOME = uuid.UUID("12345678-1234-5678-1234-567812345678")


def test_count(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    assert collection.count() == collection.count({"a": 1}) == 0
    collection.upsert(range(10), vectors[:10], [{"a": i % 2} if i < 6 else None for i in range(10)])
    assert collection.count() == 10 and collection.count({"a": 1}) == 3
    assert collection.count({"a": {"exists": False}}) == 4


def test_delete_by_filter(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    collection.upsert(range(300), vectors[:300], BOOKS[:300])
    collection.settle()
    collection.upsert(range(250, 350), vectors[:100], BOOKS[250:350])
    rest = {i for i in range(350) if BOOKS[i]["lang"] != "de"}
    assert collection.delete(filter={"lang": "de"}) == 350 - len(rest)
    assert collection.delete(filter={"lang": "de"}) == 0
    assert set(collection.search(vectors[0], 350).ids[0].tolist()) - {-1} == rest
    assert collection.delete(filter=(bebr.F("year") < 1995) | (bebr.F("tags") == "t2")) > 0
    assert collection.count({"year": {"lt": 1995}}) == collection.count({"tags": "t2"}) == 0
    left = len(collection)
    assert collection.delete(filter={}) == left and len(collection) == 0


def test_upsert_replaces_whole_rows_and_delete_removes_them(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    assert collection.upsert([], np.empty((0, 64), np.float32)) == 0
    assert collection.upsert([1, 2, 3], vectors[:3], [{"n": 1}, None, {"n": [3, "ü", None, 1.5, {"deep": True}]}]) == 3
    assert payloads_of(collection, [3, 1, 2, 1]) == [
        {"n": [3, "ü", None, 1.5, {"deep": True}]},
        {"n": 1},
        None,
        {"n": 1},
    ]
    assert collection.upsert([3, 4], vectors[10:12]) == 2
    assert len(collection) == 4
    assert payloads_of(collection, [3]) == [None]  # the payload went with the row it belonged to
    assert collection.search(vectors[10], 1).ids[0, 0] == 3
    assert collection.delete([1, 1, 2, 99]) == 2
    assert collection.delete([1]) == 0
    assert [row and row.id for row in collection.get([3, 1])] == [3, None]
    assert sorted(collection.search(vectors[0], 10).ids[0].tolist()) == [-1] * 8 + [3, 4]


def test_get_gives_rows_by_id_and_none_for_a_missing_one(db, name, any_bz, vectors):
    collection = db.create_collection(name, any_bz)
    collection.upsert([7, 2, 5], vectors[:3], [{"n": 7}, None, {"n": 5}])
    collection.settle()
    collection.upsert([2], vectors[3:4], [{"n": "new"}])
    rows = collection.get([5, 99, 2, 5])
    assert [row and (row.id, row.payload, row.vector) for row in rows] == [
        (5, {"n": 5}, None),
        None,
        (2, {"n": "new"}, None),
        (5, {"n": 5}, None),
    ]
    row, missing = collection.get([2, 3], payloads=False, vectors=True)
    assert missing is None and row.payload is None and row.vector.dtype == np.float32
    np.testing.assert_array_equal(row.vector, any_bz.reconstructed(any_bz.encode(vectors[3:4]))[0])
    assert collection.get([]) == []


def test_scroll_pages_through_all_rows_in_the_order_of_ids(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    ids = np.random.default_rng(0).permutation(3000)
    collection.upsert(ids[:2000], vectors[:2000], [{"id": i} for i in ids[:2000].tolist()])
    collection.settle()
    collection.upsert(ids[1000:], vectors[1000:])  # half of the segment is dead now
    collection.delete(range(0, 3000, 10))
    left = [i for i in range(3000) if i % 10]
    for limit in (1, 7, 1000, 5000):
        page = collection.scroll(limit=limit)
        assert [row.id for row in page] == left[:limit]
        assert [row.id for row in collection.scroll(limit=limit, after=1234)] == [i for i in left if i > 1234][:limit]
    assert page[0].payload == ({"id": 1} if 1 in ids[:1000] else None)
    held = [i for i in ids[:1000].tolist() if i % 10]  # the others have no payload any more
    some = sorted(i for i in held if 500 <= i < 2000)
    page = collection.scroll(limit=100, after=700, filter={"id": {"gte": 500, "lt": 2000}})
    assert [row.id for row in page] == [i for i in some if i > 700][:100]
    rows = dict(zip(ids.tolist(), vectors, strict=True))
    first = collection.scroll(limit=2, payloads=False, vectors=True)
    np.testing.assert_array_equal(
        [row.vector for row in first], bz.reconstructed(bz.encode(np.stack([rows[1], rows[2]])))
    )
    assert collection.scroll(after=2999) == collection.scroll(after=2**63 - 1) == []


def test_a_scroll_under_writes_shows_every_lasting_row_once(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    collection.upsert(range(0, 600, 2), vectors[:300])
    seen, after = [], None
    while page := collection.scroll(limit=50, after=after):
        seen += [row.id for row in page]
        after = seen[-1]
        collection.upsert(range(1, 600, 2), vectors[:300])  # new ones between
        collection.upsert(range(0, 600, 4), vectors[300:450])  # and old ones written again
        collection.settle()
    assert [i for i in seen if i % 2 == 0] == list(range(0, 600, 2)) and len(set(seen)) == len(seen)


def test_of_an_id_that_comes_twice_the_last_row_is_written(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    payloads = [{"n": n} for n in range(5)]
    assert collection.upsert([4, 8, 4, 8, 1], vectors[:5], payloads) == 3
    assert payloads_of(collection, [1, 4, 8]) == [{"n": 4}, {"n": 2}, {"n": 3}]
    assert collection.search(vectors[2:5], 1, exact=True).ids[:, 0].tolist() == [4, 8, 1]
    assert collection.upsert([3, 3], vectors[:2]) == 1 and len(collection) == 4


def test_an_insert_leaves_what_is_there(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    assert collection.upsert([1, "a"], vectors[:2], [{"n": 1}, {"n": 2}], on_conflict="error") == 2
    with pytest.raises(AlreadyExists, match="ids holds 'a', which is there already: nothing was written"):
        collection.upsert([7, "a"], vectors[2:4], [{"n": 7}, {"n": 8}], on_conflict="error")
    assert collection.get([7]) == [None] and payloads_of(collection, ["a"]) == [{"n": 2}]
    collection.settle()
    ids = [1, 7, "a", "b", 9, 10, 11]
    assert collection.upsert(ids, vectors[4:11], [{"new": i} for i in range(7)], on_conflict="skip") == 5
    now = [{"n": 1}, {"new": 1}, {"n": 2}, {"new": 3}, {"new": 4}, {"new": 5}, {"new": 6}]
    assert payloads_of(collection, ids) == now
    assert collection.search(vectors[[5, 7]], 1, exact=True).ids.tolist() == [[7], ["b"]]
    assert collection.upsert(ids[:2], vectors[:2], on_conflict="skip") == 0
    assert collection.delete([7]) == 1
    assert collection.upsert([7, 7], [None, vectors[20]], [{"n": 0}, {"n": 1}], on_conflict="error") == 1
    assert payloads_of(collection, [7]) == [{"n": 1}] and len(collection) == 7
    with pytest.raises(ValueError, match="on_conflict is 'ignore': want 'replace', 'skip' or 'error'"):
        collection.upsert([1], vectors[:1], on_conflict="ignore")


def test_of_many_that_insert_an_id_one_does(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    with ThreadPoolExecutor(8) as pool:

        def insert(writer: int) -> list[int]:
            return [collection.upsert([i], vectors[i : i + 1], [{"by": writer}], on_conflict="skip") for i in range(20)]

        done = list(pool.map(insert, range(8)))
    assert np.sum(done, axis=0).tolist() == [1] * 20
    by = [row.payload["by"] for row in collection.get(range(20))]
    assert all(done[writer][i] for i, writer in enumerate(by))


@pytest.mark.parametrize("sealed", [False, True])
def test_set_payloads_changes_payloads_and_nothing_else(db, name, any_bz, vectors, queries, sealed):
    collection = db.create_collection(name, any_bz)
    collection.upsert(range(200), vectors[:200], [{"n": i, "old": True} for i in range(200)])
    if sealed:
        collection.settle()
    collection.upsert(range(100, 200), vectors[100:200])
    before = collection.search(queries, 200, exact=True)
    assert collection.set_payloads([150, 7, 999, 3], [{"new": 150}, {"new": 7}, {"new": 999}, None]) == 3
    assert payloads_of(collection, [3, 7, 8, 150]) == [None, {"new": 7}, {"n": 8, "old": True}, {"new": 150}]
    assert collection.get([999]) == [None] and len(collection) == 200
    changes = [{"old": 1, "b": "ü"}, {"b": None}, {"b": 2}, None]
    assert collection.set_payloads([8, 150, 151, 9], changes, merge=True) == 4
    assert payloads_of(collection, [8, 150, 151, 9]) == [
        {"n": 8, "old": 1, "b": "ü"},
        {"new": 150, "b": None},
        {"b": 2},
        {"n": 9, "old": True},
    ]
    after = collection.search(queries, 200, exact=True)
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_array_equal(after.scores, before.scores)
    assert collection.set_payloads([999], [{}]) == collection.set_payloads([], []) == 0


def test_truncate_leaves_an_empty_collection_that_goes_on(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    assert collection.truncate() == 0
    collection.upsert(range(100), vectors[:100])
    collection.settle()
    collection.upsert(range(50, 150), vectors[50:150])
    assert collection.truncate() == 150
    assert len(collection) == 0 and collection.scroll() == [] and (collection.search(vectors[0]).ids == -1).all()
    assert collection.stats().segments == collection.stats().tail_rows == collection.stats().bytes_on_disk == 0
    assert collection.upsert([5], vectors[:1], [{"a": 1}]) == 1
    assert payloads_of(collection, [5]) == [{"a": 1}] and len(db.collection(name)) == 1


def test_ids_may_be_ints_strings_and_uuids(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    ids = [5, "five", "5", SOME, str(SOME), "ü" * 512, 2**63 - 1]
    assert collection.search(vectors[0], 2).ids.dtype == np.int64
    assert collection.upsert(ids, vectors[:7], [{"n": n} for n in range(7)]) == 7
    collection.settle()
    assert collection.upsert(["five", "six", "five"], vectors[7:10], [{"n": n} for n in (7, 8, 9)]) == 2
    now = dict(zip(ids, range(7), strict=True)) | {"five": 9, "six": 8}
    assert len(collection) == 8 and [row.id for row in collection.get(ids)] == ids
    assert payloads_of(collection, list(now)) == [{"n": n} for n in now.values()]
    assert collection.get(["six", "seven", 6, 5])[1:3] == [None, None]
    for id, n in now.items():
        hits = collection.search(vectors[n], 1, exact=True, with_payloads=True)
        assert hits.ids.tolist() == [[id]] and hits.ids.dtype == object and hits.payloads == [[{"n": n}]]
    hits = collection.search(vectors[:2], 4, allow=["five", SOME, 5, 77, "none"])
    assert [set(row) for row in hits.ids.tolist()] == [{"five", SOME, 5, None}] * 2
    assert {row.id for row in collection.scroll(limit=99)} == set(now)
    seen, after = [], None
    while page := collection.scroll(limit=3, after=after):
        seen += [row.id for row in page]
        after = seen[-1]
    assert seen[0] == 5 and len(seen) == 8 and set(seen) == set(now)
    near = collection.search_ids(["six", 5], 7, exact=True)
    assert [set(row) for row in near.ids.tolist()] == [set(now) - {"six"}, set(now) - {5}]
    with pytest.raises(KeyError, match="id 'seven'"):
        collection.search_ids(["six", "seven"])
    assert collection.set_payloads(["six", "seven", SOME], [{"a": 1}] * 3, merge=True) == 2
    assert payloads_of(collection, ["six", SOME]) == [{"n": 8, "a": 1}, {"n": 3, "a": 1}]
    assert collection.delete(["six", "seven", 5, SOME, SOME]) == 3
    assert collection.get(["six", 5, SOME, "5"])[:3] == [None] * 3 and len(collection) == 5
    assert collection.truncate() == 5 and collection.search(vectors[0], 2).ids.tolist() == [[-1, -1]]


def test_ids_reach_to_the_end_of_int64(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    ids = np.array([0, 2**53 + 1, 2**63 - 1])
    collection.upsert(ids, vectors[:3], [{"id": int(i)} for i in ids])
    assert collection.search(vectors[:3], 1).ids[:, 0].tolist() == ids.tolist()
    assert payloads_of(collection, ids) == [{"id": int(i)} for i in ids]
    mixed = [np.uint64(2**63 - 1), 2**53 + 1, np.int8(0)]
    assert [row.id for row in collection.get(mixed)] == [2**63 - 1, 2**53 + 1, 0]


@pytest.mark.parametrize("keep", [None, "float16", "int8"])
def test_rows_without_a_vector(db, name, bz, vectors, keep):
    """No search finds them; everything else does."""
    collection = db.create_collection(name, bz, keep=keep)
    ids = [0, "one", 2, SOME]
    assert collection.upsert(ids, [vectors[0], None, vectors[2], None], [{"n": i} for i in range(4)]) == 4
    for _ in range(2):  # in memory, then from a file
        assert len(collection) == 4 and collection.count({"n": {"gte": 1}}) == 3
        rows = collection.get(ids, vectors=True)
        assert [row.vector is None for row in rows] == [False, True, False, True]
        assert [row.payload for row in rows] == [{"n": i} for i in range(4)]
        np.testing.assert_allclose(rows[2].vector @ vectors[2] / np.linalg.norm(rows[2].vector), 1, atol=0.2)
        assert {row.id: row.vector is None for row in collection.scroll(vectors=True)} == {
            0: False,
            "one": True,
            2: False,
            SOME: True,
        }
        for options in ({}, {"exact": True}, {"allow": ids}, {"filter": {"n": {"gte": 0}}}, {"query": "code"}):
            assert collection.search(vectors[0], 4, **options).ids.tolist() == [[0, 2, None, None]]
        assert collection.search(vectors[0], 4, filter={"n": {"gte": 1}}).ids.tolist() == [[2, None, None, None]]
        assert collection.search(vectors[0], 3, group_by="n").groups == [[0, 2, None]]
        assert collection.search_ids([0], 2).ids.tolist() == [[2, None]]
        with pytest.raises(ValueError, match="'one' has no vector"):
            collection.search_ids([2, "one"], 1)
        collection.settle()
    collection.set_payloads(["one"], [{"more": 1}], merge=True)
    row = collection.get(["one"], vectors=True)[0]
    assert row.payload == {"n": 1, "more": 1} and row.vector is None
    assert collection.upsert([0], None, [{"n": 0}]) == 1  # it had one
    assert collection.upsert(["one"], vectors[1:2]) == 1  # it had none
    collection.settle()
    assert set(collection.search(vectors[1], 4).ids[0].tolist()) == {"one", 2, None}
    assert collection.delete(filter={"n": {"in": [0, 3]}}) == 2
    assert collection.get([0, SOME]) == [None, None]
    assert collection.upsert([], []) == 0
    with pytest.raises(ValueError, match="2 entries and x 1 rows"):
        collection.upsert([5, 6], [None])
    with pytest.raises(ValueError, match=r"x\[1, 3\] is nan"):
        collection.upsert([5, 6], [None, np.where(np.arange(64) == 3, np.nan, vectors[0])])
