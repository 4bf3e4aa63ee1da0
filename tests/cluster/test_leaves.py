"""Which leaf is asked first."""

from __future__ import annotations

import asyncio
import socket
import time
from types import SimpleNamespace

import pytest

from bebr.cluster.leaf import Leaf
from bebr.cluster.leaves import Leaves
from bebr.cluster.names import Shard, Taken
from bebr.serve.channel import Address
from bebr.v1 import bebr_pb2 as pb

DOCS = Shard("docs", 0, 2)


def leaf(name: str, **about) -> SimpleNamespace:
    """What `Leaves` knows of one that has DOCS."""
    known = {"shards": {DOCS}, "alive": True, "shared": "db", "taken": Taken(), "looked": 0.0, "versions": {}}
    made = SimpleNamespace(name=name, **{**known, **about})
    made.have = lambda shards: setattr(made, "shards", shards)
    return made


def readers(leaves: Leaves) -> list[str]:
    return [one.name for one in leaves._readers(DOCS)[0]]


def test_reads_go_by_turns_and_to_who_has_what_was_written():
    a, b, c = (leaf(name) for name in "abc")
    leaves = Leaves([a, b, c], 1.0)
    assert sorted(readers(leaves)[0] for _ in range(3)) == ["a", "b", "c"]
    leaves._written[DOCS] = b, time.monotonic()
    assert {readers(leaves)[0] for _ in range(3)} == {"b"}
    for one, version in ((a, 7), (b, 7), (c, 6)):  # as they were before the write, for all that is known
        one.versions[DOCS] = version
    assert {readers(leaves)[0] for _ in range(3)} == {"b"}
    b.looked = time.monotonic()
    assert {readers(leaves)[0] for _ in range(3)} == {"a", "b"}
    b.versions[DOCS] = c.versions[DOCS] = 8
    assert {readers(leaves)[0] for _ in range(3)} == {"b", "c"}
    b.alive = False
    assert readers(leaves)[-1] == "b" and {readers(leaves)[0] for _ in range(3)} == {"c"}


def test_one_that_was_made_anew_is_read_where_it_was_made():
    a, b = leaf("a"), leaf("b")
    leaves = Leaves([a, b], 1.0)
    leaves.note_dropped(DOCS)
    assert leaves.shards() == set()
    b.shards = {DOCS}  # it has not heard of it
    assert leaves.shards() == set()
    leaves.note_made(DOCS, a)
    a.versions, b.versions, a.looked = {DOCS: 1}, {DOCS: 90}, time.monotonic()
    b.looked = a.looked
    assert leaves.shards() == {DOCS} and {readers(leaves)[0] for _ in range(2)} == {"a"}
    b.looked += 10
    assert {readers(leaves)[0] for _ in range(2)} == {"a", "b"}


def test_calls_of_a_leaf_that_is_gone_are_tried_elsewhere():
    async def asked(address: str) -> None:
        gone = Leaf(Address.of(address, None, 0, None, None))
        waiting = asyncio.ensure_future(gone.call("Admin/Info", pb.InfoRequest()))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await gone.close()
        for call in (waiting, gone.call("Admin/Info", pb.InfoRequest())):
            with pytest.raises(ConnectionError, match="is there no more"):
                await call

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(asked(f"127.0.0.1:{silent.getsockname()[1]}"))


def test_writes_go_to_who_wrote_last_and_roots_begin_with_the_same_one():
    a, b = leaf("a"), leaf("b")
    one, other = Leaves([a, b], 1.0), Leaves([a, b], 1.0)
    for shard in (DOCS, Shard("docs", 1, 2)):
        a.shards |= {shard}
        b.shards |= {shard}
        assert one._writers(shard) == other._writers(shard)
    assert one._writers(DOCS)[0] is not one._writers(Shard("docs", 1, 2))[0]
    one._written[DOCS] = b, 0.0
    assert one._writers(DOCS)[0] is b
    b.alive = False
    assert one._writers(DOCS)[0] is a
    with pytest.raises(ConnectionError, match=r"no leaf has shard x\.0of2: start one that takes it"):
        one._writers(Shard("x", 0, 2))


def test_who_answers_says_whether_a_collection_is_nowhere():
    first, second = leaf("a", taken=Taken(["0"])), leaf("b", taken=Taken(["1"]))
    leaves = Leaves([first, second], 1.0)
    assert leaves.are_all("other")
    first.alive = False  # the first shard of another collection would be there
    assert not leaves.are_all("other")
    first.alive, first.shared, second.shared = True, "", ""  # folders: each has its own collections
    assert not leaves.are_all("other")
    first.looked = second.looked = 1.0
    first.alive = False
    assert leaves.are_all("other")
