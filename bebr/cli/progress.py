"""Progress on stderr, and results on stdout: a pipe gets the results only."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, int, int], None]


@contextmanager
def progress(task: str) -> Iterator[Report]:
    """Show a bar with time left while the block runs; call the yielded report(stage, done, total) as it goes.

    On a terminal only: log files get no bars. The bar is removed at the end.
    """
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
    )
    # a copy of the descriptor, so that `gathered_stderr` does not gather the bar
    with (
        os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal,
        bars.Progress(*columns, console=Console(file=terminal), transient=True) as bar,
    ):
        row = bar.add_task(task, total=None)
        last = 0

        def report(stage: str, done: int, total: int) -> None:
            nonlocal last
            if done < last:  # a new stage has a speed of its own: start its clock, or the time left is wrong
                bar.reset(row, total=total)
            last = done
            bar.update(row, completed=done, total=total, description=f"{task}: {stage}" if stage else task)

        yield report


def blocks(rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) over `rows` in pieces of `size`."""
    for start in range(0, rows, size):
        yield start, min(start + size, rows)


def say(line: str) -> None:
    """Tell on stderr what was done, so that stdout stays clean for results."""
    print(line, file=sys.stderr)
