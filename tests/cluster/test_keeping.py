"""What a keeper starts and ends, over a fleet that is a list."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bebr.cluster.keeping import Keeper, Running
from bebr.cluster.placing import Member, Size


class Fleet:
    """Members are ready once they are told to be."""

    def __init__(self, *nodes: str) -> None:
        self.there = dict.fromkeys(nodes, 100)
        self.members: list[Running] = []
        self.started = 0

    def nodes(self):
        return self.there

    def running(self):
        return list(self.members)

    def start(self, member, node):
        self.started += 1
        self.members.append(Running(f"{self.started:06}", member, node, False))

    def end(self, running):
        self.members = [one for one in self.members if one.name != running.name]

    def get_ready(self):
        self.members = [replace(one, ready=True) for one in self.members]

    def settle(self, keeper: Keeper):
        """Until nothing changes."""
        before = None
        while before != self.members:
            before = list(self.members)
            keeper.look()
            self.get_ready()

    def on(self, node: str) -> list[str]:
        return sorted(str(one.member) for one in self.members if one.node == node)


def test_what_was_on_a_node_that_is_gone_is_started_on_others():
    fleet, size = Fleet("a", "b", "c"), Size(shards=3, replicas=2)
    keeper = Keeper(fleet, size)
    assert not keeper.look()
    assert sorted(str(one.member) for one in fleet.members) == sorted(map(str, size.members()))
    fleet.settle(keeper)
    assert keeper.look()
    first = {one.name for one in fleet.members if one.node != "b"}
    lost = fleet.on("b")
    del fleet.there["b"]
    keeper.look()
    assert fleet.on("b") == [] and first < {one.name for one in fleet.members}
    assert sorted(str(one.member) for one in fleet.members if one.name not in first) == lost
    fleet.settle(keeper)
    del fleet.there["c"]
    fleet.settle(keeper)  # two replicas of a shard are on no node together: one of each is left
    assert Counter(one.member.number for one in fleet.members if one.member.kind == "leaf") == {0: 1, 1: 1, 2: 1}


def test_a_node_that_comes_takes_its_part_one_leaf_at_a_time_and_no_shard_is_away_meanwhile():
    fleet, size = Fleet("a", "b"), Size(shards=8, replicas=1)
    keeper = Keeper(fleet, size)
    fleet.settle(keeper)
    fleet.there["c"] = 100
    keeper.look()
    assert not keeper.look()  # the one that moves is not ready: nothing else does, and it answers where it was
    assert len(fleet.members) == len(size.members()) + 1
    assert Counter(one.ready for one in fleet.members) == {True: 9, False: 1}
    while True:
        before = list(fleet.members)
        keeper.look()
        assert {str(one.member) for one in fleet.members if one.ready} >= {f"leaf-{shard}-0" for shard in range(8)}
        fleet.get_ready()
        if fleet.members == before:
            break
    assert len(fleet.on("c")) == 3 and len(fleet.members) == len(size.members())


def test_a_keeper_that_takes_over_finds_everything_as_it_is():
    fleet, size = Fleet("a", "b", "c"), Size(shards=2, replicas=2)
    fleet.settle(Keeper(fleet, size))
    before = list(fleet.members)
    Keeper(fleet, size).look()
    assert fleet.members == before
    fleet.settle(Keeper(fleet, replace(size, replicas=3)))
    assert len(fleet.members) == 7 and set(before) < set(fleet.members)
    fleet.settle(Keeper(fleet, replace(size, replicas=1)))
    assert sorted(str(one.member) for one in fleet.members) == ["leaf-0-0", "leaf-1-0", "root-0"]


def test_a_leaf_whose_way_is_changed_while_it_is_on_it_arrives():
    fleet, size = Fleet("a", "b"), Size(shards=4, replicas=1)
    keeper = Keeper(fleet, size)
    fleet.settle(keeper)
    fleet.there["c"] = 100
    keeper.look()
    fleet.there["c"], fleet.there["d"] = 10, 200  # it is on its way to c, which is no place for it any more
    fleet.settle(keeper)
    assert len(fleet.members) == len(size.members())
    assert len({one.member for one in fleet.members}) == len(fleet.members)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0, 50, 100]), st.booleans()), max_size=12))
def test_it_comes_to_rest_with_all_that_is_to_be(changes):
    fleet, size = Fleet("a", "b", "c"), Size(shards=3, replicas=2)
    keeper = Keeper(fleet, size)
    for node, memory, ready in changes:
        if memory:
            fleet.there[node] = memory
        else:
            fleet.there.pop(node, None)
        keeper.look()
        if ready:
            fleet.get_ready()
    fleet.settle(keeper)
    members = Counter(one.member for one in fleet.members)
    assert all(times == 1 for times in members.values())
    assert all(one.node in fleet.there for one in fleet.members)
    assert keeper.look() == (len(fleet.there) >= 2)
    if len(fleet.there) >= 2:
        assert set(members) == set(size.members())
    elif fleet.there:
        assert (
            set(members) == {*(Member("leaf", shard, 0) for shard in range(3)), Member("root", 0)} or len(members) == 4
        )
