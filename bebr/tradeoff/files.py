"""What was measured as a document, and the files that hold it."""

from __future__ import annotations

import csv
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bebr.about import info
from bebr.files import replacing
from bebr.tradeoff.recommendation import recommend
from bebr.tradeoff.row import Row


def document(rows: Sequence[Row], *, target_recall: float | None = None, **facts: Any) -> dict[str, Any]:
    """{machine, facts, "recommended", "rows"} as JSON takes it; rows are named by their place in "rows".

    facts: what the caller knows: ``vectors`` (a name), ``n``, ``d``, ``queries``, ``held_out``, ``metric``, ``seed``,
    ``left_out``, ``libraries`` ({name: version}), ``command``.
    """
    place = {id(row): number for number, row in enumerate(rows)}
    chosen = recommend(rows, target_recall)
    near = {"smaller": chosen.smaller, "larger": chosen.larger}
    recommended = {
        "row": place[id(chosen.row)],
        **{name: None if row is None else place[id(row)] for name, row in near.items()},
        "ahead": [place[id(row)] for row in chosen.ahead],
        "target_recall": target_recall,
        "reached": chosen.reached,
        "sentence": chosen.sentence,
        "rule": chosen.rule,
        "train": chosen.arguments,
    }
    return {**machine(), **facts, "recommended": recommended, "rows": [asdict(row) for row in rows]}


def write_json(path: str | Path, rows: Sequence[Row], **facts: Any) -> None:
    """Write :func:`document` of the same arguments."""
    with replacing(Path(path)) as temporary:
        temporary.write_text(json.dumps(document(rows, **facts), indent=1) + "\n")


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """Write one line a row under the names of `Row`; widths as 240+112+32."""
    with replacing(Path(path)) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(Row.__dataclass_fields__))
        writer.writeheader()
        for row in rows:
            writer.writerow({**asdict(row), "widths": "+".join(map(str, row.widths))})


def machine() -> dict[str, Any]:
    """Versions, ISA and CPU: without them a speed says nothing."""
    facts = info()
    return {
        "version": facts["version"],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "isa": facts["isa"],
        "cpu": _cpu(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
