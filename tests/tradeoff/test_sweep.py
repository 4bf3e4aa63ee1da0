"""The trade-off sweep: exact answers, held-out queries, honest rows, and the files that it leaves."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import bebr
from bebr.exact import exact, hits
from bebr.tradeoff import ROUNDS, Row, files, plans, split, sweep, write_csv, write_json
from tests.tradeoff.points import ours, theirs


@pytest.fixture(scope="module")
def rows(vectors: np.ndarray) -> list[Row]:
    return sweep(vectors, bytes=(12, 24), k=5)


@pytest.fixture
def little(vectors: np.ndarray) -> Callable[..., list[Row]]:
    """A sweep over two models that train at once, and no plan beside them."""
    return partial(sweep, vectors[:500], bytes=(4,), predict=False)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("block", [7, 100, 5000])
def test_exact_answers_are_those_of_a_full_float64_sort(metric: str, block: int) -> None:
    rng = np.random.default_rng(0)
    base, q = rng.standard_normal((300, 16)).astype(np.float32), rng.standard_normal((9, 16)).astype(np.float32)
    a, b = base.astype(np.float64), q.astype(np.float64)
    if metric == "l2":
        scores = -((b[:, None] - a[None]) ** 2).sum(-1)
    else:
        scores = b @ a.T / (np.linalg.norm(a, axis=1) if metric == "cosine" else 1)
    want = np.argsort(-scores, axis=1)[:, :10]
    np.testing.assert_array_equal(exact(base, q, 10, metric, block), want)


def test_exact_refuses_more_answers_than_rows() -> None:
    with pytest.raises(ValueError, match="k: got 4, wanted 1 to 3"):
        exact(np.ones((3, 8), np.float32), np.ones((1, 8), np.float32), 4, "ip")


def test_held_out_queries_are_not_in_the_base(vectors: np.ndarray) -> None:
    base, q = split(vectors, seed=3)
    assert len(q) == 300 and len(base) + len(q) == len(vectors)
    as_rows = {row.tobytes() for row in base}
    assert len(as_rows) == len(base) and not any(row.tobytes() in as_rows for row in q)
    np.testing.assert_array_equal(q, split(vectors, seed=3)[1])
    assert not np.array_equal(q, split(vectors, seed=4)[1])
    assert len(split(vectors, queries=7)[1]) == 7
    with pytest.raises(ValueError, match="queries: got 3000 of 3000"):
        split(vectors, queries=3000)


def test_plans_fit_their_budget_and_the_data() -> None:
    for budget in (24, 52, 100, 196):
        named = dict(plans(budget, 64))
        assert named.pop("ragged") == {"bytes_per_vector": budget}
        for recipe, arguments in named.items():
            widths = arguments["widths"]
            assert recipe == f"{len(widths)} plane{'s' if len(widths) > 1 else ''}"
            assert sum(widths) // 8 + 2 <= budget and 8 <= widths[0] <= 64 and widths[0] % 8 == 0
    assert "1 plane" not in dict(plans(52, 64)) and "1 plane" in dict(plans(52, 512))


def test_a_sweep_measures_every_plan_both_ways(rows: list[Row]) -> None:
    got = {(row.recipe, row.bytes_per_vector, row.query) for row in rows}
    assert len(got) == len(rows) == 2 * sum(len(list(plans(budget, 64))) for budget in (12, 24))
    for row in rows:
        assert row.system == "bebr" and row.threads == 1 and row.k == 5 and row.dims == row.widths[0]
        assert row.bytes_per_vector - sum(row.widths) / 8 in (1, 2)
        assert 0 < row.recall <= 1
        assert min(row.queries_per_second, row.latency_ms, row.encode_per_second, row.train_seconds) > 0


def test_more_bytes_and_float_queries_give_more_recall(rows: list[Row]) -> None:
    recall = {(row.bytes_per_vector, row.query): row.recall for row in rows if row.recipe == "ragged"}
    assert recall[24, "float"] > recall[12, "float"] + 0.05
    assert recall[24, "float"] > recall[24, "code"]
    assert recall[24, "float"] > 0.6


def test_recall_is_that_of_a_search_by_hand(vectors: np.ndarray, queries: np.ndarray) -> None:
    base = vectors[:600]
    rows = sweep(base, queries, bytes=(24,), seed=2, predict=False)
    row = next(row for row in rows if row.recipe == "ragged")
    index = bebr.FlatIndex(bebr.train(base, bytes_per_vector=24, seed=2, rounds=ROUNDS))
    index.add(base)
    found = index.search(queries, 10).ids
    truth = np.argsort(-(queries @ base.T), axis=1)[:, :10]
    by_hand = np.mean([len(set(f) & set(t)) / 10 for f, t in zip(found.tolist(), truth.tolist(), strict=True)])
    assert row.recall == pytest.approx(by_hand, abs=1e-9)
    assert row.recall_error == pytest.approx(hits(found, truth).std() / len(queries) ** 0.5, rel=1e-5)


def test_the_plan_stands_beside_the_outcome(vectors: np.ndarray, rows: list[Row]) -> None:
    for row in rows:
        assert row.predicted is not None and row.predicted_error is not None
        # 300 queries of the measurement spread by about as much again as the plan's error
        assert abs(row.predicted - row.recall) < 4 * (row.predicted_error**2 + 0.015**2) ** 0.5
        assert 0 < row.predicted_error < 0.03
    few = sweep(vectors[:15], vectors[15:20], bytes=(12,), k=13)
    assert {row.predicted for row in few} == {None}


def test_budgets_that_no_code_of_the_vectors_has_are_left_out_by_default(vectors: np.ndarray) -> None:
    rows = sweep(vectors[:100, :8], k=2, predict=False)  # eight dimensions have at most ten bytes
    assert {row.bytes_per_vector for row in rows if row.recipe == "ragged"} == {10}


def test_threads_are_given_back(little: Callable[..., list[Row]]) -> None:
    before = bebr.get_num_threads()
    try:
        bebr.set_num_threads(2)
        assert {row.threads for row in little(threads=1)} == {1}
        assert bebr.get_num_threads() == 2
    finally:
        bebr.set_num_threads(before)


def test_progress_reaches_every_plan(little: Callable[..., list[Row]]) -> None:
    seen: list[tuple[str, int, int]] = []
    little(progress=lambda what, done, total: seen.append((what, done, total)))
    assert seen[0] == ("exact answers", 0, 1)
    assert seen[1] == ("planning", 0, 1)
    assert [done for _, done, _ in seen[2:]] == list(range(seen[-1][2])) and seen[2][0] == "4 bytes, ragged"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "euclid"}, "metric: got 'euclid'"),
        ({"threads": 0}, "threads: got 0"),
        ({"bytes": ()}, "bytes: got no budget"),
        ({"bytes": (1,)}, "bytes: got 1, wanted 2 to 66 for 64 dimensions"),
        ({"bytes": (24, 67)}, "bytes: got 67, wanted 2 to 66"),
        ({"k": 0}, "k: got 0"),
        ({"k": 451}, "k: got 451, wanted 1 to 450"),
        ({"queries": np.ones((2, 32), np.float32)}, "queries has shape"),
    ],
)
def test_wrong_arguments_are_named(vectors: np.ndarray, arguments: dict[str, object], message: str) -> None:
    begun: list[str] = []
    with pytest.raises(ValueError, match=message):
        sweep(vectors[:500], progress=lambda what, done, total: begun.append(what), **arguments)  # type: ignore[arg-type]
    assert not any("bytes" in what for what in begun)  # nothing was trained


# Peers: two stand-ins, so that the test needs none installed


class ExactPeer:
    name, library, version, bytes_per_vector = "brute Flat32", "brute", "1", 256.0

    def fit(self, train: np.ndarray, threads: int | None = None) -> None:
        self.fitted = len(train)

    def add(self, base: np.ndarray) -> None:
        self.base = base

    def search(self, queries: np.ndarray, k: int, threads: int = 1) -> np.ndarray:
        return exact(self.base, queries, k, "cosine")


class FailingPeer(ExactPeer):
    name = "brute Broken"

    def fit(self, train: np.ndarray, threads: int | None = None) -> None:
        raise RuntimeError("too few\nrows")


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[object]], None]:
    def install(peers: list[object]) -> None:
        monkeypatch.setattr("bebr.peers.flat", lambda dim, metric: peers)
        monkeypatch.setattr("bebr.peers.missing", lambda: ["nosuch is not installed (pip install nosuch)"])

    return install


def test_peers_get_the_same_rows_and_failures_are_told(
    little: Callable[..., list[Row]], stand_ins: Callable[..., None]
) -> None:
    stand_ins([FailingPeer(), ExactPeer()])
    told: list[str] = []
    rows = little(peers=True, left_out=told.append)
    (peer,) = [row for row in rows if row.system == "brute"]
    assert peer.predicted is None
    assert peer.recall == 1 and peer.bytes_per_vector == 256 and peer.recipe == "brute Flat32"
    assert told == [
        "nosuch is not installed (pip install nosuch)",
        "brute Broken failed and is left out: too few rows",
    ]


def test_a_failing_peer_is_an_error_for_who_does_not_listen(
    little: Callable[..., list[Row]], stand_ins: Callable[..., None]
) -> None:
    stand_ins([FailingPeer()])
    with pytest.raises(RuntimeError, match="too few"):
        little(peers=True)


# Files


def test_json_and_csv_hold_every_row_and_the_machine(tmp_path: Path, rows: list[Row]) -> None:
    write_json(tmp_path / "t.json", rows, n=2700, d=64, seed=0)
    document = json.loads((tmp_path / "t.json").read_text())
    assert document["version"] == bebr.__version__ and document["isa"] == bebr.info()["isa"]
    assert document["cpu"] and document["n"] == 2700
    assert [Row(**{**r, "widths": tuple(r["widths"])}) for r in document["rows"]] == rows
    write_csv(tmp_path / "t.csv", rows)
    with (tmp_path / "t.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [float(r["recall"]) for r in read] == [row.recall for row in rows]
    assert [float(r["predicted"]) for r in read] == [row.predicted for row in rows]
    assert read[0]["widths"] == "+".join(map(str, rows[0].widths))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.json"]


def test_the_picture_draws_every_system(tmp_path: Path, rows: list[Row]) -> None:
    pytest.importorskip("matplotlib")
    from bebr.plot import draw_tradeoff

    def peer(name: str, size: float) -> Row:
        return replace(rows[0], system=name.split()[0], recipe=name, query="", widths=(), dims=0, bytes_per_vector=size)

    peers = [peer("faiss RaBitQ1", 16), peer("faiss RaBitQ4", 40), peer("rabitqlib 4 bit", 52), peer("usearch i8", 64)]
    draw_tradeoff(tmp_path / "t.svg", [*rows, *peers], "a title")
    draw_tradeoff(tmp_path / "t.png", rows, "a title")
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    # svg names every text in a comment: the legend has a line for each family, not for each code
    labels = (tmp_path / "t.svg").read_text()
    for label in ("bebr ragged, ADC", "bebr 4 planes, SDC", "faiss RaBitQ ", "rabitqlib ", "usearch i8 ", "a title"):
        assert f"<!-- {label}" in labels, label
    assert "RaBitQ4" not in labels


def test_dotted_lines_of_the_picture_join_pareto_points_only() -> None:
    pytest.importorskip("matplotlib")
    from bebr.plot import tradeoff_figure

    codes = [theirs("faiss PQ48x8", 48, 0.7), theirs("faiss PQ96x8", 96, 0.69), theirs("faiss PQ128x8", 128, 0.8)]
    by_bytes, by_speed = tradeoff_figure([ours(24, 0.65), ours(52, 0.8), *codes], "a title").axes
    dotted = [line for line in by_bytes.get_lines() if line.get_linestyle() == ":"]
    assert [list(line.get_xdata()) for line in dotted] == [[48, 128]]
    marked = {x for line in by_bytes.get_lines() for x in line.get_xdata()}
    assert marked == {24, 52, 48, 96, 128}
    assert not [line for line in by_speed.get_lines() if line.get_linestyle() == ":"]


def test_importing_the_sweep_loads_neither_matplotlib_nor_peers() -> None:
    import subprocess

    code = "import sys, bebr.tradeoff; print({'matplotlib', 'faiss', 'torch', 'bebr.peers'} & set(sys.modules))"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(bebr.__file__).parents[1]
    )
    assert out.stdout.strip() == "set()"


def test_cpu_is_named_where_proc_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(self: Path, *args: object) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", absent)
    assert files._cpu()
