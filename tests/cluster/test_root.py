"""A root over leaves in this process: what is its own beside the contract of collections."""

from __future__ import annotations

import json
import threading
import time
import urllib.request

import numpy as np
import pytest

import bebr
from bebr.cluster.names import Shard
from bebr.cluster.root import run as run_root
from bebr.cluster.services import collections
from bebr.collection.protocol import AlreadyExists
from tests.cluster.running import until
from tests.commands import run
from tests.serve.conftest import FRONT


@pytest.fixture(scope="module")
def pair(here, tmp_path_factory):
    """Two leaves with a folder each, and their databases."""
    folder = tmp_path_factory.mktemp("pair")
    with bebr.open(folder / "even") as even, bebr.open(folder / "odd") as odd:
        yield [here.leaf(even, "0", "2"), here.leaf(odd, "1", "3")], [even, odd]


def test_scores_are_those_of_one_collection_and_no_neighbour_is_lost(db, name, bz, vectors, queries, tmp_path):
    ids = [i if i % 3 else f"row {i}" for i in range(2500)]
    payloads = [{"n": i % 7} for i in range(2500)]
    split = db.create_collection(name, bz, keep="int8")
    split.upsert(ids, vectors[:2500], payloads)
    with bebr.open(tmp_path) as local:
        one = local.create_collection("one", bz, keep="int8")
        one.upsert(ids, vectors[:2500], payloads)
        for options in (
            {"exact": True, "rescore": 0},
            {"exact": True, "rescore": 0, "filter": {"n": {"lt": 3}}, "offset": 7, "with_payloads": True},
            {"exact": True, "rescore": 0, "allow": ids[:900], "radius": 0.2},
            {"exact": True, "rescore": 0, "group_by": "n", "with_payloads": True},
            {"exact": True, "rescore": 2500},
        ):
            hits, wanted = (each.search(queries, 5, **options) for each in (split, one))
            np.testing.assert_array_equal(hits.ids, wanted.ids)
            np.testing.assert_array_equal(hits.scores, wanted.scores)
            assert (hits.payloads, hits.groups, hits.missing) == (wanted.payloads, wanted.groups, ())
        whole = one.search(queries, 2500, rescore=2500)
        for options in ({}, {"rescore": 40}, {"rescore": 40, "oversampling": 2}):
            hits, wanted = (each.search(queries, 10, **options) for each in (split, one))
            for query in range(len(queries)):
                scores = dict(zip(whole.ids[query], whole.scores[query], strict=True))
                assert [scores[id] for id in hits.ids[query]] == hits.scores[query].tolist()
            # By default all rows of both get their exact scores, for they are few.
            assert (hits.scores >= wanted.scores).all()
            assert (hits.scores > wanted.scores).any() == ("rescore" in options)


def test_collections_that_are_not_split_are_passed_on_as_they_are(db, pair, here, bz, vectors):
    leaves, (even, _) = pair
    root = here.root(leaves, shards=4)
    plain = even.create_collection("plain", bz, text="t", keep="float16")
    plain.upsert(range(200), vectors[:200], [{"t": f"word{i % 5}", "n": i % 3} for i in range(200)])
    with bebr.connect(root) as client:
        there = client.collection("plain")
        assert "plain" in client and len(there) == 200
        for options in ({"group_by": "n", "group_size": 2}, {"filter": {"n": 1}}):
            np.testing.assert_array_equal(
                there.search(vectors[:3], 3, **options).ids, plain.search(vectors[:3], 3, **options).ids
            )
        np.testing.assert_array_equal(there.search_ids([1, 2], 3).ids, plain.search_ids([1, 2], 3).ids)
        assert there.search(None, 5, text="word1").ids.min() >= 0 and there.measure_recall(20, 5).queries == 20
        client.set_alias("other", "plain")
        assert client.aliases() == {"other": "plain"} and len(client.collection("other")) == 200
        assert client.collection("other").delete([0]) == 1 and len(plain) == 199
        with pytest.raises(AlreadyExists, match="is an alias"):
            client.create_collection("other", bz)
        client.drop_alias("other")
        assert client.aliases() == {}
        client.drop_collection("plain")
        assert "plain" not in client and even.collections() == []
    here.stop(root)


