"""The ann-benchmarks project's own runner, without Docker, on its small set and two real ones, beside peers.

    python -m benchmarks.ann_local TREE --python ENV/bin/python --cpu 0 --json ann-local.json

TREE: a copy of the project (erikbern/ann-benchmarks); ENV: an environment with what it and the peers need
(benchmarks/ann_benchmarks/README.md). Its `run.py` builds, asks and stores, its `data_export.py` computes recall; here
the sets are put where it looks for them, and its table becomes ours. What is stored already is not run again.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import ann_report, machine, output, sources
from benchmarks.ann_results import Conditions, Figure, Row

HERE = Path(__file__).parent / "ann_benchmarks"
LEVELS = (0.9, 0.95)
Vectors = npt.NDArray[np.float32]


def glove() -> tuple[Vectors, Vectors]:
    """100,000 vectors of GloVe's and 1,000 held out, of its most frequent words."""
    rows = sources.glove()[:101_000]
    order = np.random.default_rng(0).permutation(len(rows))
    return rows[order[1_000:]], rows[order[:1_000]]


# The project's generator makes the first. The second is a set of its own, from the same pictures; it has not the third.
SMALL = "random-xs-20-angular"
SETS: dict[str, tuple[str, int, Callable[[], tuple[Vectors, Vectors]] | None]] = {
    SMALL: ("angular", 20, None),
    "fashion-mnist-784-euclidean": ("euclidean", 784, sources.fashion),
    "glove-6b-50-angular": ("angular", 50, glove),
}

# Runs one of the project's programs, to which a set of ours is known. The set's file is there, so nothing makes it.
_KNOWN = """
import runpy, sys
from ann_benchmarks import datasets
datasets.DATASETS.setdefault(sys.argv[1], None)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
_WRITTEN = """
import sys, numpy
from ann_benchmarks import datasets
train, test, name, distance = sys.argv[1:]
if train:
    datasets.write_output(numpy.load(train), numpy.load(test), datasets.get_dataset_fn(name), distance)
else:
    datasets.DATASETS[name](datasets.get_dataset_fn(name))
