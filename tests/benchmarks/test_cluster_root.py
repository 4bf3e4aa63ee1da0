"""What the benchmark of a root says of figures that are known."""

from __future__ import annotations

import pytest

from benchmarks.call_load import Answered, loaded
from benchmarks.cluster_root import Waits, Work, held_up, medians, verdicts


def work(outstanding: int, roots_us: float, alone_us: float = 100.0) -> Work:
    direct = Answered(4000.0, [1.0] * 1001, [alone_us / 4] * 4, 5.0, 8000)
    through = Answered(800.0, [1.0] * 1001, [100.0] * 4 + [roots_us / 2] * 2, 5.0, 1600)
    return Work.of(outstanding, direct, through, (16.0, 8.0))


def test_the_share_is_of_what_leaves_alone_need_for_as_many_searches():
    assert work(8, 100.0).share == 0.8 and work(8, 0.0).share == 1.0
    assert work(8, 100.0, alone_us=50.0).share == 0.4  # leaves that need more behind roots count, too
    assert (work(8, 100.0).through_s, work(8, 100.0).alone_s) == (3200.0, 4000.0)


def test_an_aim_is_missed_by_either_leaf_and_by_any_load():
    def met(root: float, shard: float, all: float, *roots_us: float) -> list[bool]:
        works = [work(n, us) for n, us in enumerate(roots_us)]
        return [one[3] for one in verdicts(Waits(root, shard, all), works, 40_000)]

    assert met(1.5, 0.5, 0.7, 100.0, 99.0) == [True, True, True, True]
    assert met(1.6, 0.5, 0.7, 100.0, 101.0) == [False, True, True, False]


def test_rounds_become_the_median_of_each_figure():
    assert medians([Waits(3.0, 1.0, 9.0), Waits(1.0, 2.0, 8.0), Waits(2.0, 9.0, 7.0)]) == Waits(2.0, 2.0, 8.0)
    middle = medians([work(8, us) for us in (30.0, 10.0, 20.0)])
    assert middle.roots_us == 20.0 and middle.outstanding == 8 and isinstance(middle.outstanding, int)


@pytest.mark.parametrize(("cores", "ms"), [(1, 0.3), (2, 0.1), (4, 0.0), (16, 0.0)])
def test_leaves_wait_for_each_other_where_there_are_fewer_cores(cores, ms):
    assert held_up(work(8, 0.0), cores) == pytest.approx(ms)


def test_the_light_client_has_one_host():
    with pytest.raises(ValueError, match=r"addresses are of 127\.0\.0\.2, 127\.0\.0\.3: want ports of one host"):
        loaded(["127.0.0.2:1", "127.0.0.3:1"], ["docs"], [1], 8, 1, 2, 1.0)
