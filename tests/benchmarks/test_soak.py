"""What the soak says of its windows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from benchmarks.soak import Window, verdicts

LEVEL = Window(0.0, 80 << 20, 22, 26, 4400, 1.3, 14.0, 2, 48_500, "first")
# Of thirty minutes: two migrations, there and back.
RUN = [replace(LEVEL, at=30.0 * i, model="second" if 3 <= i < 30 else "first") for i in range(60)]


def missed(windows: list[Window], failures: Counter[str] | None = None) -> list[str]:
    return [claim for claim, (held, _) in verdicts(windows, failures or Counter()).items() if not held]


def with_last(**changes: object) -> list[Window]:
    return RUN[:-9] + [replace(one, **changes) for one in RUN[-9:]]  # type: ignore[arg-type]


def test_a_level_run_meets_all() -> None:
    assert missed(RUN) == []


def test_files_that_stay_open_are_a_leak() -> None:
    assert missed(with_last(descriptors=25)) == ["descriptors are as many"]
    assert missed(with_last(threads=29)) == ["threads are as many"]


def test_files_of_a_merge_under_way_are_none() -> None:
    amid = [*RUN[:-2], replace(RUN[-2], descriptors=33, threads=29, segments=3), RUN[-1]]
    assert missed(amid) == []


def test_what_grows_or_fails_is_named() -> None:
    assert missed(with_last(memory=90 << 20)) == ["memory is flat"]
    assert missed(with_last(p99=17.0)) == ["p99 is as it was"]
    assert missed([replace(one, model="first") for one in RUN]) == ["both migrations ended"]
    assert missed(RUN, Counter({"DEADLINE_EXCEEDED": 1})) == ["no call failed"]
