"""The adapter for the ann-benchmarks project, loaded as that project loads it, with a stand-in for its base class."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import bebr
from bebr.exact import recall
from bebr.training.linear.widths import check_bytes
from benchmarks import datasets

FOLDER = Path(__file__).parents[2] / "benchmarks" / "ann_benchmarks"
PROJECT = "ann_benchmarks.algorithms"
METRICS = ("angular", "euclidean")
AVAILABLE = {"flat": True, "ivf": hasattr(bebr, "IVFIndex"), "graph": hasattr(bebr, "GraphIndex")}


@pytest.fixture
def adapter(monkeypatch):
    stand_in = ModuleType(f"{PROJECT}.base.module")
    stand_in.BaseANN = type("BaseANN", (), {})
    for name in ("ann_benchmarks", PROJECT, f"{PROJECT}.base", f"{PROJECT}.bebr"):
        package = ModuleType(name)
        package.__path__ = []
        monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    spec = importlib.util.spec_from_file_location(f"{PROJECT}.bebr.module", FOLDER / "module.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    before = bebr.get_num_threads()
    yield module
    bebr.set_num_threads(before)


def definitions():
    """(metric, definition, constructor arguments, query arguments), expanded as the project expands config.yml."""
    load = pytest.importorskip("yaml").safe_load
    configs = [load((FOLDER / name).read_text())["float"] for name in ("config.yml", "short/config.yml")]
    every = [
        (metric, one) for of in configs for metric in METRICS for name in ("any", metric) for one in of.get(name, [])
    ]
    for metric, definition in every:
        if definition["constructor"] != "Bebr":
            continue  # short/config.yml names peers, too
        base = [metric if value == "@metric" else value for value in definition["base_args"]]
        for group in definition["run_groups"].values():
            queries = list(itertools.product(*group["query_args"]))
            for values in itertools.product(*group["args"].values()):
                yield metric, definition, [*base, dict(zip(group["args"], values, strict=True))], queries


def test_the_constructor_and_the_setter_take_all_that_the_configuration_names(adapter):
    names = set()
    for _, definition, arguments, queries in definitions():
        assert definition["module"] == f"{PROJECT}.bebr" and definition["docker_tag"] == "ann-benchmarks-bebr"
        made = getattr(adapter, definition["constructor"])(*arguments)
        titles = set()
        for values in queries:
            made.set_query_arguments(*values)
            titles.add(str(made))
        assert len(titles) == len(queries), "the project tells results apart by this name"
        names.add(definition["name"])
    assert names == {"bebr-flat", "bebr-ivf", "bebr-graph"}


def test_codes_have_a_size_that_data_of_any_dimensions_may_have(adapter):
    bits = {arguments[2]["bits"] for _, _, arguments, _ in definitions()}
    for dim in (1, 8, 20, 25, 100, 784, 960, 4096):
        for one in bits:
            check_bytes(adapter._bytes(one, dim), dim)


def test_few_rows_get_few_lists(adapter, vectors):
    made = adapter.Bebr("euclidean", "ivf", {"bits": 8, "nlist": 4096})
    made.fit(vectors[:300, :20])
    made.set_query_arguments(256)
    assert made.query(vectors[7, :20], 3)[0] == 7


def test_what_bebr_has_is_enabled_and_what_it_lacks_is_not():
    for _, definition, arguments, _ in definitions():
        assert definition["disabled"] is not AVAILABLE[arguments[1]], definition["name"]


PARAMS = {"flat": {"bits": 4}, "ivf": {"bits": 4, "nlist": 16}, "graph": {"bits": 4, "max_degree": 32}}
EFFORT = {"flat": (20,), "ivf": (16,), "graph": (80,)}


@pytest.mark.parametrize("metric, ours", [("angular", "cosine"), ("euclidean", "l2")])
@pytest.mark.parametrize("kind", [kind for kind in PARAMS if AVAILABLE[kind]])
def test_fit_and_query_find_neighbours_one_by_one_and_in_a_batch(adapter, vectors, queries, metric, ours, kind):
    vectors = vectors[:1000]
    truth = datasets.exact(vectors, queries, 10, ours)
    made = adapter.Bebr(metric, kind, PARAMS[kind])
    made.fit(vectors)
    made.set_query_arguments(*EFFORT[kind])
    singles = np.array([made.query(query, 10) for query in queries])
    made.batch_query(queries, 10)
    # In a batch an IVF scores whole codes: it may find what a margin loses, and nothing else changes.
    same = (singles == np.array(made.get_batch_results())).mean()
    assert same > 0.98 if kind == "ivf" else same == 1
    assert recall(singles, truth) > 0.85
    assert made.get_additional() == {"code_bytes": 34}


def test_the_minus_ones_of_missing_results_are_left_out(adapter, vectors):
    made = adapter.Bebr("angular", "flat", {"bits": 4})
    made.fit(vectors[:300])
    made.set_query_arguments(0)
    assert sorted(made.query(vectors[0], 400)) == list(range(300))


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("hamming", "flat", {"bits": 4}), "metric: got 'hamming'"),
        (("angular", "tree", {"bits": 4}), "index: got 'tree'"),
        (("angular", "ivf", {"bits": 4}), "params of ivf"),
    ],
)
def test_a_wrong_argument_is_named(adapter, arguments, told):
    with pytest.raises(ValueError, match=told):
        adapter.Bebr(*arguments)
