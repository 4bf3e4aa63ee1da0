"""What a keeper starts and ends, over a fleet that is a list."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bebr.cluster.keeping import Keeper, Plan, Running
from bebr.cluster.placing import Member, Size


class Fleet:
    """Members are ready once they are told to be."""

    def __init__(self, *nodes: str) -> None:
        self.there = dict.fromkeys(nodes, 100)
        self.members: list[Running] = []
        self.started = 0

    def nodes(self):
        return self.there

    def cores(self):
        return dict.fromkeys(self.there, 2.0)

    def running(self):
        return list(self.members)

    def start(self, member, node, generation):
        self.started += 1
        self.members.append(Running(f"{self.started:06}", member, node, False, False, generation))

    def end(self, running):
        self.members = [one for one in self.members if one.name != running.name]

    def get_ready(self):
        self.members = [replace(one, ready=True, settled=True) for one in self.members]

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
    keeper = Keeper(fleet, Plan(size))
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
    keeper = Keeper(fleet, Plan(size))
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
    fleet.settle(Keeper(fleet, Plan(size)))
    before = list(fleet.members)
    Keeper(fleet, Plan(size)).look()
    assert fleet.members == before
    fleet.settle(Keeper(fleet, Plan(replace(size, replicas=3))))
    assert len(fleet.members) == 7 and set(before) < set(fleet.members)
    fleet.settle(Keeper(fleet, Plan(replace(size, replicas=1))))
    assert sorted(str(one.member) for one in fleet.members) == ["leaf-0-0", "leaf-1-0", "root-0"]


def test_a_leaf_whose_way_is_changed_while_it_is_on_it_arrives():
    fleet, size = Fleet("a", "b"), Size(shards=4, replicas=1)
    keeper = Keeper(fleet, Plan(size))
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
    keeper = Keeper(fleet, Plan(size))
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


def ready(fleet: Fleet) -> set[str]:
    return {str(one.member) for one in fleet.members if one.ready}


def followed(fleet: Fleet, plan: Plan) -> None:
    """Until all is as planned; whoever took calls does so all the way, by one process or another."""
    keeper, all_of_them = Keeper(fleet, plan), ready(fleet)
    while not keeper.look():
        assert ready(fleet) == all_of_them
        fleet.get_ready()


def test_a_node_that_is_drained_has_nothing_at_the_end_and_all_take_calls_meanwhile():
    fleet, size = Fleet("a", "b", "c"), Size(shards=3, replicas=2, roots=2)
    fleet.settle(Keeper(fleet, Plan(size)))
    moved = fleet.on("a")
    followed(fleet, Plan(size, drained=frozenset("a")))
    assert moved and fleet.on("a") == [] and len(fleet.members) == 8
    followed(fleet, Plan(size))
    assert fleet.on("a") != []


def test_what_no_other_node_may_have_stays_on_the_one_that_is_drained():
    fleet, size = Fleet("a", "b"), Size(shards=1, replicas=2)
    fleet.settle(Keeper(fleet, Plan(size)))
    keeper = Keeper(fleet, Plan(size, drained=frozenset("a")))
    fleet.settle(keeper)
    assert len(fleet.members) == 3 and not keeper.look()


def test_an_upgrade_replaces_each_process_where_it_is_by_one_that_takes_calls_already():
    fleet, size = Fleet("a", "b", "c"), Size(shards=3, replicas=2, roots=1)
    fleet.settle(Keeper(fleet, Plan(size)))
    before = {(str(one.member), one.node): one.name for one in fleet.members}
    followed(fleet, Plan(size, generation=1))
    after = {(str(one.member), one.node): one.name for one in fleet.members}
    assert before.keys() == after.keys() and not set(before.values()) & set(after.values())
    assert {one.generation for one in fleet.members} == {1}


def test_a_new_process_that_opens_nothing_replaces_none():
    fleet, size = Fleet("a"), Size(shards=2)
    fleet.settle(Keeper(fleet, Plan(size)))
    old, keeper = ready(fleet), Keeper(fleet, Plan(size, generation=1))
    for _ in range(5):
        assert not keeper.look()
        fleet.members = [replace(one, ready=True) for one in fleet.members]  # they take calls; not settled
    assert len(fleet.members) == 4 and ready(fleet) == old
    assert sum(one.generation == 0 for one in fleet.members) == 3


def test_where_a_node_has_no_room_for_both_the_other_replica_answers_meanwhile():
    fleet, size = Fleet("a", "b"), Size(shards=2, replicas=2, leaf_bytes=50)
    fleet.settle(Keeper(fleet, Plan(size)))
    keeper = Keeper(fleet, Plan(size, generation=1))
    while not keeper.look():
        assert {str(one.member)[:6] for one in fleet.members if one.settled} >= {"leaf-0", "leaf-1"}
        assert max(sum(one.member.kind == "leaf" for one in fleet.members if one.node == node) for node in "ab") == 2
        fleet.get_ready()
    assert {one.generation for one in fleet.members} == {1}


def test_replicas_are_added_while_leaves_have_much_to_do_and_taken_away_when_they_have_not():
    fleet, now = Fleet("a", "b", "c"), [0.0]
    keeper = Keeper(fleet, Plan(Size(shards=1), most=2), clock=lambda: now[0])
    fleet.settle(keeper)

    def replicas(cores: float, seconds: int) -> int:
        for _ in range(seconds):
            now[0] += 1
            fleet.members = [replace(one, cores=cores) for one in fleet.members]
            keeper.look()
            fleet.get_ready()
        return sum(one.member.kind == "leaf" for one in fleet.members)

    assert replicas(0.5, 30) == 1  # a quarter of two cores
    assert replicas(1.8, 9) == 1 and replicas(1.8, 5) == 2 and replicas(1.8, 60) == 2
    assert replicas(0.9, 100) == 2  # what is left would have .9 of its cores to do
    assert replicas(0.1, 59) == 2 and replicas(0.1, 5) == 1 and keeper.look()


def test_where_every_node_has_much_to_do_no_replica_is_added():
    fleet, now = Fleet("a", "b"), [0.0]
    keeper = Keeper(fleet, Plan(Size(shards=2), most=2), clock=lambda: now[0])
    fleet.settle(keeper)
    for _ in range(60):
        now[0] += 1
        fleet.members = [replace(one, cores=2.0) for one in fleet.members]
        keeper.look()
    assert len(fleet.members) == 3


def test_a_leaf_that_has_grown_moves_where_there_is_room():
    fleet, size = Fleet("a", "b", "c"), Size(shards=4, leaf_bytes=30)
    fleet.there.update(a=60, b=60, c=0)
    fleet.settle(keeper := Keeper(fleet, Plan(size)))
    assert len(fleet.members) == 5 and keeper.look()
    fleet.there["c"] = 90
    fleet.members = [replace(one, bytes=40) for one in fleet.members]
    fleet.settle(keeper)
    assert len(fleet.members) == 5 and keeper.look()
    assert max(sum(one.member.kind == "leaf" for one in fleet.members if one.node == node) for node in "ab") == 1


def test_bounds_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="most replicas is 1: want 2, the replicas, or more"):
        Plan(Size(shards=1, replicas=2), most=1)
