"""The model of a cluster, where the answer is known without it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("simpy", reason="needs simpy: pip install 'bebr[bench]'")

from benchmarks.cluster_simulation.model import Layout, Measured, simulate

MS = 1e-3
STEADY = Measured([100, 400], [1 * MS, 2 * MS], [1.0], 0.4 * MS, 0.5 * MS, 0.1 * MS, 0.2 * MS, 80.0, 1.0)


def test_one_client_waits_for_the_sum_of_all():
    seconds = simulate(STEADY, Layout(shards=4, network=0.05 * MS), 400, 50, clients=1)
    # client, two ways there and back, root with four leaves, one leaf of 100 rows
    np.testing.assert_allclose(seconds, (0.2 + 4 * 0.25 + 0.5 + 4 * 0.1 + 1.0) * MS)


def test_on_one_machine_leaves_wait_for_each_other():
    alone = simulate(STEADY, Layout(shards=4, cores=4, together=True), 400, 50, clients=1)
    shared = simulate(STEADY, Layout(shards=4, cores=1, together=True), 400, 50, clients=1)
    np.testing.assert_allclose(shared - alone, 3 * MS)


def test_a_queue_of_one_core_is_as_long_as_theory_says():
    free = Measured([100], [1 * MS], np.random.default_rng(0).exponential(size=4000).tolist(), 0, 0, 0, 0, 80.0, 1.0)
    seconds = simulate(free, Layout(shards=1), 100, 4000, load=0.5)
    assert np.mean(seconds) == pytest.approx(2 * MS, rel=0.2)  # M/M/1: 1 / (1 - load)


def test_a_second_try_cuts_what_stragglers_cost():
    slow = Measured([100], [1 * MS], [1.0] * 98 + [60.0] * 2, 0, 0, 0, 0, 80.0, 1.0)
    one, two = (simulate(slow, Layout(4, replicas), 400, 800, clients=1) for replicas in (1, 2))
    assert np.quantile(one, 0.95) > 50 * MS and np.quantile(two[300:], 0.95) < 30 * MS


def test_sizes_between_and_beyond_those_that_were_measured():
    assert STEADY.service_of(100) == pytest.approx(1 * MS) and STEADY.service_of(400) == pytest.approx(2 * MS)
    assert STEADY.service_of(200) == pytest.approx(np.sqrt(2) * MS) and STEADY.service_of(1600) == pytest.approx(4 * MS)
    flat = Measured([100, 400], [1 * MS, 1 * MS], [1.0], 0, 0, 0, 0, 80.0, 1.0)
    assert flat.service_of(200) == 1 * MS and flat.service_of(40_000) == pytest.approx(10 * MS)
