"""What a long experiment has measured so far, in a JSON file that it goes on from."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, output

__all__ = ["Kept", "Row"]

Row = dict[str, Any]


class Kept:
    """Rows of a JSON file, by what they measure; written after each."""

    def __init__(self, path: Path | None, conditions: Mapping[str, Any], facts: Mapping[str, Any], fresh: bool) -> None:
        self.path, self.conditions, self.facts = path, dict(conditions), facts
        self.rows: list[Row] = []
        self.speeds: dict[str, float] = {}
        if path is not None and path.is_file() and not fresh:
            held = json.loads(path.read_text())
            if held.get("conditions") != self.conditions:
                raise ValueError(
                    f"{path}: was measured under other conditions (settings, data, machine or code): "
                    "give another path, or --fresh to forget it"
                )
            self.rows, self.speeds = held["rows"], held["seconds_per_step"]

    @classmethod
    def of(cls, options: argparse.Namespace, told: Sequence[str], data: str, code: str, **more: Any) -> Kept:
        """Of a command's ``options``. Rows are gone on from while those ``told``, ``threads``, ``data``, ``code`` (see
        ``experiment.code``), ``more``, the processor and torch are the same."""
        torch: Any = importlib.import_module("torch")
        facts = machine.facts(options.threads)
        conditions = {name: getattr(options, name) for name in (*told, "threads")}
        conditions |= {"data": data, "code": code, "cpu": facts["cpu"], "torch": str(torch.__version__), **more}
        return cls(options.json, conditions, facts, options.fresh)

    def find(self, arm: str, budget: str, seed: int) -> Row | None:
        wanted = (arm, budget, seed)
        return next((row for row in self.rows if (row["arm"], row["budget"], row["seed"]) == wanted), None)

    def save(self) -> None:
        if self.path is not None:
            conditions = {"conditions": self.conditions, "seconds_per_step": self.speeds}
            output.save(self.path, self.facts, self.rows, **conditions)
