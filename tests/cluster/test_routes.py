"""What a root's front answers without Python: it says so in its counters, and what it says is what Python says."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bebr
from bebr.cluster.known import Cluster, Known, addressed
from bebr.cluster.leaf import Leaf
from bebr.cluster.leaves import Leaves
from bebr.cluster.merging import merged_hits
from bebr.cluster.names import Shard
from bebr.cluster.routes import Routes
from bebr.cluster.services.searching import _parts
from bebr.serve.channel import Address
from bebr.serve.routing import Place
from bebr.tls import TLS
from bebr.v1 import bebr_pb2 as pb
from tests.cluster.running import until
from tests.cluster.test_leaves import leaf

_front = pytest.importorskip("bebr._front", reason="built without libnghttp2")

from tests.serve.front_messages import changed, request  # noqa: E402

SHARDS = (Shard("docs", 0, 2), Shard("docs", 1, 2))
# Few scores, so that many are equal; 0 and -0 are, too.
HIT = st.tuples(st.integers(0, 40), st.sampled_from([-1.5, -0.0, 0.0, 2.0, float("inf"), float("nan")]), st.text("aü"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.lists(st.lists(HIT, max_size=8), min_size=2, max_size=2), min_size=1, max_size=4),
    *(st.integers(1, 6), st.integers(0, 4), st.booleans(), st.integers(0, 15), st.integers(0, 15)),
)
def test_answers_of_shards_are_made_one_as_python_does(shards, k, offset, ascending, payloads, keys):
    replies = []
    for number, queries in enumerate(shards):
        rows = [row for query in queries for row in query[: offset + k]]
        reply = pb.SearchResponse(counts=[len(query[: offset + k]) for query in queries], batch_queries=number)
        reply.ids = np.array([id for id, _, _ in rows], "<i8").tobytes()
        reply.scores = np.array([score for _, score, _ in rows], "<f4").tobytes()
        if payloads >> number & 1:
            reply.payloads.extend([text for _, _, text in rows])
        if keys >> number & 1:
            reply.keys.extend([text.encode() for _, _, text in rows])
        replies.append(reply)
    wanted = merged_hits(replies, k, offset, ascending)
    wanted.batch_queries, wanted.shards, wanted.answered[:] = len(shards) - 1, len(shards), range(len(shards))
    merged = _front.merge_parts([one.SerializeToString() for one in replies], 2, k, offset, ascending)
    assert merged == wanted.SerializeToString()


def test_replies_that_no_shard_may_give_are_seen():
    good = {"ids": bytes(8), "scores": bytes(4), "counts": [1]}

    def merged(**about):
        reply = pb.SearchResponse(**{**good, **about})
        return _front.merge_parts([reply.SerializeToString()], 1, 1, 0, False)

    assert merged() is not None
    for about in (
        {"ids": bytes(16)},
        {"scores": bytes(3)},
        {"counts": [2]},
        {"counts": [1, 0]},
        {"counts": []},
        {"payloads": ["a", "b"]},
        {"keys": [b"a", b"b"]},
        {"groups": ["1"]},
        {"shards": 2},
        {"ids": b"\xff" * 8},
    ):
        assert merged(**about) is None, about


def test_shards_are_asked_for_what_python_asks_them_for():
    rng, read = random.Random(5), 0
    known = replace(said(), shards=tuple(Shard("docs", number, 3) for number in range(3)), said=said().said[:1] * 3)
    for _ in range(2000):
        data = changed(request(rng), rng)
        if (part := _front.part_message(data, "docs", "", 0, 1)) is None:
            continue
        try:
            wanted = pb.SearchRequest.FromString(data)
        except DecodeError:  # a text that is no UTF-8: leaves refuse it
            continue
        read += 1
        wanted.ClearField("allow_partial")
        assert pb.SearchRequest.FromString(part) == addressed(wanted, Shard("docs", 0, 1))
        if wanted.HasField("by_ids"):
            continue
        wanted.model = "m"
        try:
            parts = _parts(known, wanted, wanted.k + wanted.offset)
        except ValueError:  # for its allowed ids
            assert _front.part_message(data, "docs.0of3", "m", 0, 3) is None
            continue
        for shard, part in zip(known.shards, parts, strict=True):
            found = _front.part_message(data, str(shard), "m", shard.number, 3)
            assert found is None or pb.SearchRequest.FromString(found) == addressed(part, shard)
            assert found is not None or wanted.allow
    assert read > 200


class Shown:
    """In the place of a front: the routes that it was shown."""

    def __init__(self) -> None:
        self.routes, self.times = {}, {}

    def show_route(self, name, route, renew, until) -> None:
        self.routes[name], self.times[name] = route, (renew, until)

    def end_route(self, name) -> None:
        del self.routes[name]

    def tell_asked(self) -> None:
        """Of nothing."""

    def order(self) -> list[tuple[list[str], int]]:
        return [([place.name for place in shard.leaves], shard.alike) for shard in self.routes["docs"].shards]


def said(**about) -> Known:
    model = pb.ModelInfo(digest="m", metric=pb.METRIC_COSINE)
    return Known(SHARDS, tuple(pb.GetCollectionResponse(model=model, id=5, **about) for _ in SHARDS))


@pytest.fixture
def routed():
    """Two leaves that both have all shards, a cluster of them, and what its front was shown."""
    both = [leaf(name, shards=set(SHARDS), place=Place(name, "127.0.0.1", 1, "")) for name in "ab"]
    shown, cluster = Shown(), Cluster(Leaves(both, 1.0))
    Routes(shown, cluster, patience=1.0)
    cluster.learned("docs", said(), time.monotonic())
    return SimpleNamespace(leaves=cluster.leaves, cluster=cluster, shown=shown, both=both)


def test_a_route_says_which_leaves_are_asked(routed):
    a, b = routed.both
    assert routed.shown.order() == [(["a", "b"], 2)] * 2
    assert routed.shown.routes["docs"].models == ("m",) and not routed.shown.routes["docs"].ascending
    routed.leaves.note_made(SHARDS[1], b)  # as after a write by way of this root
    assert routed.shown.order() == [(["a", "b"], 2), (["b", "a"], 1)]
    a.alive = False
    routed.leaves.changed(None)
    assert routed.shown.order() == [(["b"], 1)] * 2
    renew, end = routed.shown.times["docs"]
    assert 0 < renew - time.monotonic_ns() < 1.1e9 and end - renew == 1e9


def test_there_is_none_where_python_is_to_answer(routed):
    a, b = routed.both

    def shown() -> bool:
        routed.cluster.learned("docs", said(), time.monotonic())
        return "docs" in routed.shown.routes

    for about in ({"streamed": "n"}, {"former": "n"}):
        assert shown()
        routed.cluster.learned("docs", said(**about), time.monotonic())
        assert not routed.shown.routes
    assert shown()
    routed.cluster.forget("docs")
    assert not routed.shown.routes
    a.place, place = None, a.place  # under TLS
    assert not shown()
    a.place = place
    assert shown()
    a.alive = b.alive = False
    routed.leaves.changed("docs")
    assert not routed.shown.routes
    a.alive = b.alive = True
    assert shown()
    routed.leaves.note_dropped(SHARDS[0])
    assert not routed.shown.routes
    routed.cluster.learned("short", said(), time.monotonic())  # an alias
    assert not routed.shown.routes
    a.shards = b.shards = set(SHARDS)
    routed.cluster.learned("docs", said(), time.monotonic() - 5)
    routed.leaves.changed(None)  # nobody has searched for long
    assert not routed.shown.routes


def test_a_leaf_has_a_place_where_it_may_be_called_in_plain_text(here, bz, tmp_path):
    with bebr.open(tmp_path) as db:
        port = here.leaf(db).rpartition(":")[2]

        async def place(target: str, **about):
            one = Leaf(Address.of(target, None, 0, **{"token": None, "tls": None, **about}))
            try:
                return await one._found(5.0)
            finally:
                await one.close()

        assert here.run(place(f"127.0.0.1:{port}", token="key"))[1:] == ("127.0.0.1", int(port), "Bearer key")
        assert here.run(place(f"localhost:{port}"))[1:] == ("127.0.0.1", int(port), "")
        assert here.run(place(f"[::1]:{port}"))[1] == "::1"
        for target, tls in ((f"127.0.0.1:{port}", TLS()), ("unix:/nowhere", None), ("localhost:1", None)):
            assert here.run(place(target, tls=tls)) is None


def natively(root, ask):
    """What a search finds that the front answers: it may be the second, where nobody searched for two seconds."""
    for _ in range(20):
        before = root.front.counts()["answered"]
        found = ask()
        if root.front.counts()["answered"] == before + 1:
            return found
    pytest.fail("Python answers")


def test_searches_do_not_come_to_python_and_are_what_python_says(db, here, name, bz, any_bz, vectors, queries):
    root = next(one for one in here._running.values() if getattr(one, "front", None) is not None)
    plain = here.root([leaf.name for leaf in root.leaves.all], shards=4, front=False)
    with bebr.connect(plain) as client:
        for model in (bz, any_bz):
            docs = db.create_collection(name + model.digest[:4], model, keep="float16")
            docs.upsert(
                [i if i % 3 else f"row {i}" for i in range(600)], vectors[:600], [{"n": i % 7} for i in range(600)]
            )
            python = client.collection(docs.name)
            cases = (
                {},
                {"exact": True, "rescore": 0},
                {"offset": 7, "with_payloads": True, "filter": {"n": {"lt": 3}}},
                {"query": "code", "oversampling": 3, "allow_partial": True},
                {"allow": range(0, 300, 2), "exact": True, "rescore": 0},
                {"rescore": 40, "radius": 1.5},
            )
            for options in cases:
                for q in (queries, queries[0]):
                    hits = natively(root, partial(docs.search, q, 5, **options))
                    wanted = python.search(q, 5, **options)
                    np.testing.assert_array_equal(hits.ids, wanted.ids)
                    np.testing.assert_array_equal(hits.scores, wanted.scores)
                    assert (hits.payloads, hits.missing) == (wanted.payloads, ())
    here.stop(plain)


def test_a_write_is_read_by_way_of_the_front(db, here, name, bz, vectors):
    root = next(one for one in here._running.values() if getattr(one, "front", None) is not None)
    docs = db.create_collection(name, bz, keep="float16")
    docs.upsert([0], vectors[:1])
    before = root.front.counts()["answered"]
    for i in range(1, 40):
        docs.upsert([i], vectors[i : i + 1])
        assert docs.search(vectors[i : i + 1], 1).ids.tolist() == [[i]]
    assert root.front.counts()["answered"] > before + 20
    until(lambda: root.leaves._latencies["Points/Search"]._seconds)  # Python is told how long leaves took
