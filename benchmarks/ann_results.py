"""Figures of ``benchmarks.ann`` as rows of one JSON file, which a later run adds to or goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bebr.peers import Peer
from benchmarks import output
from benchmarks.datasets import Dataset

__all__ = ["Conditions", "Figure", "Results", "Row"]


@dataclass(frozen=True)
class Conditions:
    """What has to be equal for a row to stand for a new measurement, besides the engine and its version."""

    dataset: str
    checksum: str
    machine: str
    k: int
    threads: int
    mode: str
    """``"batch"``, all queries in one call, or ``"single"``, one call a query."""

    @classmethod
    def of(cls, data: Dataset, facts: Mapping[str, Any], k: int, single: bool) -> Conditions:
        """Those of a run on ``data`` by a machine with ``facts`` (benchmarks.machine)."""
        machine = f"{facts['cpu']}, {facts['cpus']} CPUs, {facts['bebr']['isa']}"
        return cls(data.name, data.checksum, machine, k, facts["threads"], "single" if single else "batch")


@dataclass
class Figure:
    """One setting: recall@k, seconds a query right after the build, and in each round among the other engines."""

    setting: dict[str, float]
    recall: float
    alone: float
    rounds: list[float] = field(default_factory=list)

    @property
    def qps(self) -> float:
        """Queries a second: the median of the rounds, or without any the one timing after the build."""
        return 1 / (median(self.rounds) if self.rounds else self.alone)


@dataclass
class Row:
    """One engine on one data set. run: which run timed it; only figures of one run may be compared strictly."""

    conditions: Conditions
    engine: str
    library: str
    version: str
    run: str
    build_seconds: float
    peak_bytes: int
    bytes_per_vector: float
    cpus: float
    figures: list[Figure]

    @property
    def interleaved(self) -> bool:
        """Whether it was timed in rounds with the other engines of its run, not only right after its build."""
        return any(figure.rounds for figure in self.figures)

    @property
    def key(self) -> tuple[Conditions, str, str]:
        """What it is a measurement of."""
        return self.conditions, self.engine, self.version


class Results:
    """The rows of a file, by what they measure; without a path they are kept in memory only."""

    def __init__(self, path: Path | None, facts: Mapping[str, Any]) -> None:
        self._path, self._facts = path, facts
        self.run = str(facts["time"])
        self._rows: dict[tuple[Conditions, str, str], Row] = {}
        self._runs: dict[str, Mapping[str, Any]] = {}
        if path and path.is_file():
            read = json.loads(path.read_text())
            self._runs = read["runs"]
            for plain in read["rows"]:
                row = _row(plain)
                self._rows[row.key] = row
        self._runs[self.run] = facts

    def found(self, conditions: Conditions, engine: Peer) -> Row | None:
        """The row of an earlier run that measured the same; never one of a tree with changes, which nothing names."""
        return None if engine.version.endswith("-dirty") else self._rows.get((conditions, engine.name, engine.version))

    def put(self, row: Row) -> None:
        """Keep ``row`` instead of an older one of the same, and write the file."""
        self._rows[row.key] = row
        self.save()

    def save(self, **more: Any) -> None:
        """Write all rows, the facts of each run that they name, and ``more``."""
        if self._path:
            named = {row.run for row in self._rows.values()} | {self.run}
            runs = {run: facts for run, facts in self._runs.items() if run in named}
            rows = [{**asdict(row), "qps": [figure.qps for figure in row.figures]} for row in self._rows.values()]
            output.save(self._path, self._facts, rows, runs=runs, **more)


def _row(plain: dict[str, Any]) -> Row:
    del plain["qps"]  # for readers of the file
    conditions = Conditions(**plain.pop("conditions"))
    figures = [Figure(**figure) for figure in plain.pop("figures")]
    return Row(conditions=conditions, figures=figures, **plain)