def test_what_there_is_not_over_shards_is_refused_in_words(db, name, bz, vectors):
    docs = db.create_collection(name, bz, text="t", keep="float16")
    docs.upsert(range(20), vectors[:20], [{"t": "a"}] * 20)
    for call, words in (
        (lambda: docs.search(None, 3, text="a"), "search by words"),
        (lambda: docs.search_ids([1], 3), "search by rows"),
        (lambda: docs.measure_recall(5), "measurement of recall"),
        (lambda: db.set_alias("short", name), "alias"),
    ):
        with pytest.raises(
            ValueError, match=f"collection '{name}' is split into 4 shards, over which there is no .*{words}"
        ):
            call()
    with pytest.raises(KeyError, match="a root makes no snapshots"):
        db.snapshot()
    for taken, error, words in (
        (f"{name}.0of4", ValueError, "which is that of a shard"),
        ("x" * 125, ValueError, "want 123 or fewer"),
        (name, AlreadyExists, "already exists"),
    ):
        with pytest.raises(error, match=words):
            db.create_collection(taken, bz)


def test_what_is_refused_is_written_by_no_shard(db, name, bz, vectors):
    docs = db.create_collection(name, bz)
    x = vectors[:40].copy()
    x[33, 5] = np.nan
    with pytest.raises(ValueError, match="x"):
        docs.upsert(range(40), x)
    docs.upsert([7], vectors[7:8])
    with pytest.raises(AlreadyExists, match="ids holds 7, which is there already: nothing was written"):
        docs.upsert(range(40), vectors[:40], on_conflict="error")
    assert len(docs) == 1
    big = docs.upsert(range(3000), vectors, [{"text": "x" * 4000}] * 3000)  # in a stream of messages
    assert big == len(docs) == 3000 and docs.get([2999])[0].payload == {"text": "x" * 4000}


def test_a_leaf_that_is_away_and_partial_answers(here, bz, vectors, queries, tmp_path):
    with bebr.open(tmp_path / "even") as even, bebr.open(tmp_path / "odd") as odd:
        leaves = [here.leaf(even, "0", "2"), here.leaf(odd, "1", "3")]
        root = here.root(leaves, shards=4)
        with bebr.connect(root, retries=0) as client:
            docs = client.create_collection("docs", bz)
            docs.upsert(range(500), vectors[:500], [{"n": i} for i in range(500)])
            whole = docs.search(queries, 500, exact=True, allow_partial=True)
            assert whole.missing == ()
            here.stop(leaves[1])
            with pytest.raises(ConnectionError, match="no answer from a bebr server"):
                docs.search(queries, 5)
            left = even.collection("docs.0of4").scroll() + even.collection("docs.2of4").scroll()
            some = docs.search(queries, 500, exact=True, allow_partial=True)
            assert some.missing == (1, 3)
            late = client.collection("docs")  # it is opened by what there is, and counted by all of it
            assert late.search(queries, 5, allow_partial=True).missing == (1, 3)
            with pytest.raises(ConnectionError):
                len(late)
            for query in range(len(queries)):
                there = np.isin(whole.ids[query], [row.id for row in left])
                np.testing.assert_array_equal(some.ids[query][: len(left)], whole.ids[query][there])
            with pytest.raises(ConnectionError, match=r"\(what is of shards 0, 2 is done; repeat the call\)"):
                docs.upsert(range(500, 540), vectors[500:540])
            assert client.collections() == ["docs"]
            with pytest.raises(ConnectionError):
                client.create_collection("more", bz)
            assert "more.2of4" not in even.collections()  # what was made of it is gone
        here.stop(root)


def test_shards_that_trained_by_themselves_answer_without_the_first_one(here, vectors, queries, tmp_path):
    with bebr.open(tmp_path / "even") as even, bebr.open(tmp_path / "odd") as odd:
        leaves = [here.leaf(even, "0"), here.leaf(odd, "1")]
        root = here.root(leaves, shards=2)
        with bebr.connect(root, retries=0) as client:
            client.create_collection("docs", dim=64).upsert(range(3000), vectors)
            shards = even.collection("docs.0of2"), odd.collection("docs.1of2")
            until(lambda: not any(shard.stats().target for shard in shards))
            until(lambda: shards[0].binarizer.digest != shards[1].binarizer.digest)
            docs = client.collection("docs")
            assert docs.search(queries, 5, allow_partial=True).missing == ()
            here.stop(leaves[0])
            end = time.monotonic() + 1.5  # longer than a root takes what it knows to be so
            while time.monotonic() < end:
                assert docs.search(queries, 5, allow_partial=True).missing == (0,)
        here.stop(root)


