"""The figures behind the dashboard's chart."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bebr.http.latency import SECONDS, SLOTS, Latency
from bebr.serve.calls import Call


def test_calls_are_kept_by_method_and_slot_for_ten_minutes():
    now = [1000.0]
    latency = Latency(lambda: now[0])
    for seconds, elapsed in ((0, 1e6), (1, 3e6), (25, 2e6)):
        now[0] = 1000.0 + seconds
        latency.note(Call("Points/Search", elapsed=int(elapsed)))
    latency.note(Call("Points/Upsert", code="CANCELLED", elapsed=10**9))
    series = latency.series()
    assert list(series["methods"]) == ["Points/Search"]
    first, second = series["methods"]["Points/Search"]
    assert (first["time"], first["calls"], second["time"], second["calls"]) == (1000, 2, 1020, 1)
    assert abs(first["p50_ms"] - 1) < 0.05 and abs(first["p99_ms"] - 3) < 0.15
    now[0] = 1000.0 + SECONDS * SLOTS
    assert [slot["time"] for slot in latency.series()["methods"]["Points/Search"]] == [1020]
    now[0] += 10_000
    assert latency.series()["methods"] == {}


@given(st.lists(st.integers(1, 10**11), min_size=1, max_size=300))
def test_quantiles_are_right_to_a_twentieth(elapsed):
    latency = Latency(lambda: 0.0)
    for one in elapsed:
        latency.note(Call("a", elapsed=one))
    slot = latency.series()["methods"]["a"][0]
    assert slot["calls"] == len(elapsed) == Counter(elapsed).total()
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99)):
        exact = float(np.quantile(elapsed, share, method="inverted_cdf")) / 1e6
        assert abs(slot[name] - exact) <= 0.03 * exact + 1e-4
