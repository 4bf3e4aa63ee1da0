"""What the table of threads derives from the times of calls, and how many threads a process takes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

import bebr
from benchmarks import threads


def test_times_and_work_are_of_the_fastest_calls(monkeypatch):
    """With one thread 8 s; with two 5 s of 9 s of work, 5.4 s of them the caller's; apart 4 s."""
    used = bebr.get_num_threads()
    first = iter([True, True, True])  # calls that make what later ones keep
    slower = iter([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])

    def take(call):
        asked.clear()
        call()
        if next(first, False):
            return threads.Taken(0, 0, 0)
        times = next(slower)
        alone = bebr.get_num_threads() == 1
        clock = 5.0 if not alone else 4.0 if len(asked) == 2 else 8.0
        return threads.Taken(clock * times, (8.0 if alone else 9.0) * times, 5.4 * times)

    asked = []
    monkeypatch.setattr(threads, "take", take)
    try:
        with ThreadPoolExecutor(2) as callers:
            row = threads.measure("flat", asked.append, range(10), 2, 2, callers)
    finally:
        bebr.set_num_threads(used)
    assert (row.one, row.many, row.times, row.apart) == (8, 5, 1.6, 2)
    assert row.work == pytest.approx(9 / 8) and row.serial == pytest.approx(0.2)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_a_process_on_one_processor_takes_one_thread():
    assert threads.threads_on_one() == 1