def test_a_root_that_is_new_opens_a_collection_though_its_first_shard_is_away(here, bz, vectors, queries, tmp_path):
    with bebr.open(tmp_path / "even") as even, bebr.open(tmp_path / "odd") as odd:
        leaves = [here.leaf(even, "0"), here.leaf(odd, "1")]
        first, second = here.root(leaves, shards=2), here.root(leaves, shards=2)
        with bebr.connect(first) as client, bebr.connect(second, retries=0) as other:
            client.create_collection("docs", bz).upsert(range(300), vectors[:300])
            here.look(second)
            here.stop(leaves[0])
            docs = other.collection("docs")
            hits = docs.search(queries, 5, exact=True, allow_partial=True)
            assert hits.missing == (0,) and hits.ids.shape == (len(queries), 5)
            with pytest.raises(ConnectionError):
                docs.search(queries, 5)
            with pytest.raises(KeyError):
                other.collection("other")
        for root in (first, second):
            here.stop(root)
        here.stop(leaves[1])


def test_metrics_say_what_was_asked_which_leaf_took_how_long_and_what_was_missing(here, bz, vectors, queries, tmp_path):
    with bebr.open(tmp_path / "even") as even, bebr.open(tmp_path / "odd") as odd:
        leaves = [here.leaf(even, "0"), here.leaf(odd, "1")]
        root = here.root(leaves, shards=2)
        port, end = here.of(root).serve_metrics(0)

        def figures() -> dict[str, float]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
                lines = reply.read().decode().splitlines()
            return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

        with bebr.connect(root, retries=0) as client:
            docs = client.create_collection("docs", bz)
            docs.upsert(range(100), vectors[:100])
            for _ in range(3):
                docs.search(queries, 5)
            here.stop(leaves[1])
            assert docs.search(queries, 5, allow_partial=True).missing == (1,)
            with pytest.raises(ConnectionError):
                docs.search(queries, 5)
        there = figures()
        assert there['bebr_root_call_seconds_count{method="Points/Search"}'] == 5
        assert there['bebr_root_call_errors_total{code="UNAVAILABLE",method="Points/Search"}'] == 1
        for leaf, answers in zip(leaves, (5, 3), strict=True):
            assert there[f'bebr_root_leaf_seconds_count{{leaf="{leaf}",method="Points/Search"}}'] == answers
        assert there[f'bebr_root_leaf_failures_total{{leaf="{leaves[1]}"}}'] >= 2
        assert there[f'bebr_root_leaf_up{{leaf="{leaves[0]}"}}'] == 1
        assert there[f'bebr_root_leaf_up{{leaf="{leaves[1]}"}}'] == 0
        assert there["bebr_root_partial_answers_total"] == 1 and there["bebr_root_second_tries_total"] == 0
        here.stop(root)
        end()


def test_two_roots_agree_on_what_there_is(pair, here, bz, vectors, monkeypatch):
    monkeypatch.setattr(collections, "_MAKING", 0.3)
    leaves, (even, odd) = pair
    roots = [here.root(leaves, shards=2), here.root(leaves, shards=2)]
    with bebr.connect(roots[0]) as one, bebr.connect(roots[1]) as other:
        docs = one.create_collection("docs", bz)
        docs.upsert(range(50), vectors[:50])
        assert len(other.collection("docs")) == 50 and other.collections() == ["docs"]
        even.drop_collection("docs.0of2")  # as where a root was killed while it dropped it
        for root in roots:
            here.look(root)
        with pytest.raises(KeyError, match="no collection 'docs'"):
            one.collection("docs")
        with pytest.raises(
            AlreadyExists, match=r"shard docs.1of2 is left of a collection .* drop_collection\('docs'\)"
        ):
            other.create_collection("docs", bz)
        other.drop_collection("docs")
        assert odd.collections() == []
        even.create_collection("docs.0of2", bz)
        odd.create_collection("docs.1of2", bz)
        even.create_collection("docs.0of4", bz)
        here.look(roots[0])
        with pytest.raises(
            bebr.CorruptFile,
            match=r"split into 2 \(at 127.*\) and into 4 shards \(at 127.*take away who is no leaf of this cluster",
        ):
            one.collection("docs")
        one.drop_collection("docs")
        assert even.collections() == odd.collections() == []
    for root in roots:
        here.stop(root)


