"""Which node has which leaf, against what is promised: replicas apart, room kept, few moves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bebr.cluster.placing import Member, Size, placed

sizes = st.builds(Size, st.integers(1, 6), st.integers(1, 3), st.integers(1, 2), st.sampled_from([0, 10]))
fleets = st.dictionaries(st.sampled_from("abcdef"), st.integers(5, 60), max_size=6)


def test_each_node_gets_its_part_and_replicas_are_apart():
    size = Size(shards=3, replicas=2)
    nodes = {"a": 100, "b": 100, "c": 100}
    places = placed(size, nodes, {})
    assert list(places) == [*size.members()[:3], Member("root", 0), *size.members()[4:]]
    assert sorted(Counter(places.values()).values()) == [2, 2, 3]
    assert all(places[Member("leaf", shard, 0)] != places[Member("leaf", shard, 1)] for shard in range(3))
    twice = placed(size, {"a": 200, "b": 100, "c": 100}, {})
    assert Counter(twice.values()) == {"a": 3, "b": 2, "c": 2}


@settings(max_examples=60, deadline=None)
@given(size=sizes, before=fleets, after=fleets)
@example(Size(2, 3, 1, 10), {"a": 5, "b": 10}, {"a": 31, "c": 11, "b": 10, "d": 32})  # a move makes room for another
def test_what_is_promised_holds_when_nodes_come_and_go(size, before, after):
    first = placed(size, before, {})
    places = placed(size, after, first)
    assert set(places) <= set(size.members()) and set(places.values()) <= set(after)
    assert placed(size, after, places) == places  # it comes to an end
    for node, memory in after.items():
        there = [member for member, on in places.items() if on == node]
        assert len({member.apart for member in there}) == len(there)
        assert sum(member.kind == "leaf" for member in there) * size.leaf_bytes <= memory
    for member in set(size.members()) - set(places):  # no node has room for it
        for node, memory in after.items():
            there = [other for other, on in places.items() if on == node]
            leaves = sum(other.kind == "leaf" for other in there)
            full = member.kind == "leaf" and (leaves + 1) * size.leaf_bytes > memory
            assert full or member.apart in {other.apart for other in there}
    if before == after:
        assert places == first
    kept = {member: node for member, node in first.items() if node in after}
    lost = [node for node in before if node not in after]
    if lost and set(after) < set(before):  # those of other nodes stay
        assert all(places[member] == node for member, node in kept.items() if member.kind == "root")


def test_members_have_names_that_are_read_again():
    members = Size(shards=12, replicas=2, roots=11).members()
    assert [Member.parsed(str(member)) for member in members] == members
    assert len({*map(str, members)}) == len(members)


@pytest.mark.parametrize("wrong", [{"shards": 0}, {"replicas": 17}, {"roots": 0}, {"leaf_bytes": -1}], ids=str)
def test_sizes_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} is {next(iter(wrong.values()))}: want"):
        Size(**{"shards": 1, **wrong})
