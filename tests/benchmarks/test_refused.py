from __future__ import annotations

from benchmarks import refused


def test_twenty_gigabytes_are_refused_every_time():
    found = refused.measure(3)
    assert found.requests == 3 and found.searches > 0 and found.memory_mib < refused.AIM_MIB
    assert max(found.slowest_ms, found.beside_worst_ms) < 100 * refused.AIM_MS  # no more than that on a busy machine
