"""The verdicts of a soak, and of servers side by side, without running them for long."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks import peer_clients, serve_peers, soak
from benchmarks.serve_peers import Asked, Row, exact
from benchmarks.soak import Window
from tests.conftest import clustered


def windows(memory, descriptors, p99) -> list[Window]:
    columns = zip(memory, descriptors, p99, strict=True)
    models = ["one"] + ["other"] * 4 + ["one"] * 5
    return [Window(10.0 * i, m, d, d, 100, 1.0, p, 3, 1000, models[i]) for i, (m, d, p) in enumerate(columns)]


def test_what_stays_as_it_was_holds_and_what_grows_does_not():
    warm = windows([50, 70, *[100] * 8], [9, 20, *[30] * 8], [50, 9, *[5] * 8])  # the first fifth does not count
    assert all(holds for holds, _ in soak.verdicts(warm, Counter()).values())
    worse = windows([100] * 9 + [120], [30] * 9 + [33], [5] * 9 + [7])
    worse[9].model = "third"
    found = soak.verdicts(worse, Counter({"plain: KeyError()": 2}))
    assert not any(holds for holds, _ in found.values())
    assert found.keys() - soak.verdicts(worse, Counter(), level_alone=True).keys() == {"p99 is as it was"}
    assert found["memory is flat"][1].startswith("1.20") and "2 times plain" in found["no call failed"][1]


class Exact:
    """A database that is right at effort 2 alone, and counts its calls."""

    settings = ({"effort": 1}, {"effort": 2}, {"effort": 3})

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []

    def add(self, ids, vectors, fields) -> None:
        self.parts.append(vectors)

    def finish(self) -> None:
        self.rows = np.concatenate(self.parts)

    def search(self, query, k, below, setting) -> list[int]:
        if setting["effort"] < 2:
            return [0] * k
        return np.argsort(-(self.rows @ query), kind="stable")[:k].tolist()

    def close(self) -> None:
        self.closed = True


def test_servers_are_compared_at_the_least_effort_that_recalls_enough(tmp_path):
    x, queries = clustered(500, 16), clustered(20, 16, seed=9)
    maker = lambda folder, dim, fields: (Exact(), "1.0")  # noqa: E731
    tried, timed = (Asked(some, exact(x, some, 10)) for some in np.split(queries, 2))
    ready = serve_peers.prepare("exact", maker, tmp_path, x, tried, timed)
    assert ready.setting == {"effort": 2} and ready.recall == 1.0 and ready.memory == 0
    row = serve_peers.load(ready, queries, 4, 0.2)
    assert row.clients == 4 and row.per_second > 0 and row.p50 <= row.p99
    assert row.client_us > 0 and row.server_us == 0
    others = Asked(timed.queries, timed.truth + 500)
    ready = serve_peers.prepare("exact", maker, tmp_path, x, tried, others)
    assert ready.setting == {"effort": 2} and ready.recall == 0.0  # what is timed chooses nothing
    rows = [Row("a", 1, n, n, n, n, n) for n in (1.0, 5.0, 3.0)]
    assert serve_peers.middle(rows) == Row("a", 1, *[3.0] * 5)


def test_what_stops_a_client_is_what_is_raised():
    database = Exact()
    with pytest.raises(KeyError, match="effort"):
        peer_clients.loaded(database, clustered(20, 16), 2, 0.1, {})


def of(engine: str, clients: int, per_second: float) -> Row:
    return Row(engine, clients, per_second, 1.0, 1.0, 1.0, 1.0)


def test_one_row_of_ours_is_set_against_the_best_peer_that_recalls_enough():
    rows = [of("bebr, a", 64, 90), of("bebr, b", 64, 70), of("redis", 64, 30), of("fast and wrong", 64, 500)]
    rows += [of("bebr, a", 1, 9), of("bebr, b", 1, 20), of("redis", 1, 4), of("pgvector", 1, 10)]
    good = {row.engine for row in rows} - {"fast and wrong"}
    most, alone = serve_peers.verdicts(good, rows)
    assert (most.ours, most.peer, most.times, most.held) == ("bebr, a", "redis", 3.0, True)
    assert (alone.ours, alone.peer, alone.times, alone.held) == ("bebr, a", "pgvector", 0.9, False)
    assert str(alone).startswith("missed: ahead of the best peer at 1 client; bebr, a, has 0.90 times")
    assert not serve_peers.verdicts({"bebr, a"}, rows)
