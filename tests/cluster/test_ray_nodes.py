"""What a cluster makes of the nodes that Ray tells of; without Ray."""

from __future__ import annotations

from bebr.cluster.ray_nodes import addresses, cores, head, memory


def node(name: str, alive: bool = True, **resources: float) -> dict:
    return {"NodeID": name, "Alive": alive, "NodeManagerAddress": f"10.0.0.{name}", "Resources": resources}


HEAD = {"node:__internal_head__": 1.0}
SAID = [node("1", CPU=4.0, memory=100.0), node("2", alive=False, CPU=4.0), node("3", CPU=2.0), node("4", **HEAD)]


def test_members_are_for_nodes_that_live_and_have_processors():
    assert memory(SAID) == {"1": 100, "3": 0} and cores(SAID) == {"1": 4.0, "3": 2.0}
    assert addresses(SAID) == {"1": "10.0.0.1", "3": "10.0.0.3"}


def test_the_keeper_is_at_the_head_though_that_is_for_no_members():
    assert head(SAID) == "4"
    assert head([node("1", CPU=4.0, **HEAD), node("2", CPU=4.0)]) == "1"
    assert head([node("4", alive=False, **HEAD), node("1", CPU=4.0)]) is None