"""


class Project:
    """The project's tree, with ours in it, and the Python that runs it."""

    def __init__(self, tree: Path, python: Path, cpu: int | None) -> None:
        self.tree, self._python, self._cpu = tree.resolve(), python.absolute(), cpu
        folder = self.tree / "ann_benchmarks" / "algorithms" / "bebr"
        if not folder.parent.is_dir():
            raise FileNotFoundError(f"tree: {tree}: no ann_benchmarks/algorithms; wanted a copy of ann-benchmarks")
        folder.mkdir(exist_ok=True)
        for name in ("module.py", "config.yml", "Dockerfile"):
            shutil.copy(HERE / name, folder)

    def python(self, code: str, *arguments: str, quiet: bool = True) -> None:
        """Runs code in the tree, on one processor where one was named, each library with one thread."""
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
        pinned = [] if self._cpu is None else ["taskset", "-c", str(self._cpu)]
        command = [*pinned, str(self._python), "-c", code, *arguments]
        environment = {**os.environ, **threads, "PYTHONPATH": str(self.tree)}
        to = subprocess.DEVNULL if quiet else None
        subprocess.run(command, cwd=self.tree, check=True, env=environment, stdout=to)

    def make(self, name: str) -> None:
        """Writes the set's file in the project's format, by the project's function, unless it is there."""
        distance, _, vectors = SETS[name]
        path = self.tree / "data" / f"{name}.hdf5"
        if path.is_file():
            return
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder, f"{part}.npy")) for part in ("train", "test")]
            if vectors is None:
                files = ["", ""]
            else:
                for file, part in zip(files, vectors(), strict=True):
                    np.save(file, part)
            try:
                self.python(_WRITTEN, *files, name, distance)
            except BaseException:
                path.unlink(missing_ok=True)  # half a set would be taken for a whole one
                raise

    def run(self, name: str, definitions: Path, runs: int, algorithm: str | None, batch: bool) -> None:
        """Builds and asks what ``definitions`` name, and is not stored yet."""
        options = ["--local", "--dataset", name, "--definitions", str(definitions), "--runs", str(runs)]
        options += ["--algorithm", algorithm] if algorithm else []
        options += ["--batch"] if batch else []
        self.python(_KNOWN, name, "run.py", *options)

    def results(self, name: str) -> list[dict[str, str]]:
        """One dictionary for each setting that was run on the set, recall and speed as the project computes them."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "results.csv")
            self.python(_KNOWN, name, "data_export.py", "--output", str(file))
            if not file.exists():  # the project stored nothing, of any set
                return []
            with file.open(newline="") as told:
                return [row for row in csv.DictReader(told) if row["dataset"] == name]


def least_bytes(algorithm: str, parameters: str, dim: int) -> int:
    """Of a row in memory, at least: code or vector, and links or entries in lists, as the names of settings tell."""

    def number(pattern: str) -> int:
        found = re.search(pattern, parameters)
        if found is None:
            raise ValueError(f"parameters of {algorithm}: got {parameters!r}, wanted {pattern}")
        return int(found[1])

    floats = 4 * dim
    if algorithm.startswith("bebr"):
        links = 4 * number(r"'max_degree': (\d+)") if algorithm == "bebr-graph" else 0
        return 2 + -(-dim * number(r"'bits': (\d+)") // 8) + links
    if algorithm in ("hnswlib", "hnsw(faiss)", "voyager"):
        return floats + 8 * number(r"'M': (\d+)")
    if algorithm == "faiss-ivf":
        return floats + 8
    if algorithm == "faiss-ivfpqfs":
        return dim // 4 + 8 + (floats if number(r"k_reorder=(\d+)") else 0)
    if algorithm == "scann":
        return floats + dim // (2 * number(r"dims_per_block=(\d+)"))
    if algorithm == "annoy":
        return floats + 4 * number(r"n_trees=(\d+)")
    return floats


def rows_of(told: Sequence[Mapping[str, str]], name: str, facts: Mapping[str, object], runs: int) -> list[Row]:
    """What the project stored of a set, an engine and size a row."""
    dim = SETS[name][1]
    conditions = Conditions(name, "", f"{facts['cpu']}, one CPU", 10, 1, "single")
    rows: dict[tuple[str, int], Row] = {}
    for one in told:
        size = least_bytes(one["algorithm"], one["parameters"], dim)
        key = one["algorithm"], size
        if key not in rows:
            library = "bebr" if one["algorithm"].startswith("bebr") else one["algorithm"]
            engine = f"{one['algorithm']} {size} B"
            rows[key] = Row(conditions, engine, library, "", f"best of {runs}", 0.0, 0, size, 1.0, [])
        row = rows[key]
        row.build_seconds = max(row.build_seconds, float(one["build"]))
        row.figures.append(Figure({}, float(one["k-nn"]), 1 / float(one["qps"])))
    return list(rows.values())


def losses(rows: Sequence[Row]) -> list[str]:
    """Peers that are faster than all of ours of no more bytes, at a recall that they reach."""
    found = []
    for verdict in ann_report.verdicts(rows, LEVELS):
        for cell in verdict.cells:
            if cell.result not in (ann_report.WON, ann_report.OPEN):
                ratio = "not reached by ours" if cell.ratio is None else f"ours has {cell.ratio:.2f} of its speed"
                found.append(f"{rows[0].conditions.dataset}, {cell.level}: {verdict.peer}, {ratio}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.ann_local``; losing cells are printed, and no error; 1 where nothing ran."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ann_local", description=__doc__.partition("\n")[0])
    parser.add_argument("tree", type=Path, help="a copy of erikbern/ann-benchmarks")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="that runs it")
    parser.add_argument(
        "--sets", nargs="+", default=list(SETS), choices=list(SETS), metavar="SET", help=", ".join(SETS)
    )
    parser.add_argument("--definitions", type=Path, default=HERE, help="folder whose */config.yml it reads")
    parser.add_argument("--algorithm", help="only this one")
    parser.add_argument("--runs", type=int, default=2, help="of each setting, of which the fastest counts")
    parser.add_argument("--cpu", type=int, help="run on this processor alone, as the project's containers do")
    parser.add_argument("--batch", action="store_true", help="also ask all queries at once; not in the tables")
    parser.add_argument("--json", type=Path, help="keep the points here")
    options = parser.parse_args(arguments)
    console, facts = output.console(), machine.facts(1)
    project = Project(options.tree, options.python, options.cpu)
    kept: list[Row] = []
    for name in options.sets:
        start = time.perf_counter()
        project.make(name)
        project.run(name, options.definitions.resolve(), options.runs, options.algorithm, batch=False)
        if options.batch:
            project.run(name, options.definitions.resolve(), options.runs, options.algorithm, batch=True)
        rows = rows_of(project.results(name), name, facts, options.runs)
        if not rows:
            console.print(f"{name}: the project stored no result; what it said stands above")
            return 1
        console.print(f"{name}: {time.perf_counter() - start:.0f} s")
        for table in ann_report.tables(rows, LEVELS):
            console.print(table)
        for line in losses(rows):
            console.print(line)
        kept += rows
    if options.json:
        output.save(options.json, facts, [asdict(row) for row in kept])
    return 0


if __name__ == "__main__":
    sys.exit(main())
