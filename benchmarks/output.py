"""Where figures go: a console that does not fold tables, and one JSON file a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

__all__ = ["console", "save"]


def console() -> Console:
    """The terminal; a pipe, which rich takes for 80 columns, gets 160."""
    made = Console()
    if not made.is_terminal:
        made.width = 160
    return made


def save(path: Path, machine: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Write one JSON object: the machine, whatever else describes the run, and one object per row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, **more, "rows": list(rows)}, indent=1) + "\n")