def test_a_collection_that_several_make_at_once_is_there_for_all_of_them(db, name, bz, vectors):
    """As programs do that start together. The first shard comes last: until then there is none for the others."""
    together, found = threading.Barrier(4), []

    def make(number: int) -> None:
        together.wait()
        docs = db.create_collection(name, bz, exist_ok=True)
        found.append(docs.upsert([number], vectors[number : number + 1]))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 4 and db.collection(name).count() == 4


def test_replicas_have_one_database(here, bz, tmp_path):
    with bebr.open(tmp_path / "a") as one, bebr.open(tmp_path / "b") as other:
        one.create_collection("docs", bz)
        other.create_collection("docs", bz)
        root = here.root([here.leaf(one), here.leaf(other)], shards=1)
        with (
            bebr.connect(root) as client,
            pytest.raises(bebr.CorruptFile, match=r"shard docs is at 127.*, which share no database"),
        ):
            client.collection("docs")
        here.stop(root)


def test_shards_that_no_leaf_takes_cannot_be_made(here, bz, tmp_path):
    with bebr.open(tmp_path) as folder:
        leaf = here.leaf(folder, "0", "docs:1")
        root = here.root([leaf], shards=3)
        assert here.of(root).leaves.takers(Shard("docs", 1, 3)) and not here.of(root).leaves.takers(Shard("x", 1, 3))
        refused = pytest.raises(ValueError, match="no leaf takes shard 2 of 'docs': start one with --shards")
        with bebr.connect(root) as client, refused:
            client.create_collection("docs", bz)
        with bebr.connect(leaf) as direct:
            with pytest.raises(ValueError, match="none of those of this server"):
                direct.create_collection("docs.2of3", bz)
            direct.create_collection("docs.1of3", bz)
            folder.create_collection("x.1of3", bz)
            assert direct.collections() == ["docs.1of3"]
            with pytest.raises(KeyError, match="among those of this server"):
                direct.collection("x.1of3")
        here.stop(root)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--leaves", "a:1,a:1"], "leaves names one twice"),
        (["--leaves", " , "], "leaves is empty"),
        (["--leaves", "a:1", "--host", "0.0.0.0"], "host is '0.0.0.0'"),
        (["--leaves", "a:1", "--patience", "0"], "patience is 0"),
        ([], "want the URL of a database with leaves, or --leaves"),
        (["data/"], "the database is 'data/': want the URL of PostgreSQL"),
        (["mysql://db/x"], "the database is 'mysql://db/x': want the URL of PostgreSQL"),
        (["postgresql://x", "--leaves", "a:1"], "or --leaves, and not both"),
    ],
)
def test_a_root_that_cannot_be_is_refused(arguments, message):
    said = run("root", *arguments)
    assert said.exit_code == 2 and message in said.stderr


@pytest.mark.parametrize("front", [True, False] if FRONT else [False])
def test_a_client_that_asks_nothing_just_now_is_not_waited_for(here, bz, vectors, tmp_path, front):
    with bebr.open(tmp_path / "data") as database:
        root = here.root([here.leaf(database)], 1, front=front)
        with bebr.connect(root) as client:
            client.create_collection("docs", bz).upsert([1], vectors[:1])
            assert client.collection("docs").search(vectors[:1], k=1).ids.tolist() == [[1]]
            start = time.monotonic()
            here.stop(root, grace=10.0)
            assert time.monotonic() - start < 5


def test_the_leaf_of_a_folder_is_a_server(tmp_path):
    said = run("leaf", str(tmp_path / "data"), "--shards", "0")
    assert said.exit_code == 2 and "(a leaf of a folder: `bebr serve`)" in said.stderr
    assert not (tmp_path / "data").exists()


def test_bad_shards_are_refused():
    with pytest.raises(ValueError, match="shards is 0: want 1 to 1024"):
        run_root(["a:1"], 0)
    for text in ("x", "docs:", ":1", "-1", "1024", "docs:x"):
        said = run("leaf", "postgresql://nowhere", "--segments", "file:///x", "--shards", text)
        assert said.exit_code == 2 and f"shards holds {json.dumps(text)[1:-1]!r}" in said.stderr
