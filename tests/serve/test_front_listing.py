"""Listings that the front keeps: roots look at their leaves by these, twice a second, and nothing in one may be old."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

import bebr
from bebr.serve.keys import KeyFile, Role
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc
from tests.serve.fronted import Fronted

_front = pytest.importorskip("bebr._front", reason="built without libnghttp2")

Listing = Callable[[], pb.ListCollectionsResponse]


@pytest.fixture
def fronted(tmp_path) -> Iterator[Fronted]:
    served = Fronted(tmp_path)
    yield served
    served.stop()


@pytest.fixture
def listing(fronted) -> Iterator[Listing]:
    with grpc.insecure_channel(fronted.target) as channel:
        stub = rpc.CollectionsStub(channel)
        yield lambda: stub.List(pb.ListCollectionsRequest(with_aliases=True), timeout=20)


def test_it_is_kept_until_anything_changes(fronted, listing, bz, vectors):
    with bebr.connect(fronted.target) as client:
        docs = client.create_collection("docs", bz)
        changes = [
            (lambda: docs.upsert([1], vectors[:1]), ["docs"], {}),
            (lambda: docs.delete([1]), ["docs"], {}),
            (lambda: client.set_alias("today", "docs"), ["docs"], {"today": "docs"}),
            (lambda: client.create_collection("more", bz), ["docs", "more"], {"today": "docs"}),
            (lambda: client.drop_alias("today"), ["docs", "more"], {}),
            (lambda: client.drop_collection("docs"), ["more"], {}),
        ]
        versions = []
        for change, names, aliases in changes:
            change()
            python = listing()
            before = fronted.counts()
            assert [listing() for _ in range(3)] == [python] * 3
            after = fronted.counts()
            assert (after["listed"] - before["listed"], after["forwarded"] - before["forwarded"]) == (3, 0)
            assert (list(python.names), dict(python.aliases.aliases)) == (names, aliases)
            versions.append(python.versions[0])
        assert versions[0] < versions[1]


def test_a_write_that_returned_is_in_it(fronted, listing, bz, vectors):
    """However many lists are answered beside it."""
    stopping = threading.Event()

    def ask() -> None:
        while not stopping.is_set():
            listing()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        with bebr.connect(fronted.target) as client:
            docs = client.create_collection("docs", bz)
            seen = [0]
            for number in range(60):
                docs.upsert([number], vectors[:1])
                (version,) = listing().versions
                seen.append(version)
        assert seen == sorted(set(seen))
    finally:
        stopping.set()
        asking.join()
    assert fronted.counts()["listed"] > 0


def test_what_was_made_before_a_change_is_not_kept(fronted, bz):
    front, request = fronted.front, pb.ListCollectionsRequest().SerializeToString()
    with bebr.connect(fronted.target) as client, grpc.insecure_channel(fronted.target) as channel:
        state = front.state
        client.create_collection("docs", bz)
        front.keep_listing(state, request, pb.ListCollectionsResponse(names=["old"]).SerializeToString())
        assert list(rpc.CollectionsStub(channel).List(pb.ListCollectionsRequest(), timeout=20).names) == ["docs"]
    assert fronted.counts()["listed"] == 0


def test_a_key_for_some_is_shown_these_by_python(tmp_path, bz, vectors):
    with bebr.open(tmp_path) as db:
        for name in ("mine", "other"):
            db.create_collection(name, bz).upsert(range(3), vectors[:3])
    file = KeyFile(tmp_path)
    tokens = {"all": file.create("all", Role.READ), "mine": file.create("mine", Role.READ, ["mine"])}
    served = Fronted(tmp_path, keys=KeyFile(tmp_path))
    try:
        with grpc.insecure_channel(served.target) as channel:

            def names(whose: str) -> tuple[list[str], int]:
                """And how many of these the front listed."""
                how = {"timeout": 20, "metadata": [("authorization", f"Bearer {tokens[whose]}")]}
                before = served.counts()["listed"]
                found = rpc.CollectionsStub(channel).List(pb.ListCollectionsRequest(), **how).names
                return list(found), served.counts()["listed"] - before

            end = time.monotonic() + 20
            while names("all") != (["mine", "other"], 1):  # once both are open, and the keys are known
                assert names("mine") == (["mine"], 0) and time.monotonic() < end
            assert names("mine") == (["mine"], 0)
    finally:
        served.stop()
