"""How many bytes calls may hold, and how much memory there is."""

from __future__ import annotations

import pytest

from bebr.errors import LimitExceeded
from bebr.serve.admission import SMALL_BYTES, Budget, default_budget, largest, usable_memory


def test_calls_over_the_budget_are_refused_and_the_rest_is_given_back():
    budget = Budget(64 << 20)
    with budget.hold(40 << 20, "the request"):
        with pytest.raises(LimitExceeded, match=f"the request needs about {20 << 20} bytes.*hold {40 << 20}"):
            budget.hold(20 << 20, "the request").__enter__()
        assert budget.held == 40 << 20
    assert budget.held == 0
    with pytest.raises(RuntimeError), budget.hold(largest(budget.total), "the request"):
        raise RuntimeError
    assert budget.held == 0


def test_large_calls_leave_room_for_small_ones():
    budget = Budget(64 << 20)
    with budget.hold(largest(budget.total), "a"):
        with pytest.raises(LimitExceeded):
            budget.hold(SMALL_BYTES + 1, "b").__enter__()
        with budget.hold(SMALL_BYTES, "c"):
            pass


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/service/bebr\n", {"sys/fs/cgroup/service/memory.max": "1000000", "sys/fs/cgroup/memory.max": "max"}, 1e6),
        ("0::/of/the/host\n", {"sys/fs/cgroup/memory.max": "2000000\n"}, 2e6),
        ("4:memory:/docker/1\n", {"sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "3000000"}, 3e6),
        ("4:cpu:/docker/1\n", {"sys/fs/cgroup/cpu/docker/1/memory.max": "1"}, None),
        (None, {}, None),
    ],
    ids=["parent", "container", "version 1", "other controller", "none"],
)
def test_usable_memory_is_the_least_of_the_limits(tmp_path, groups, files, expected):
    if groups is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    unlimited = usable_memory(tmp_path / "nothing")
    assert usable_memory(tmp_path) == (unlimited if expected is None else expected)


def test_the_default_is_a_part_of_the_memory():
    assert 0 < default_budget() < usable_memory()
