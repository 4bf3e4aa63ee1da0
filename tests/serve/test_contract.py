"""What a user may rely on, of a local database and of a server alike."""

from __future__ import annotations

import copy
import itertools
import pickle
import uuid

import numpy as np
import pytest

import bebr
from bebr.collection.filter_form import as_filter
from bebr.collection.protocol import AlreadyExists
from bebr.training.compat.compatible import make_compatible
from tests.conftest import payloads_of, recall

SOME = uuid.UUID("12345678-1234-5678-1234-567812345678")
_names = (f"contract-{i}" for i in itertools.count())


@pytest.fixture
def name():
    return next(_names)


@pytest.fixture(scope="module", params=[("cosine", 1), ("ip", 4), ("l2", 2)], ids=lambda p: f"{p[0]}-{p[1]}")
def any_bz(request, vectors):
    metric, factor_bytes = request.param
    return bebr.train(_stretched(vectors), widths=[48, 16], metric=metric, factor_bytes=factor_bytes, seed=0)


def _stretched(vectors):
    return vectors * np.linspace(0.5, 2, len(vectors), dtype=np.float32)[:, None]


def test_answers_are_those_of_an_index_bit_for_bit(db, name, any_bz, vectors, queries):
    x = _stretched(vectors)[:2000]
    index = bebr.FlatIndex(any_bz)
    index.add(x)
    collection = db.create_collection(name, any_bz)
    assert collection.upsert(np.arange(2000), x) == 2000
    collection.flush()
    for q in (queries, queries[0], queries[:7].astype(np.float16)):
        for k in (1, 10):
            for options in (
                {},
                {"query": "code"},
                {"oversampling": 3},
                {"exact": True},
                {"allow": np.arange(0, 2000, 7)},
            ):
                hits = collection.search(q, k, **options)
                single = [index.search(one, k, **options) for one in np.atleast_2d(q)]  # whatever the batch
                np.testing.assert_array_equal(hits.ids, np.concatenate([one.ids for one in single]))
                np.testing.assert_array_equal(hits.scores, np.concatenate([one.scores for one in single]))
                assert hits.ids.dtype == np.int64 and hits.scores.dtype == np.float32 and hits.payloads is None


@pytest.fixture(scope="module")
def newer(bz, vectors):
    """Of another producer with 80 dimensions, whose queries may search codes of ``bz``."""
    turned = np.hstack([vectors[:, ::-1], vectors[:, :16]])
    plain = bebr.train(turned, widths=[64, 32], seed=0)
    return make_compatible(plain, bz, turned, vectors, epochs=0)


def test_queries_of_a_newer_model_search_older_codes(db, name, bz, newer, vectors, queries):
    q = np.hstack([queries[:, ::-1], queries[:, :16]])
    index = bebr.FlatIndex(bz)
    index.add(vectors)
    collection = db.create_collection(name, bz)
    collection.upsert(np.arange(len(vectors)), vectors, [{"row": i} for i in range(len(vectors))])
    assert db.register_model(newer) == newer.digest
    for options in ({}, {"query": "code"}, {"exact": True}, {"allow": np.arange(0, 3000, 7)}):
        hits = collection.search(q, 10, binarizer=newer, **options)
        single = [index.search(one, 10, binarizer=newer, **options) for one in q]
        np.testing.assert_array_equal(hits.ids, np.concatenate([one.ids for one in single]))
        np.testing.assert_array_equal(hits.scores, np.concatenate([one.scores for one in single]))
    assert recall(hits.ids, collection.search(queries, 10, **options).ids) > 0.5  # linear maps undo a turn
    hits = collection.search(q[0], 2, binarizer=newer, with_payloads=True)
    assert hits.payloads == [[{"row": i} for i in hits.ids[0].tolist()]]
    own = collection.search(queries, 10, binarizer=bz)
    np.testing.assert_array_equal(own.scores, collection.search(queries, 10).scores)
    with pytest.raises(ValueError, match=r"want \(n, 80\)"):
        collection.search(queries, 10, binarizer=newer)
    stranger = bebr.train(vectors[:500], widths=[32], seed=0)
    db.register_model(stranger)
    with pytest.raises(bebr.IncompatibleModel, match=f"{stranger.digest}.*{bz.digest}"):
        collection.search(queries, 10, binarizer=stranger)
    assert len(collection.search(queries, 10).ids) == len(queries)


