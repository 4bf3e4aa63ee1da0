"""What a user may rely on, of a local database and of a server alike. Rows and searches have files of their own."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr.collection.protocol import AlreadyExists
from bebr.training.compat.compatible import make_compatible
from tests.conftest import payloads_of, recall
from tests.http_client import Http


@pytest.fixture(scope="module")
def larger(vectors):
    return bebr.train(vectors, widths=[64, 32], metric="cosine", seed=0)


@pytest.fixture(scope="module")
def turned(vectors, queries):
    """Vectors and queries of another producer with 80 dimensions."""
    return tuple(np.hstack([x[:, ::-1], x[:, :16]]) for x in (vectors, queries))


@pytest.fixture(scope="module")
def other(bz, vectors, turned):
    """A model of ``turned`` whose queries may search codes of ``bz``."""
    return make_compatible(bebr.train(turned[0], widths=[64, 32], seed=0), bz, turned[0], vectors, epochs=0)


def test_stats(db, name, bz, vectors):
    collection = db.create_collection(name, bz)
    collection.upsert(range(100), vectors[:100])
    before = collection.stats()
    assert (before.rows, before.segments, before.tail_rows, before.dead_rows) == (100, 0, 100, 0)
    assert before.bytes_on_disk == 100 * (bz.bytes_per_vector + 8)
    collection.settle()
    collection.delete([1, 2])
    after = collection.stats()
    assert (after.rows, after.segments, after.tail_rows, after.dead_rows) == (98, 1, 0, 2)
    assert after.model.digest == bz.digest and after.bytes_per_vector == bz.bytes_per_vector
    assert after.model.widths == bz.widths and after.model.metric == "cosine" and after.model.input_dim == 64


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
    with pytest.raises(AlreadyExists, match=r"with the text fields \[\]: want \['body'\]"):
        db.create_collection(name, bz, text="body", exist_ok=True)
    db.drop_collection(name)
    assert name not in db.collections() and name not in db and 5 not in db
    for call in (lambda: db.collection(name), lambda: db.drop_collection(name), lambda: collection.search(vectors[0])):
        with pytest.raises(KeyError, match=name):
            call()
    again = db.create_collection(name, bz)
    assert len(again) == 0 and again.upsert([1], vectors[:1]) == 1


def test_what_large_files_are_to_be(db, name, bz, vectors):
    for wrong in ({"index": "hnsw"}, {"target_recall": 0}, {"target_recall": 2}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            db.create_collection(name, bz, **wrong)
    for index in ("auto", "flat", "graph"):
        docs = db.create_collection(f"{name}-{index}", bz, index=index, target_recall=0.8)
        docs.upsert(range(200), vectors[:200])
        docs.settle()
        assert docs.stats().rows_by_kind == {"flat": 200}  # so few
        assert docs.search(vectors[:1], 1).ids[0, 0] == 0


def test_files_are_attached_where_the_data_is(db, name, bz, vectors, tmp_path):
    index = bebr.FlatIndex(bz)
    index.add(vectors[:100])
    index.save(tmp_path / "x.index")
    docs = db.create_collection(name, bz)
    if isinstance(db, bebr.store.database.Database):
        assert docs.attach(tmp_path / "x.index") == len(docs) == 100
        return
    with pytest.raises(ValueError, match="a server takes no files"):
        docs.attach(tmp_path / "x.index")
    assert len(docs) == 0


def test_flush_seals_and_settle_waits_for_merges(db, name, bz, vectors):
    docs = db.create_collection(name, bz)
    for i in range(4):
        docs.upsert(range(100 * i, 100 * i + 100), vectors[100 * i : 100 * i + 100])
        docs.flush()
        assert docs.stats().tail_rows == 0
    docs.settle(timeout=60)
    stats = docs.stats()
    assert stats.rows == 400 and stats.segments <= 2 and not stats.merging
    docs.delete(range(300))
    docs.settle()
    stats = docs.stats()
    assert (stats.rows, stats.dead_rows, stats.merging) == (100, 0, False)
    with pytest.raises(ValueError, match="timeout is -1"):
        docs.settle(timeout=-1)


@pytest.mark.parametrize("wrong", [None, 5, b"docs", ""])
def test_what_is_no_name_is_the_name_of_nothing(db, name, bz, wrong):
    if isinstance(db, Http) and not isinstance(wrong, str):
        pytest.skip("a path is text")
    there = db.create_collection(name, bz)
    wrong = name.encode() if isinstance(wrong, bytes) else wrong
    for call in (db.collection, db.drop_collection, db.drop_alias, lambda wrong: db.set_alias("other", wrong)):
        with pytest.raises(KeyError):
            call(wrong)
    assert wrong not in db and name in db and len(there) == 0


@pytest.mark.parametrize("wrong", [".", "..", "a/b", "a b", "x" * 129, "ü"])
def test_what_is_no_part_of_an_address_is_no_name(db, name, wrong):
    there = db.collections()
    if not isinstance(db, Http) or "/" not in wrong:  # there it is another address
        with pytest.raises(ValueError, match="want 1 to 128 characters"):
            db.create_collection(wrong, dim=2)
        db.create_collection(name, dim=2)
        with pytest.raises(ValueError, match="want 1 to 128 characters"):
            db.set_alias(wrong, name)
        db.drop_collection(name)
    assert db.collections() == there


@pytest.mark.parametrize(
    "how, words",
    [
        ({"dim": 8, "bytes_per_vector": 0}, "bytes_per_vector is 0"),
        ({"dim": 8, "bytes_per_vector": "6"}, "bytes_per_vector is"),
        ({"dim": 8, "text": 5}, "text is"),
    ],
    ids=str,
)
def test_what_cannot_be_made_is_refused_in_words(db, name, how, words):
    with pytest.raises(ValueError, match=words):
        db.create_collection(name, **how)
    assert name not in db


@pytest.mark.parametrize("bz", [5, None, "model.bebr", b"bytes"])
def test_what_is_no_model_is_refused(db, name, bz):
    for call in (lambda: db.create_collection(name, bz), lambda: db.register_model(bz)):
        with pytest.raises(ValueError, match=r"bz is .*: want a bebr\.Binarizer"):
            call()
    assert name not in db.collections()
    if bz is None:
        return
    docs = db.create_collection(name, dim=2)
    with pytest.raises(ValueError, match=r"(binarizer|bz) is .*: want a bebr\.Binarizer"):
        docs.search([1, 0], binarizer=bz)


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


def test_a_collection_gets_another_model(db, name, bz, larger, vectors, queries):
    collection = db.create_collection(name, bz, keep="float16")
    collection.upsert(range(3000), vectors, [{"n": i} for i in range(3000)])
    want = collection.search(queries, 10, rescore=300)
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


def test_another_producers_vectors_are_streamed(db, name, bz, other, turned, vectors, queries):
    """They take the place of the old ones at one moment; until then both are searched."""
    turned, q = turned
    collection = db.create_collection(name, bz)
    ids = [f"doc-{i}" for i in range(3000)]
    collection.upsert(ids, vectors, [{"n": i} for i in range(3000)])
    old = collection.search(queries, 10)
    collection.migrate(other, vectors=((ids[i : i + 1000], turned[i : i + 1000]) for i in (0, 1000)))
    assert (collection.stats().target, collection.stats().rows_behind) == (other.digest, 1000)
    behind = {row.id: row.payload["n"] for row in collection.scroll(limit=5000, behind=True)}
    assert sorted(behind.values()) == list(range(2000, 3000))
    page = collection.scroll(limit=3, behind=True, filter={"n": {"lt": 2002}}, payloads=False)
    assert {row.id for row in page} == {"doc-2000", "doc-2001"}
    assert collection.search(queries, 10).ids.tolist() == old.ids.tolist()
    both = collection.search(q, 10, binarizer=other, filter={"n": {"gte": 1900}}, with_payloads=True)
    assert recall(both.ids, collection.search(queries, 10, filter={"n": {"gte": 1900}}).ids) > 0.5
    assert all(payload["n"] >= 1900 for payloads in both.payloads for payload in payloads)
    with pytest.raises(ValueError, match="1000 of 3000 rows have no vector of model"):
        collection.cutover()
    collection.upsert(["doc-5"], vectors[5:6], [{"n": -5}])
    collection.migrate(other, vectors=[(list(behind), turned[list(behind.values())].astype(np.float16))])
    assert [row.payload for row in collection.scroll(behind=True)] == [{"n": -5}]
    collection.migrate(other, vectors=[(["doc-5", "none"], turned[5:7])])
    held = db.collection(name)
    collection.settle()
    collection.cutover()
    stats = collection.stats()  # what was streamed has settled, too
    assert (stats.rows, stats.segments, stats.tail_rows, stats.merging) == (3000, 1, 0, False)
    assert (collection.binarizer.digest, collection.stats().target) == (other.digest, "")
    index = bebr.FlatIndex(other)
    index.add(turned)
    expected = [[ids[i] for i in row] for row in index.search(q, 1, exact=True).ids.tolist()]
    assert (collection.search(q, 1, exact=True).ids == expected).mean() > 0.95  # some came as float16
    with pytest.raises((ValueError, bebr.IncompatibleModel)):  # of the old producer
        held.search(queries, 10)
    with pytest.raises((ValueError, bebr.IncompatibleModel)):
        held.upsert(["doc-5"], vectors[5:6])
    assert collection.upsert(["doc-5"], turned[5:6], [{"n": 5}]) == 1 and len(db.collection(name)) == 3000
    collection.migrate(bz, vectors=[(ids[:10], vectors[:10])])
    held = db.collection(name)
    collection.cutover(bare=True, keep_old=True)
    assert (collection.binarizer.digest, collection.stats().former) == (bz.digest, other.digest)
    assert (collection.search(q, 1, binarizer=other, exact=True).ids == expected).mean() > 0.95
    assert collection.upsert(["doc-6"], vectors[6:7]) == 1
    assert [row.id for row in collection.scroll(behind=True)] == ["doc-6"]
    with pytest.raises(ValueError, match="1 of 3000 rows have no vector of model"):
        collection.rollback()
    collection.migrate(other, vectors=[(["doc-6"], turned[6:7])])
    collection.rollback()
    assert (collection.binarizer.digest, collection.stats().target) == (other.digest, bz.digest)
    assert (held.search(q, 1, exact=True).ids == expected).mean() > 0.95  # of the producer that it is again
    collection.rollback()
    assert collection.stats().target == "" and collection.binarizer.digest == other.digest
    for call in (collection.cutover, collection.rollback, lambda: collection.scroll(behind=True)):
        with pytest.raises(ValueError, match="streamed"):
            call()
    with pytest.raises(ValueError, match="bz has metric 'l2': want 'cosine'"):
        collection.migrate(bebr.untrained(64, 18, metric="l2"), vectors=())


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
