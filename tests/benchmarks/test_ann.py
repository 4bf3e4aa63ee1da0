"""The comparison of approximate indexes: curves, verdicts, going on from a file, engines, and a real small run."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from bebr import peers
from bebr.exact import recall
from benchmarks import ann, ann_report, datasets, memory, ours
from benchmarks.ann_results import Conditions, Figure, Results, Row
from benchmarks.ann_worker import Job, Refused, Worker, _timed, write

CONDITIONS = Conditions("made up", "none", "a machine", 10, 1, "batch")
FACTS = {"time": "now", "cpu": "a machine", "cpus": 2, "threads": 1, "bebr": {"isa": "scalar"}}


def figure(recall_, qps, rounds=1):
    return Figure({"ef_search": int(qps)}, recall_, 1 / qps, [1 / qps] * rounds)


def row(engine, library, points, size=100.0, run="now", rounds=1):
    figures = [figure(accuracy, qps, rounds) for accuracy, qps in points]
    return Row(CONDITIONS, engine, library, "1", run, 1.0, 1000, size, 1.0, figures)


# --- curves ---


def test_the_curve_leaves_out_what_another_setting_beats_in_both():
    points = [figure(0.8, 900), figure(0.9, 500), figure(0.85, 400), figure(0.95, 500), figure(0.99, 100)]
    assert [(p.recall, round(p.qps)) for p in ann_report.pareto(points)] == [(0.8, 900), (0.95, 500), (0.99, 100)]


def test_between_two_points_the_logarithm_of_speed_is_linear_in_recall():
    points = [figure(0.9, 1000), figure(0.98, 10)]
    assert ann_report.at(points, 0.94) == pytest.approx(100)
    assert ann_report.at(points, 0.92) == pytest.approx(math.sqrt(1000 * 100))
    assert ann_report.at(points, 0.9) == pytest.approx(1000)
    assert ann_report.at(points, 0.98) == pytest.approx(10)


def test_below_the_first_point_its_speed_stands_and_above_the_last_there_is_none():
    points = [figure(0.9, 1000), figure(0.98, 10)]
    assert ann_report.at(points, 0.5) == pytest.approx(1000)
    assert ann_report.at(points, 0.981) is None
    assert ann_report.at([], 0.5) is None


def test_speed_is_the_median_of_the_rounds_and_before_any_that_after_the_build():
    assert Figure({}, 0.9, 1 / 50, [1 / 100, 1 / 900, 1 / 200]).qps == pytest.approx(200)
    assert Figure({}, 0.9, 1 / 50).qps == pytest.approx(50)


# --- verdicts ---


def cells(peer, *ours, levels=(0.9,)):
    (verdict,) = ann_report.verdicts([*ours, peer], levels)
    return verdict.cells


def test_a_peer_is_set_against_the_fastest_of_ours_of_no_more_bytes():
    peer = row("peer", "faiss", [(0.9, 100)], 200)
    slow, fast = row("bebr a", "bebr", [(0.9, 150)], 100), row("bebr b", "bebr", [(0.9, 300)], 200)
    large = row("bebr c", "bebr", [(0.9, 900)], 201)
    (cell,) = cells(peer, slow, fast, large)
    assert (cell.result, cell.ours, str(cell)) == (ann_report.WON, "bebr b", "3.00")


def test_a_win_that_takes_more_bytes_is_marked_so():
    peer = row("peer", "faiss", [(0.9, 100)], 150)
    small, large = row("bebr a", "bebr", [(0.9, 90)], 100), row("bebr c", "bebr", [(0.9, 200)], 400)
    (cell,) = cells(peer, small, large)
    assert (cell.result, cell.ours, str(cell)) == (ann_report.WON_LARGER, "bebr c", "2.00 +")


def test_a_lost_cell_is_marked_and_so_is_one_we_do_not_reach():
    peer = row("peer", "faiss", [(0.9, 100), (0.99, 50)], 150)
    lost, unreached = cells(peer, row("bebr a", "bebr", [(0.9, 50)]), levels=(0.9, 0.95))
    assert (lost.result, str(lost)) == (ann_report.LOST, "0.50 ✗")
    assert (unreached.result, unreached.ours, str(unreached)) == (ann_report.LOST, None, "– ✗")


def test_a_recall_that_the_peer_does_not_reach_is_neither_won_nor_lost():
    (cell,) = cells(row("peer", "faiss", [(0.8, 100)]), row("bebr a", "bebr", [(0.9, 50)]))
    assert (cell.result, str(cell)) == (ann_report.OPEN, "–")


@pytest.mark.parametrize("other", [{"run": "yesterday"}, {"rounds": 0}])
def test_figures_not_timed_in_turns_in_one_run_are_marked(other):
    peer = row("peer", "faiss", [(0.9, 100)], **other)
    (cell,) = cells(peer, row("bebr a", "bebr", [(0.9, 200)]))
    assert str(cell) == "2.00~"


# --- going on from a file ---


def engine(name="peer", version="1"):
    class Named:
        pass

    Named.name, Named.version = name, version
    return Named


def test_a_later_run_finds_what_an_earlier_one_measured(tmp_path):
    path = tmp_path / "ann.json"
    Results(path, FACTS).put(row("peer", "faiss", [(0.9, 100)]))
    later = Results(path, {**FACTS, "time": "later"})
    assert later.found(CONDITIONS, engine()) == row("peer", "faiss", [(0.9, 100)])
    later.put(row("another", "faiss", [(0.9, 100)], run="later"))
    written = json.loads(path.read_text())
    assert [r["engine"] for r in written["rows"]] == ["peer", "another"] and set(written["runs"]) == {"now", "later"}


def test_another_version_or_condition_is_another_measurement(tmp_path):
    path = tmp_path / "ann.json"
    Results(path, FACTS).put(row("peer", "faiss", [(0.9, 100)]))
    later = Results(path, FACTS)
    assert later.found(CONDITIONS, engine(version="2")) is None
    assert later.found(Conditions("made up", "none", "a machine", 10, 2, "batch"), engine()) is None
    assert later.found(Conditions("made up", "none", "a machine", 10, 1, "single"), engine()) is None


def test_a_tree_with_changes_names_no_version_so_its_figures_are_not_found_again(tmp_path):
    path = tmp_path / "ann.json"
    ours = row("bebr a", "bebr", [(0.9, 100)])
    ours.version = "0.1 abc-dirty"
    Results(path, FACTS).put(ours)
    assert Results(path, FACTS).found(CONDITIONS, engine("bebr a", "0.1 abc-dirty")) is None


# --- engines ---


def engines(tmp_path, metric="cosine"):
    case = peers.Case(64, metric, (16,), 32)
    return [*ours.indexes(case, (26,), tmp_path), *peers.approximate(case)]


@pytest.fixture(scope="module", params=["cosine", "l2"])
def filled(request, vectors, tmp_path_factory):
    """A metric, how long its vectors are, and every installed engine with 1,000 of them."""
    scale = {"cosine": 1, "l2": 300}[request.param]
    made = engines(tmp_path_factory.mktemp("engines"), request.param)
    for one in made:
        one.fit(scale * vectors[:800], 1)
        one.add(scale * vectors[:1000], 1)
    return request.param, scale, made


def test_every_installed_engine_finds_its_neighbours(vectors, queries, filled):
    metric, scale, made = filled
    rows, asked = scale * vectors[:1000], scale * queries
    truth = datasets.exact(rows, asked, 10, metric)
    for found in made:
        first, best = (found.search(asked, 10, 1, setting) for setting in (found.sweeps[0][0], found.sweeps[-1][-1]))
        assert first.shape == best.shape == (50, 10) and best.dtype == np.int64, found.name
        assert found.search(asked[:1], 10, 1, found.sweeps[0][0]).shape == (1, 10), found.name
        # 1 bit a dimension and no floats: less than half is what such codes find here
        least = 0.3 if any(code in found.name for code in ("fs1", "1 bit", "b1")) else 0.7
        assert recall(best, truth) > least, found.name
        assert recall(best, truth) > recall(first, truth) - 0.05, found.name  # ties of bits fall as they may


BYTES = {
    "bebr IVF16 26 B": 26,
    "bebr Flat 26 B": 26,
    "faiss IVF16 Flat": 256,
    "faiss IVF16 PQ32x4fs refine": 16 + 256,
    "faiss IVF16 RaBitQfs4": 32 + 20,
    "rabitqlib IVF16 4 bit": 32 + 20,
    "scann tree16 SOAR AH reorder": 2 * 16 + 256,
    # rows, 32 links and their count at the bottom, and a few above
    "hnswlib HNSW16 f32": (256 + 132, 256 + 148),
    "usearch HNSW16 i8": (64 + 128, 64 + 148),
    "faiss HNSW16 SQ8": (64 + 128, 64 + 148),
    "rabitqlib HNSW16 4 bit": (52 + 132, 52 + 152),
    "rabitqlib SymphonyQG32": (256 + 32 * 20, 256 + 32 * 20 + 8),
    "svs Vamana32 f32": (256 + 128, 256 + 136),
}


def test_bytes_are_codes_factors_links_and_floats_to_rerank_but_no_ids(filled):
    counted = 0
    for found in filled[2]:
        if found.name in BYTES:
            wanted = BYTES[found.name]
            low, high = wanted if isinstance(wanted, tuple) else (wanted, wanted)
            assert low <= found.bytes_per_vector <= high, found.name
            counted += 1
    assert counted >= 1


def test_what_is_not_installed_is_named_with_its_command(monkeypatch, tmp_path):
    version = peers.installed
    monkeypatch.setattr(peers, "installed", lambda name: None if name == "hnswlib" else version(name))
    assert any("pip install hnswlib" in line for line in peers.missing("approximate"))
    assert not any("hnswlib" in found.name for found in engines(tmp_path))


def test_ours_of_one_size_train_once_and_all_count_it(vectors, tmp_path):
    vectors = vectors[:300]
    first, second = (engines(tmp_path)[0] for _ in range(2))
    first.fit(vectors)
    stamp = (tmp_path / "bebr-26.safetensors").stat().st_mtime_ns
    second.fit(vectors)
    assert (tmp_path / "bebr-26.safetensors").stat().st_mtime_ns == stamp
    record = json.loads((tmp_path / "bebr-26.json").read_text())
    assert (first.earlier_seconds, second.earlier_seconds) == (0, record["seconds"])
    assert first.earlier_peak == second.earlier_peak == record["peak"]


def test_a_model_kept_from_another_commit_is_said_aloud(tmp_path):
    (tmp_path / "bebr-26.json").write_text(json.dumps({"seconds": 1, "peak": 1, "commit": "abc"}))
    (line,) = ours.kept_models(tmp_path)
    assert "bebr-26.safetensors was trained at commit abc" in line


def test_nprobe_ends_with_all_lists():
    assert [setting["nprobe"] for setting in peers.by_nprobe(10)] == [1, 2, 3, 4, 6, 8, 10]
    assert peers.by_nprobe(4, oversampling=3)[-1] == {"nprobe": 4, "oversampling": 3}


def test_lists_follow_the_number_of_rows():
    assert ann.nlist_for(116_033) == (256, 1024)
    assert ann.nlist_for(1_000_000) == (1024, 4096)


# --- a process an engine ---


class Stub:
    """Finds all neighbours from ef_search = 2 on, and none at 1."""

    library, version, imports = "stub", "1", ("json",)
    bytes_per_vector = 4.0
    asked = 0

    def __init__(self, fail=""):
        self.name = f"stub {fail}"
        self.sweeps = [[{"ef_search": 1}, {"ef_search": 2}, {"ef_search": 3}]]
        self._fail = fail

    def fit(self, train, threads=None):
        self.earlier_seconds = 1.5

    def add(self, rows, threads=None):
        if self._fail == "raise":
            raise ValueError("dim: got 64, wanted 32")
        if self._fail == "exit":
            os._exit(7)
        self._rows = rows

    def search(self, queries, k, threads, setting):
        self.asked += 1
        if self._fail == "later" and self.asked > 20:
            raise RuntimeError("no more")
        if setting["ef_search"] == 1:
            return np.full((len(queries), k), -1)
        return np.argsort(-queries @ self._rows.T, axis=1, kind="stable")[:, :k]


@pytest.fixture
def data(vectors, queries):
    return datasets.Dataset("made up", "cosine", "none", vectors[:1000], vectors[:800], queries)


@pytest.fixture
def job(data, tmp_path):
    write(data, tmp_path, 10)
    return Job(tmp_path, 10, 1, False, 0.001)


def test_a_sweep_ends_where_recall_is_high_enough(job):
    worker = Worker(Stub(), job)
    try:
        built = worker.built()
        assert built.build_seconds > 1.5 and built.bytes_per_vector == 4
        assert [(p.setting, p.recall) for p in built.sweeps[0]] == [({"ef_search": 1}, 0), ({"ef_search": 2}, 1)]
        assert worker.time({"ef_search": 2}) > 0
    finally:
        worker.close()


@pytest.mark.parametrize("fail, told", [("raise", "dim: got 64, wanted 32"), ("exit", "exit code 7")])
def test_an_engine_that_fails_or_ends_its_process_is_refused_with_the_reason(job, fail, told):
    worker = Worker(Stub(fail), job)
    try:
        with pytest.raises(Refused, match=told):
            worker.built()
    finally:
        worker.close()


@pytest.mark.parametrize("single, sizes", [(False, {50}), (True, {1})])
def test_queries_are_timed_all_in_one_call_or_one_call_each(queries, job, single, sizes):
    asked = []

    class Counting(Stub):
        def search(self, queries, k, threads, setting):
            asked.append(len(queries))

    seconds, cpus = _timed(Counting(), queries, {"ef_search": 2}, replace(job, single=single))
    warm_up, *timed = asked
    assert warm_up == 50 and set(timed) == sizes and len(timed) % (50 if single else 1) == 0
    assert seconds > 0 and cpus >= 0


def test_an_engine_that_fails_while_it_is_timed_leaves_the_others_their_figures(data, job, tmp_path, capsys):
    results = Results(tmp_path / "ann.json", FACTS)
    short = replace(job, seconds=0)
    rows = ann.measure(data, [Stub(), Stub("later")], results, CONDITIONS, short, 20, Console())
    assert [row.engine for row in rows] == ["stub "]
    assert all(len(figure.rounds) == 20 for figure in rows[0].figures)
    assert "stub later: left out from here on: RuntimeError: no more" in capsys.readouterr().out


def test_the_peak_is_of_the_work_inside():
    held = np.ones(4 << 20)  # 32 MiB before
    with memory.Peak() as peak:
        inside = np.ones(8 << 20)  # 64 MiB
        del inside
    if peak.exact:
        assert 60 << 20 < peak.bytes < 80 << 20
    assert peak.bytes >= 0 and len(held)


# --- the command ---


def command(monkeypatch, data, path, *more):
    monkeypatch.setattr(datasets, "load", lambda name: data)
    size = ["--sizes", "26", "--nlist", "16", "--rounds", "2", "--seconds", "0.001", "--json", str(path)]
    return ann.main(["glove", *size, *more])


def test_a_run_over_three_engines_writes_rows_verdicts_and_a_picture(monkeypatch, data, tmp_path, capsys):
    pytest.importorskip("hnswlib", reason="a peer to compare with: pip install 'bebr[bench]'")
    path = tmp_path / "ann.json"
    chosen = "bebr flat|IVF16 Flat|hnswlib"
    assert command(monkeypatch, data, path, "--engines", chosen, "--plot", str(tmp_path)) == 0
    written = json.loads(path.read_text())
    assert written["machine"]["threads"] == 1 and written["machine"]["bebr"]["isa"]
    rows = {r["engine"]: r for r in written["rows"]}
    assert "bebr Flat 26 B" in rows and len(rows) >= 2
    for r in rows.values():
        assert all(len(f["rounds"]) == 2 for f in r["figures"]) and min(r["qps"]) > 0 and r["build_seconds"] > 0
        assert r["run"] == written["machine"]["time"]
    assert rows["bebr Flat 26 B"]["bytes_per_vector"] == 26
    assert {verdict["peer"] for verdict in written["verdicts"]["glove"]} == set(rows) - {"bebr Flat 26 B"}
    picture = (tmp_path / "ann-glove-batch.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
    assert "cells lost" in capsys.readouterr().out


def test_resume_measures_only_what_the_file_lacks(monkeypatch, data, tmp_path, capsys):
    pytest.importorskip("hnswlib")
    pytest.importorskip("faiss")
    path = tmp_path / "ann.json"
    assert command(monkeypatch, data, path, "--engines", "hnswlib") == 0
    before = json.loads(path.read_text())["rows"]
    assert command(monkeypatch, data, path, "--engines", "hnswlib|IVF16 Flat", "--resume") == 0
    assert "1 engines are in" in capsys.readouterr().out
    after = json.loads(path.read_text())["rows"]
    assert after[0] == before[0] and [r["engine"] for r in after[1:]] == ["faiss IVF16 Flat"]


def test_without_resume_all_chosen_are_timed_anew_in_one_run(monkeypatch, data, tmp_path):
    pytest.importorskip("hnswlib")
    path = tmp_path / "ann.json"
    assert command(monkeypatch, data, path, "--engines", "hnswlib") == 0
    before = json.loads(path.read_text())["rows"][0]
    assert command(monkeypatch, data, path, "--engines", "hnswlib") == 0
    (after,) = json.loads(path.read_text())["rows"]
    assert after["qps"] != before["qps"]


def test_resume_without_a_file_is_an_error(capsys):
    with pytest.raises(SystemExit):
        ann.main(["glove", "--resume"])
    assert "--json" in capsys.readouterr().err


def test_a_pattern_that_names_no_engine_is_an_error(monkeypatch, data, tmp_path, capsys):
    assert command(monkeypatch, data, tmp_path / "ann.json", "--engines", "no such") == 1
    assert "no such" in capsys.readouterr().out
