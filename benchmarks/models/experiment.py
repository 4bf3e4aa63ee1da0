"""What the commands of this folder share: their common options, progress under a number of threads, the verdict."""

from __future__ import annotations

import argparse
import hashlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import machine

__all__ = ["Report", "code", "parser", "progress", "verdict"]

Report = Callable[[str], Callable[[int, int], None]]
"""A piece of work by name; what it returns is called with (done, total)."""


def parser(name: str, text: str, seeds: Sequence[int], of: str, goes_on: bool = False) -> argparse.ArgumentParser:
    """With ``--seeds``, ``--threads`` and ``--json``; ``--fresh`` besides where a run ``goes_on`` from its JSON."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.models.{name}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--seeds", type=int, nargs="+", default=list(seeds), help=f"of {of}")
    made.add_argument("--threads", type=int, default=1, help="threads of torch and bebr")
    kept = "keep figures here, and go on from what it holds" if goes_on else "keep figures here"
    made.add_argument("--json", type=Path, help=kept)
    if goes_on:
        made.add_argument("--fresh", action="store_true", help="forget what the JSON holds")
    return made


def code(file: str, *models: str, tasks: Sequence[str] = ()) -> str:
    """A digest of what a benchmark ``file`` measures, with the ``models`` and this folder's ``tasks`` that it uses:
    rows of other code are not taken for this one's."""
    folders = [Path(str(importlib.import_module(f"bebr.models.{name}").__file__)).parent for name in models]
    own = Path(file)
    files = [one for folder in folders for one in sorted(folder.glob("*.py"))]
    files += [own, *(own.with_name(name) for name in tasks)]
    return hashlib.sha256(b"\0".join(one.read_bytes() for one in files)).hexdigest()[:16]


@contextmanager
def progress(console: Console, threads: int) -> Iterator[Report]:
    """Work on so many threads of torch, bebr and BLAS; a bar for each piece that is reported."""
    importlib.import_module("torch").set_num_threads(threads)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with machine.pinned(threads), Progress(*columns, console=console) as bar:

        def report(text: str) -> Callable[[int, int], None]:
            task = bar.add_task(text)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield report


def verdict(console: Console, failed: Sequence[str], remark: str) -> int:
    """Say which parts of an experiment's rule failed, and why none of it is a reproduction; 1 where any did."""
    for text in failed:
        console.print(f"FAILED: {text}", soft_wrap=True)
    if not failed:
        console.print("passed: every part of the rule holds")
    console.print(f"not a reproduction: {remark}")
    return int(bool(failed))
