"""The model of a cluster, where the answer is known without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("simpy", reason="needs simpy: pip install 'bebr[bench]'")

from benchmarks.cluster_simulation.__main__ import Cell, roots_for
from benchmarks.cluster_simulation.model import Idle, Layout, Measured, simulate
from benchmarks.cluster_simulation.real import at_once

MS = 1e-3
REST = Idle(0.0, 1 * MS)
STEADY = Measured(
    **{"rows": [100, 400], "service": [1 * MS, 2 * MS], "noise": [[0.0], [0.0]], "noise_per": [1 * MS, 1 * MS]},
    **{"leaves": [1, 2, 4], "root": [0.3 * MS, 0.7 * MS, 0.9 * MS], "root_idle": [REST] * 3, "root_wait": 0.0},
    **{"leaf_idle": REST, "root_threads": 1, "wake": 0.1 * MS, "beside": 1.0, "client": 0.2 * MS},
    **{"row_bytes": 80.0, "start": 1.0, "alone": 1.4 * MS},
)
FREE = replace(STEADY, rows=[100], service=[1 * MS], noise=[[0.0]], root=[0.0] * 3, wake=0.0, client=0.0)


def one_machine(shards: int, cores: int) -> Layout:
    return Layout(shards, cores=cores, together=True)


def test_one_client_waits_for_the_sum_of_all():
    def asked(shards: int, **about: float):
        return simulate(
            replace(STEADY, **about), Layout(shards, cores=9, network=0.05 * MS), 100 * shards, 50, clients=1
        )

    # client, four ways of the network, four processors that sleep, the root over one leaf, a leaf of 100 rows
    np.testing.assert_allclose(asked(1), (0.2 + 4 * 0.05 + 4 * 0.1 + 0.3 + 1.0) * MS)
    np.testing.assert_allclose(asked(1, root_wait=0.2 * MS), (2.1 + 0.2) * MS)
    np.testing.assert_allclose(asked(1, root_wait=-0.2 * MS), (2.1 - 0.2) * MS, rtol=1e-6)  # comes after the answer
    # Of .9 ms, .1 are for each leaf: the last is asked after .25 + 4 * .05, its answer is read in .05, the rest is .25.
    np.testing.assert_allclose(asked(4), (0.2 + 4 * 0.05 + 4 * 0.1 + 0.25 + 0.2 + 1.0 + 0.05 + 0.25) * MS)


def test_on_one_machine_leaves_wait_for_each_other():
    alone = simulate(FREE, one_machine(4, cores=9), 400, 50, clients=1)
    shared = simulate(FREE, one_machine(4, cores=1), 400, 50, clients=1)
    np.testing.assert_allclose(shared - alone, 3 * MS)


def test_processors_are_slower_beside_others_that_compute():
    both = simulate(replace(FREE, beside=1.5), one_machine(2, cores=2), 200, 50, clients=1)
    one = simulate(replace(FREE, beside=1.5), one_machine(1, cores=2), 100, 50, clients=1)
    np.testing.assert_allclose(one, 1 * MS)
    np.testing.assert_allclose(both, 1.5 * MS)


def test_a_root_of_one_thread_is_what_two_clients_wait_for():
    busy = replace(FREE, service=[0.0], root=[1 * MS] * 3)
    for threads, ms in ((1, 2.0), (2, 1.0)):
        seconds = simulate(replace(busy, root_threads=threads), one_machine(1, cores=9), 100, 100, clients=2)
        np.testing.assert_allclose(np.median(seconds), ms * MS)


def test_queries_wait_for_what_processes_do_besides():
    looking = replace(FREE, root_idle=[Idle(0.2, 5 * MS)] * 3)
    seconds = simulate(looking, one_machine(1, cores=1), 100, 8000, clients=1)
    assert np.median(seconds) == pytest.approx(1 * MS) and seconds.max() > 5.9 * MS
    assert np.mean(seconds) == pytest.approx(1.25 * MS, rel=0.1)  # they have .8 of the processor
    apart = simulate(looking, Layout(1, cores=1), 100, 400, clients=1)
    np.testing.assert_allclose(apart, 1 * MS)


def test_noise_is_that_of_the_time_that_is_computed():
    chance = np.random.default_rng(0).exponential(MS, size=4000) - MS
    for times in (1, 4):
        noisy = replace(FREE, service=[10 * times * MS], noise=[chance.tolist()], noise_per=[10 * MS] * 2)
        seconds = simulate(noisy, one_machine(1, cores=9), 100, 4000, clients=1)
        assert np.mean(seconds) == pytest.approx(10 * times * MS, rel=0.01)
        assert np.std(seconds) == pytest.approx(times**0.5 * MS, rel=0.1)


def test_a_queue_of_one_core_is_as_long_as_theory_says():
    chance = np.random.default_rng(0).exponential(MS, size=4000)
    noisy = replace(FREE, noise=[(chance - MS).tolist()])
    seconds = simulate(noisy, Layout(shards=1), 100, 4000, load=0.5)
    assert np.mean(seconds) == pytest.approx(2 * MS, rel=0.2)  # M/M/1: 1 / (1 - load)


def test_a_second_try_cuts_what_stragglers_cost():
    slow = replace(FREE, noise=[[0.0] * 98 + [59 * MS] * 2])
    one, two = (simulate(slow, Layout(4, replicas), 400, 800, clients=1) for replicas in (1, 2))
    assert np.quantile(one, 0.95) > 50 * MS and np.quantile(two[300:], 0.95) < 30 * MS


def test_sizes_between_and_beyond_those_that_were_measured():
    assert STEADY.service_of(100) == pytest.approx(1 * MS) and STEADY.service_of(400) == pytest.approx(2 * MS)
    assert STEADY.service_of(200) == pytest.approx(np.sqrt(2) * MS) and STEADY.service_of(1600) == pytest.approx(4 * MS)
    flat = replace(STEADY, service=[1 * MS, 1 * MS])
    assert flat.service_of(200) == 1 * MS and flat.service_of(40_000) == pytest.approx(10 * MS)
    assert [STEADY.root_of(n) / MS for n in (1, 2, 3, 4, 8)] == pytest.approx([0.3, 0.7, 0.8, 0.9, 1.3])
    assert STEADY.each(1) == 0.0 and STEADY.each(4) == pytest.approx(0.1 * MS)


def test_roots_are_as_many_as_have_time_for_the_queries():
    assert roots_for(STEADY, 4, 10.0) == 2  # never one alone
    assert roots_for(STEADY, 4, 10_000) == 26  # 9 s of work in a second, .35 of the time each
    with pytest.raises(ValueError, match="a root that looks at 8 leaves has no time left for queries"):
        roots_for(replace(STEADY, root_idle=[Idle(1.0, MS)] * 3), 4, 1.0)


def test_threads_that_take_turns_count_as_one():
    assert at_once({"1": 0, "2": 0}, {"1": 1000, "2": 300}) == 1 and at_once({}, {"1": 5, "2": 5, "3": 0}) == 2


def test_a_cell_agrees_within_a_fifth_to_either_side():
    assert [Cell(1, 1, 0.5, 1.0, model).agrees for model in (0.79, 0.81, 1.19, 1.21)] == [False, True, True, False]