def test_queries_with_an_encoder_and_dimensions_of_their_own(db, name, bz, queries):
    """A model of pairs whose query side takes 80 dimensions where documents have 64."""
    widened = np.eye(64, 80, dtype=np.float32)
    tensors = bz.tensors | {"query_front.0.weight": widened, "query_front.0.bias": np.zeros(64, np.float32)}
    two = bebr.Binarizer.from_tensors(tensors, bz.config | {"query_dim": 80, "query_front": {"skip": 0.0}})
    collection = db.create_collection(name, two)
    collection.upsert(range(50), queries)
    q = np.hstack([queries, np.zeros((50, 16), np.float32)])
    assert (collection.search(q, 1).ids[:, 0] == np.arange(50)).mean() > 0.9
    assert collection.stats().model.query_dim == 80 and collection.stats().model.input_dim == 64
    with pytest.raises(ValueError, match=r"want \(n, 80\)"):
        collection.search(queries, 1)


def test_fewer_rows_than_k(db, name, any_bz, vectors, queries):
    collection = db.create_collection(name, any_bz)
    worst = np.inf if any_bz.metric == "l2" else -np.inf
    scores, ids = collection.search(queries[:3], 4)
    assert ids.tolist() == [[-1] * 4] * 3 and (scores == worst).all()
    collection.upsert([7, 9], vectors[:2], [{"a": 1}, None])
    hits = collection.search(queries[:3], 4, with_payloads=True)
    for ids, scores, payloads in zip(hits.ids, hits.scores, hits.payloads, strict=True):
        assert set(ids[:2].tolist()) == {7, 9} and ids[2:].tolist() == [-1, -1]
        assert np.isfinite(scores[:2]).all() and (scores[2:] == worst).all()
        assert payloads == [{7: {"a": 1}, 9: None, -1: None}[i] for i in ids.tolist()]
    assert (collection.search(queries[:3], 4, allow=[]).ids == -1).all()
    assert collection.search(queries[0], 4, allow=[9, 1000]).ids.tolist() == [[9, -1, -1, -1]]


BOOKS = [{"lang": ("de", "en", "fr")[i % 3], "year": 1990 + i % 40, "tags": [f"t{i % 7}", "all"]} for i in range(600)]


def test_filters(db, name, any_bz, vectors, queries):
    """The rows that match, and those only, scored as if they were alone; whether sealed or not."""
    x = _stretched(vectors)[:600]
    collection = db.create_collection(name, any_bz)
    collection.upsert(np.arange(500), x[:500], BOOKS[:500])
    collection.flush()
    collection.upsert(np.arange(500, 600), x[500:], BOOKS[500:])
    collection.delete([0, 3, 501])
    for filter in (
        {"lang": "de"},
        bebr.F("year") >= 2020,
        {"tags": {"contains": "t3"}, "year": {"lt": 2000}},
        (bebr.F("lang") == "en") & ~bebr.F("tags").contains("t1") | (bebr.F("year") == 1999),
        {"lang": "it"},
        {},
    ):
        wanted = as_filter(filter)
        rows = [i for i, book in enumerate(BOOKS) if wanted.matches(book) and i not in (0, 3, 501)]
        assert collection.count(filter) == len(rows)
        alone = bebr.FlatIndex(any_bz)
        if rows:
            alone.add(x[rows], rows)
        for k in (1, 10, 400):
            hits, expected = (
                c.search(queries[:3], k, exact=True, **o) for c, o in ((collection, {"filter": filter}), (alone, {}))
            )
            np.testing.assert_array_equal(hits.ids, expected.ids)
            np.testing.assert_array_equal(hits.scores, expected.scores)
            assert ((collection.search(queries[:3], k, filter=filter).ids >= 0).sum(axis=1) == min(k, len(rows))).all()
        both = collection.search(queries[0], 600, filter=filter, allow=np.arange(100, 550), with_payloads=True)
        assert set(both.ids[both.ids >= 0].tolist()) == {row for row in rows if 100 <= row < 550}
        assert all(payload is None or wanted.matches(payload) for payload in both.payloads[0])


