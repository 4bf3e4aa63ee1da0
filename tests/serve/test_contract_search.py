"""What a user may rely on when a collection is searched, on disk or on a server."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta, timezone
from uuid import UUID

import numpy as np
import pytest

import bebr
from bebr.collection.filter_form import as_filter
from bebr.training.compat.compatible import make_compatible
from tests.conftest import recall
from tests.serve.rows import BOOKS, stretched


@pytest.fixture(scope="module")
def newer(bz, vectors):
    """Of another producer with 80 dimensions, whose queries may search codes of ``bz``."""
    turned = np.hstack([vectors[:, ::-1], vectors[:, :16]])
    plain = bebr.train(turned, widths=[64, 32], seed=0)
    return make_compatible(plain, bz, turned, vectors, epochs=0)


def test_answers_are_those_of_an_index_bit_for_bit(db, name, any_bz, vectors, queries):
    x = stretched(vectors)[:2000]
    index = bebr.FlatIndex(any_bz)
    index.add(x)
    collection = db.create_collection(name, any_bz)
    assert collection.upsert(np.arange(2000), x) == 2000
    collection.settle()
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


def test_filters(db, name, any_bz, vectors, queries):
    """The rows that match, and those only, scored as if they were alone; whether sealed or not."""
    x = stretched(vectors)[:600]
    collection = db.create_collection(name, any_bz)
    collection.upsert(np.arange(500), x[:500], BOOKS[:500])
    collection.settle()
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


def test_filters_by_what_payloads_are_written_from(db, name, bz, vectors):
    """UUIDs and times, those that UTC has no year for among them."""
    collection = db.create_collection(name, bz)
    by, west, far = UUID(int=7), timezone(-timedelta(hours=12)), datetime.max.replace(microsecond=0)
    times = [far.replace(tzinfo=west), far, datetime(1850, 1, 1, tzinfo=timezone(timedelta(minutes=19, seconds=32)))]
    payloads = [{"by": str(UUID(int=6 + i)), "at": at.isoformat()} for i, at in enumerate(times)]
    collection.upsert(range(3), vectors[:3], payloads)
    for _ in range(2):  # in memory, then from a file
        assert [row.id for row in collection.scroll(filter=bebr.F("by") == by)] == [1]
        assert [row.id for row in collection.scroll(filter=bebr.F("at") == far.replace(tzinfo=west))] == [0]
        assert [row.id for row in collection.scroll(filter=bebr.F("at") > far)] == [0]
        assert [row.id for row in collection.scroll(filter=bebr.F("at") < date(1900, 1, 1))] == [2]
        collection.flush()


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
    collection.settle()
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
    collection.upsert([9, 8], vectors[[8, 8]], [{"tag": "twin"}] * 2)
    hits = collection.search(vectors[0], 9, exact=True, group_by="tag", group_size=4)
    found = dict(zip(map(repr, hits.groups[0]), hits.ids.reshape(9, 4).tolist(), strict=True))
    rows = {value: {i for i in ids if i >= 0} for value, ids in found.items() if value != "None"}
    one = "1" if "1" in rows else "1.0"
    assert rows == {"'a'": {0, 1, 6}, "'b'": {0}, "'c'": {2}, one: {2, 7}, "True": {3}, "'twin'": {8, 9}}
    assert found["'twin'"][:2] == [8, 9]  # equal scores by the smaller id


def test_rows_search_by_their_ids_and_leave_themselves_out(db, name, any_bz, vectors):
    collection, index = db.create_collection(name, any_bz), bebr.FlatIndex(any_bz)
    index.add(vectors[:500])
    collection.upsert(range(500), vectors[:500], [{"n": i, "odd": i % 2 == 1} for i in range(500)])
    ids = [7, 300, 7]
    for options in ({"exact": True}, {"exact": True, "allow": np.arange(0, 500, 3)}):
        hits, expected = collection.search_ids(ids, 10, **options), index.search_ids(ids, 10, **options)
        np.testing.assert_array_equal(hits.ids, expected.ids)
        np.testing.assert_array_equal(hits.scores, expected.scores)
    hits = collection.search_ids([7], 3, exact=True, offset=2, with_payloads=True)
    np.testing.assert_array_equal(hits.ids[0], index.search_ids([7], 5, exact=True).ids[0, 2:])
    assert hits.payloads == [[{"n": i, "odd": i % 2 == 1} for i in hits.ids[0].tolist()]]
    groups = collection.search_ids([7], 2, exact=True, group_by="odd", group_size=3)
    ranked = index.search_ids([7], 499, exact=True).ids[0]
    odd = [i for i in ranked.tolist() if i % 2][:3], [i for i in ranked.tolist() if not i % 2][:3]
    assert groups.groups == [[bool(ranked[0] % 2), not ranked[0] % 2]]
    assert groups.ids[0].tolist() == [i for rows in (odd if ranked[0] % 2 else odd[::-1]) for i in rows]
    with pytest.raises(KeyError, match="id 1234"):
        collection.search_ids([7, 1234])


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_kept_vectors_give_exact_scores(db, name, any_bz, vectors, queries, kind):
    x = stretched(vectors)
    index = bebr.FlatIndex(any_bz, rescore=kind)
    index.add(x)
    collection = db.create_collection(name, any_bz, keep=kind)
    collection.upsert(range(2000), x[:2000])
    collection.settle()
    collection.upsert(range(2000, 3000), x[2000:])
    for options in ({}, {"rescore": 200}, {"query": "code"}, {"allow": np.arange(0, 3000, 7)}, {"exact": True}):
        hits = collection.search(queries, 10, **options)
        # Whatever the batch; so few short vectors are all scored.
        single = [index.search(one, 10, **{"rescore": 3000} | options) for one in queries]
        np.testing.assert_array_equal(hits.ids, np.concatenate([one.ids for one in single]))
        np.testing.assert_allclose(hits.scores, np.concatenate([one.scores for one in single]), rtol=1e-5)
    by_code = collection.search(queries, 10, rescore=0, exact=True)
    np.testing.assert_array_equal(by_code.scores, index.search(queries, 10, rescore=0, exact=True).scores)
    stats = collection.stats()
    assert stats.kept_bytes == {"float16": 128, "int8": 68}[kind]
    assert stats.bytes_per_vector == any_bz.bytes_per_vector + stats.kept_bytes == index.bytes_per_vector