def test_count(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    assert collection.count() == collection.count({"a": 1}) == 0
    collection.upsert(range(10), vectors[:10], [{"a": i % 2} if i < 6 else None for i in range(10)])
    assert collection.count() == 10 and collection.count({"a": 1}) == 3
    assert collection.count({"a": {"exists": False}}) == 4


def test_delete_by_filter(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    collection.upsert(range(300), vectors[:300], BOOKS[:300])
    collection.flush()
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
    collection.flush()
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
    collection.flush()
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
        collection.flush()
    assert [i for i in seen if i % 2 == 0] == list(range(0, 600, 2)) and len(set(seen)) == len(seen)


def test_of_an_id_that_comes_twice_the_last_row_is_written(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    payloads = [{"n": n} for n in range(5)]
    assert collection.upsert([4, 8, 4, 8, 1], vectors[:5], payloads) == 3
    assert payloads_of(collection, [1, 4, 8]) == [{"n": 4}, {"n": 2}, {"n": 3}]
    assert collection.search(vectors[2:5], 1, exact=True).ids[:, 0].tolist() == [4, 8, 1]
    assert collection.upsert([3, 3], vectors[:2]) == 1 and len(collection) == 4


@pytest.mark.parametrize("sealed", [False, True])
def test_set_payloads_changes_payloads_and_nothing_else(db, name, any_bz, vectors, queries, sealed):
    collection = db.create_collection(name, any_bz)
    collection.upsert(range(200), vectors[:200], [{"n": i, "old": True} for i in range(200)])
    if sealed:
        collection.flush()
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
    collection.flush()
    collection.upsert(range(50, 150), vectors[50:150])
    assert collection.truncate() == 150
    assert len(collection) == 0 and collection.scroll() == [] and (collection.search(vectors[0]).ids == -1).all()
    assert collection.stats().segments == collection.stats().tail_rows == collection.stats().bytes_on_disk == 0
    assert collection.upsert([5], vectors[:1], [{"a": 1}]) == 1
    assert payloads_of(collection, [5]) == [{"a": 1}] and len(db.collection(name)) == 1


def test_radius_and_offset_show_a_part_of_the_ranking(db, name, any_bz, vectors, queries):
    collection = db.create_collection(name, any_bz)
    collection.upsert(range(500), vectors[:500], [{"n": i} for i in range(500)])
    whole = collection.search(queries, 30, exact=True)
    part = collection.search(queries, 10, exact=True, offset=20, with_payloads=True)
    np.testing.assert_array_equal(part.ids, whole.ids[:, 20:])
    np.testing.assert_array_equal(part.scores, whole.scores[:, 20:])
    assert part.payloads == [[{"n": i} for i in row] for row in part.ids.tolist()]
    radius = float(np.median(whole.scores))
    near = collection.search(queries, 30, exact=True, radius=radius)
    within = whole.scores <= radius if any_bz.metric == "l2" else whole.scores >= radius
    np.testing.assert_array_equal(near.ids, np.where(within, whole.ids, -1))
    assert (collection.search(queries[:1], 5, offset=500).ids == -1).all()


def test_hits_come_in_groups(db, name, bz, vectors, queries):
    collection = db.create_collection(name, bz)
    rng = np.random.default_rng(0)
    langs = ["rare" if i == 77 else str(rng.choice(["de", "en", "fr"], p=[0.05, 0.9, 0.05])) for i in range(3000)]
    payloads = [{"meta": {"lang": lang}, "row": i} if i % 100 else None for i, lang in enumerate(langs)]
    collection.upsert(range(3000), vectors, payloads)
    collection.flush()
    whole = collection.search(queries, 3000, exact=True)
    for k, size, offset in ((2, 1, 0), (4, 2, 0), (6, 40, 0), (2, 3, 1)):
        hits = collection.search(
            queries[:5], k, exact=True, group_by="meta.lang", group_size=size, offset=offset, with_payloads=True
        )
        assert hits.ids.shape == hits.scores.shape == (5, k * size)
        for n, (ids, values) in enumerate(zip(hits.ids.tolist(), hits.groups, strict=True)):
            ranks: dict[str, list[int]] = {}
            for i in whole.ids[n].tolist():
                if i % 100:
                    ranks.setdefault(langs[i], []).append(i)
            best = list(ranks.items())[offset : offset + k]
            assert values == [lang for lang, _ in best] + [None] * (k - len(best))
            expected = [(rows[:size] + [-1] * size)[:size] for _, rows in best] + [[-1] * size] * (k - len(best))
            assert ids == list(itertools.chain(*expected))
            assert hits.payloads[n] == [payloads[i] if i >= 0 else None for i in ids]
    assert collection.search(queries[:1], 2, group_by="nothing").groups == [[None, None]]


def test_a_row_is_in_the_group_of_each_value_it_has(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    tags = [["a", "b"], ["a"], ["c", 1], [True], [{"no": "value"}], [], "a", 1.0]
    collection.upsert(range(8), vectors[:8], [{"tag": tag} for tag in tags])
    hits = collection.search(vectors[0], 9, exact=True, group_by="tag", group_size=4)
    found = dict(zip(map(repr, hits.groups[0]), hits.ids.reshape(9, 4).tolist(), strict=True))
    rows = {value: {i for i in ids if i >= 0} for value, ids in found.items() if value != "None"}
    one = "1" if "1" in rows else "1.0"
    assert rows == {"'a'": {0, 1, 6}, "'b'": {0}, "'c'": {2}, one: {2, 7}, "True": {3}}


def test_rows_search_by_their_ids_and_leave_themselves_out(db, name, any_bz, vectors):
    collection, index = db.create_collection(name, any_bz), bebr.FlatIndex(any_bz)
    index.add(vectors[:500])
    collection.upsert(range(500), vectors[:500], [{"n": i} for i in range(500)])
    ids = [7, 300, 7]
    for options in ({"exact": True}, {"exact": True, "allow": np.arange(0, 500, 3)}):
        hits, expected = collection.search_ids(ids, 10, **options), index.search_ids(ids, 10, **options)
        np.testing.assert_array_equal(hits.ids, expected.ids)
        np.testing.assert_array_equal(hits.scores, expected.scores)
    hits = collection.search_ids([7], 3, exact=True, offset=2, with_payloads=True)
    np.testing.assert_array_equal(hits.ids[0], index.search_ids([7], 5, exact=True).ids[0, 2:])
    assert hits.payloads == [[{"n": i} for i in hits.ids[0].tolist()]]
    with pytest.raises(KeyError, match="id 1234"):
        collection.search_ids([7, 1234])


def test_ids_may_be_ints_strings_and_uuids(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    ids = [5, "five", "5", SOME, str(SOME), "ü" * 512, 2**63 - 1]
    assert collection.search(vectors[0], 2).ids.dtype == np.int64
    assert collection.upsert(ids, vectors[:7], [{"n": n} for n in range(7)]) == 7
    collection.flush()
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


def test_stats(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    collection.upsert(range(100), vectors[:100])
    before = collection.stats()
    assert (before.rows, before.segments, before.tail_rows, before.dead_rows) == (100, 0, 100, 0)
    assert before.bytes_on_disk == 100 * (bz.bytes_per_vector + 8)
    collection.flush()
    collection.delete([1, 2])
    after = collection.stats()
    assert (after.rows, after.segments, after.tail_rows, after.dead_rows) == (98, 1, 0, 2)
    assert after.model.digest == bz.digest and after.bytes_per_vector == bz.bytes_per_vector
    assert after.model.widths == bz.widths and after.model.metric == "cosine" and after.model.input_dim == 64


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_kept_vectors_give_exact_scores(db, name, any_bz, vectors, queries, kind):
    x = _stretched(vectors)
    index = bebr.FlatIndex(any_bz, rescore=kind)
    index.add(x)
    collection = db.create_collection(name, any_bz, keep=kind)
    collection.upsert(range(2000), x[:2000])
    collection.flush()
    collection.upsert(range(2000, 3000), x[2000:])
    for options in ({}, {"rescore": 200}, {"query": "code"}, {"allow": np.arange(0, 3000, 7)}, {"exact": True}):
        hits = collection.search(queries, 10, **options)
        single = [index.search(one, 10, **options) for one in queries]  # whatever the batch
        np.testing.assert_array_equal(hits.ids, np.concatenate([one.ids for one in single]))
        np.testing.assert_allclose(hits.scores, np.concatenate([one.scores for one in single]), rtol=1e-5)
    by_code = collection.search(queries, 10, rescore=0, exact=True)
    np.testing.assert_array_equal(by_code.scores, index.search(queries, 10, rescore=0, exact=True).scores)
    stats = collection.stats()
    assert stats.kept_bytes == {"float16": 128, "int8": 68}[kind]
    assert stats.bytes_per_vector == any_bz.bytes_per_vector + stats.kept_bytes == index.bytes_per_vector


def test_collections_come_and_go(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    assert collection.name == name and collection.binarizer.digest == bz.digest
    assert name in db.collections() and name in db
    with pytest.raises(AlreadyExists, match=name):
        db.create_collection(name, bz)
    collection.upsert([1], vectors[:1])
    assert len(db.collection(name)) == 1
    assert len(db.create_collection(name, bz, exist_ok=True)) == 1
    assert len(db.create_collection(name, dim=64, exist_ok=True)) == 1
    for other in ({"dim": 32}, {"dim": 64, "metric": "l2"}, {"bz": bebr.untrained(64, 10)}):
        with pytest.raises(AlreadyExists, match=f"{name}.* already exists with"):
            db.create_collection(name, **other, exist_ok=True)
    db.drop_collection(name)
    assert name not in db.collections() and name not in db and 5 not in db
    for call in (lambda: db.collection(name), lambda: db.drop_collection(name), lambda: collection.search(vectors[0])):
        with pytest.raises(KeyError, match=name):
            call()
    again = db.create_collection(name, bz)
    assert len(again) == 0 and again.upsert([1], vectors[:1]) == 1


@pytest.mark.parametrize("bz", [5, None, "model.bebr", b"bytes"])
def test_what_is_no_model_is_refused(db, name, bz):
    for call in (lambda: db.create_collection(name, bz), lambda: db.register_model(bz)):
        with pytest.raises(ValueError, match=r"bz is .*: want a bebr\.Binarizer"):
            call()
    assert name not in db.collections()


def test_an_alias_moves_from_one_collection_to_another(db, name, bz, vectors):
    old, new, live = f"{name}-old", f"{name}-new", f"{name}-live"
    for collection, row in ((old, 1), (new, 2)):
        db.create_collection(collection, bz).upsert([row], vectors[:1])
    db.set_alias(live, old)
    assert db.aliases()[live] == old and live not in db.collections()
    assert db.collection(live).search(vectors[0], 1).ids.tolist() == [[1]]
    db.set_alias(live, new)
    assert db.collection(live).search(vectors[0], 1).ids.tolist() == [[2]]
    db.set_alias(live, old)  # back
    assert db.collection(live).upsert([3], vectors[1:2]) == 1 and len(db.collection(old)) == 2
    with pytest.raises(AlreadyExists, match=f"'{live}' is an alias of '{old}'"):
        db.create_collection(live, bz)
    with pytest.raises(AlreadyExists, match=f"'{old}' is a collection"):
        db.set_alias(old, new)
    with pytest.raises(ValueError, match="name is 'a b'"):
        db.set_alias("a b", new)
    for call in (
        lambda: db.set_alias(live, f"{name}-none"),
        lambda: db.drop_alias(f"{name}-none"),
        lambda: db.drop_collection(live),
    ):
        with pytest.raises(KeyError, match=name):
            call()
    db.set_alias(f"{name}-other", new)
    db.drop_alias(live)
    db.drop_collection(new)
    assert not [alias for alias in db.aliases() if alias.startswith(name)]
    assert len(db.collection(old)) == 2


def test_a_collection_gets_another_model(db, name, bz, vectors, queries):
    collection = db.create_collection(name, bz, keep="float16")
    collection.upsert(range(3000), vectors, [{"n": i} for i in range(3000)])
    want = collection.search(queries, 10, rescore=300)
    larger = bebr.train(vectors, widths=[64, 32], metric="cosine", seed=0)
    held = db.collection(name)
    collection.migrate(larger, wait=True)
    np.testing.assert_array_equal(held.search(queries, 10).ids, collection.search(queries, 10).ids)
    stats = collection.stats()
    assert collection.binarizer.digest == stats.model.digest == larger.digest
    assert (stats.target, stats.rows_behind, stats.rows) == ("", 0, 3000)
    found = collection.search(queries, 10, rescore=300)
    assert recall(found.ids, want.ids) > 0.99
    assert payloads_of(db.collection(name), [7]) == [{"n": 7}]
    plain = db.create_collection(f"{name}-plain", bz)
    with pytest.raises(ValueError, match="keeps no vectors to re-encode"):
        plain.migrate(larger)
    with pytest.raises(ValueError, match=r"bz is 5: want a bebr\.Binarizer"):
        collection.migrate(5)


def test_a_collection_without_a_model(db, name):
    docs = db.create_collection(name, dim=3, metric="l2")
    assert docs.upsert([1, 2, 3], [[1, 0, 0], [0, 10, 0], [0, 0, 100]], [{"n": 1}, None, {"n": 3}]) == 3
    hits = docs.search([[0, 0, 99], [0, 9, 0]], 2, with_payloads=True)
    assert hits.ids.tolist() == [[3, 1], [2, 1]]
    np.testing.assert_allclose(hits.scores, [[1, 9802], [1, 82]])
    assert hits.payloads == [[{"n": 3}, {"n": 1}], [None, {"n": 1}]]
    stats = docs.stats()
    assert (stats.model.input_dim, stats.model.metric, stats.kept_bytes) == (3, "l2", 6)
    small = db.create_collection(f"{name}-small", dim=384, bytes_per_vector=52, keep=None).stats()
    assert (small.bytes_per_vector, small.kept_bytes, small.model.metric) == (52, 0, "cosine")
    for arguments, words in (
        ({}, "or dim="),
        ({"dim": 0}, "dim is 0"),
        ({"dim": 3, "metric": "dot"}, "metric is 'dot'"),
    ):
        with pytest.raises(ValueError, match=words):
            db.create_collection(f"{name}-bad", **arguments)
    with pytest.raises(AlreadyExists, match=name):
        db.create_collection(name, dim=3)


def test_a_collection_trains_anew_and_measures_its_recall(db, name, vectors, queries):
    docs = db.create_collection(name, dim=64, bytes_per_vector=10, retrain=False)
    with pytest.raises(ValueError, match="no vectors to train on"):
        docs.retrain()
    docs.upsert(range(3000), vectors)
    before = docs.measure_recall(queries, 10, rescore=0)
    assert before.queries == 50 and before.k == 10 and 0 < before.low < before.recall < before.high < 1
    docs.retrain(wait=True)
    after = docs.measure_recall(queries, 10, rescore=0)
    assert after.recall > before.recall + 0.05
    assert docs.measure_recall(200).recall > 0.9
    assert docs.stats().model.bytes_per_vector == 10
    for call, words in (
        (lambda: docs.measure_recall(0), "sample is 0"),
        (lambda: docs.measure_recall(queries[:, :3]), r"want \(n, 64\)"),
        (lambda: docs.measure_recall(10, 0), "k is 0"),
        (lambda: docs.retrain(10_000), "bytes_per_vector is 10000"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_vectors_are_kept_as_what_there_is(db, name, bz):
    with pytest.raises(ValueError, match="keep is 'float32': want None, 'float16' or 'int8'"):
        db.create_collection(name, bz, keep="float32")
    assert name not in db.collections()


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy], ids=["pickle", "copy"])
def test_what_is_open_is_neither_pickled_nor_copied(db, name, bz, take):
    for handle in (db, db.create_collection(name, bz)):
        with pytest.raises(TypeError, match="cannot be pickled or copied: open it anew"):
            take(handle)


def test_models(db, bz):
    assert db.register_model(bz) == db.register_model(bz) == bz.digest
    assert bz.digest in [model.digest for model in db.models()]
    assert db.model(bz.digest).to_bytes() == bz.to_bytes()
    with pytest.raises(KeyError, match="0123"):
        db.model("0123")


def test_info(db):
    info = db.info()
    assert info["version"] == bebr.__version__
    assert info["isa"] == bebr.info()["isa"] and info["threads"] >= 1


BAD = {
    "dimension of x": (lambda c, x: c.upsert([1, 2], x[:2, :-1]), "want (n, 64)"),
    "dimension of q": (lambda c, x: c.search(x[:2, :-1]), "want (n, 64)"),
    "three axes": (lambda c, x: c.search(x[None, :2]), "want (n, 64)"),
    "no query": (lambda c, x: c.search(x[:0]), "at least one"),
    "text": (lambda c, x: c.search([["a"] * 64]), "want float32"),
    "nan": (lambda c, x: c.search(np.full((1, 64), np.nan)), "finite"),
    "infinity": (lambda c, x: c.upsert([1], np.full((1, 64), np.inf)), "finite"),
    "k": (lambda c, x: c.search(x[:1], 0), "k is 0"),
    "k is no number": (lambda c, x: c.search(x[:1], 1.5), "k is 1.5"),
    "query": (lambda c, x: c.search(x[:1], query="exact"), "query is 'exact'"),
    "oversampling": (lambda c, x: c.search(x[:1], oversampling=0), "oversampling is 0"),
    "rescore": (lambda c, x: c.search(x[:1], rescore=20), "keeps no vectors"),
    "rescore is no number": (lambda c, x: c.search(x[:1], rescore=-1), "rescore is -1"),
    "rescore below k": (lambda c, x: c.search(x[:1], 10, rescore=5), "rescore is 5, fewer than k (10)"),
    "both": (lambda c, x: c.search(x[:1], oversampling=2, exact=True), "oversampling is 2 and exact is True"),
    "allow": (lambda c, x: c.search(x[:1], allow=[-1]), "allow holds -1"),
    "negative id": (lambda c, x: c.upsert([-1], x[:1]), "ids holds -1"),
    "id twice": (lambda c, x: c.upsert([5, 5], x[:2], on_duplicate="error"), "5 more than once"),
    "on_duplicate": (lambda c, x: c.upsert([5, 5], x[:2], on_duplicate="first"), "on_duplicate is 'first'"),
    "id of a payload twice": (lambda c, x: c.set_payloads([5, 5], [{}, {}]), "5 more than once"),
    "no payloads": (lambda c, x: c.set_payloads([5], None), "payloads is None"),
    "fewer payloads than ids": (lambda c, x: c.set_payloads([5, 6], [{}]), "one per row"),
    "radius": (lambda c, x: c.search(x[:1], radius=float("nan")), "radius is nan"),
    "offset": (lambda c, x: c.search(x[:1], offset=-1), "offset is -1"),
    "group size": (lambda c, x: c.search(x[:1], group_by="a", group_size=0), "group_size is 0"),
    "group size without a field": (lambda c, x: c.search(x[:1], group_size=2), "group_by is None"),
    "field of groups": (lambda c, x: c.search(x[:1], group_by="a..b"), "group_by: 'a..b' is no field"),
    "no query by id": (lambda c, x: c.search_ids([]), "at least one"),
    "id too large": (lambda c, x: c.upsert(np.array([2**63], np.uint64), x[:1]), "2^63"),
    "ids of float": (lambda c, x: c.upsert([0.5], x[:1]), "int64"),
    "fewer ids than rows": (lambda c, x: c.upsert([1], x[:2]), "one id per row"),
    "fewer payloads than rows": (lambda c, x: c.upsert([1, 2], x[:2], [{}]), "one per row"),
    "payload with nan": (lambda c, x: c.upsert([1], x[:1], [{"a": float("nan")}]), "payloads[0]"),
    "payload with infinity": (lambda c, x: c.upsert([1], x[:1], [{"a": [-float("inf")]}]), "payloads[0]"),
    "payload with a lone surrogate": (lambda c, x: c.upsert([1], x[:1], [{"a": "\ud800"}]), "payloads[0]"),
    "payload of another kind": (lambda c, x: c.upsert([1], x[:1], ["text"]), r"payloads[0]"),
    "get of a negative id": (lambda c, x: c.get([-5]), "ids holds -5"),
    "scroll of nothing": (lambda c, x: c.scroll(limit=0), "limit is 0"),
    "scroll after what is no id": (lambda c, x: c.scroll(after=-1), "after is -1"),
    "empty id": (lambda c, x: c.upsert(["a", ""], x[:2]), "ids[1] has 0 bytes"),
    "id of another kind": (lambda c, x: c.get(["a", 1.5]), "ids[1] is a float"),
    "string twice": (lambda c, x: c.upsert(["a", "a"], x[:2], on_duplicate="error"), "'a' more than once"),
    "delete of float": (lambda c, x: c.delete([0.5]), "int64"),
    "delete of nothing": (lambda c, x: c.delete(), "neither ids nor filter"),
    "delete of both": (lambda c, x: c.delete([1], filter={"a": 1}), "both ids and filter"),
    "filter": (
        lambda c, x: c.search(x[:1], filter={"a": {"above": 1}}),
        "filter.a has the operator 'above': want one of",
    ),
    "filter of a count": (lambda c, x: c.count("a > 1"), "filter is 'a > 1': want a dict"),
    "filter of a delete": (lambda c, x: c.delete(filter={"a": float("inf")}), "filter.a.eq is inf"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_words(db, name, bz, vectors, case):
    call, words = BAD[case]
    collection = db.create_collection(name, bz)
    with pytest.raises(ValueError) as error:
        call(collection, vectors)
    assert words in str(error.value)
    assert len(collection) == 0


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
        collection.flush()
    collection.set_payloads(["one"], [{"more": 1}], merge=True)
    row = collection.get(["one"], vectors=True)[0]
    assert row.payload == {"n": 1, "more": 1} and row.vector is None
    assert collection.upsert([0], None, [{"n": 0}]) == 1  # it had one
    assert collection.upsert(["one"], vectors[1:2]) == 1  # it had none
    collection.flush()
    assert set(collection.search(vectors[1], 4).ids[0].tolist()) == {"one", 2, None}
    assert collection.delete(filter={"n": {"in": [0, 3]}}) == 2
    assert collection.get([0, SOME]) == [None, None]
    assert collection.upsert([], []) == 0
    with pytest.raises(ValueError, match="2 entries and x 1 rows"):
        collection.upsert([5, 6], [None])
    with pytest.raises(ValueError, match=r"x\[1, 3\] is nan"):
        collection.upsert([5, 6], [None, np.where(np.arange(64) == 3, np.nan, vectors[0])])
