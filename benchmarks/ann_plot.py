"""The picture of one data set: speed against recall, and speed at one recall against bytes. Needs matplotlib."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bebr.files import replacing
from benchmarks.ann_report import LEVELS, at, pareto
from benchmarks.ann_results import Row

__all__ = ["draw"]

LEVEL = 0.95
# As in bebr.plot: strong colours for ours, by kind of index; muted ones for libraries, with a marker for each engine.
_KINDS = {"Flat": "#edae49", "IVF rescore": "#30638e", "IVF": "#d1495b", "Graph": "#00798c"}
_COLOURS = ("#6b7280", "#8d6e63", "#7e9a5b", "#7b6ba8", "#4f8a8b", "#a0708a")
_MARKERS = "sDv^<>PXpdh*8"
_LINES = ("-", "--", ":", "-.")


def draw(path: Path, rows: Sequence[Row], floor: float) -> None:
    """Write a .png, .svg or .pdf of the rows of one data set, from recall ``floor`` up."""
    figure = Figure(figsize=(15, 7), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    curves, sizes = figure.subplots(1, 2, width_ratios=(2, 1))
    # The highest of interest that anyone reaches; a set of small codes may end below.
    reached = [level for level in LEVELS if level <= LEVEL and any(at(row.figures, level) for row in rows)]
    level = max(reached, default=None)
    for row, style in _styled(rows):
        curve = [point for point in pareto(row.figures) if point.recall >= floor]
        curves.plot([p.recall for p in curve], [p.qps for p in curve], label=row.engine, **style)
        speed = None if level is None else at(row.figures, level)
        if speed is not None:
            sizes.plot([row.bytes_per_vector], [speed], **{**style, "linestyle": "none"})
    conditions = rows[0].conditions
    threads = f"{conditions.threads} thread{'s' if conditions.threads > 1 else ''}"
    calls = "all in one call" if conditions.mode == "batch" else "one call each"
    curves.set_title(f"{conditions.dataset}: queries {calls}, {threads}, {conditions.machine}", loc="left", fontsize=10)
    curves.set_xlabel(f"recall@{conditions.k} of the exact top {conditions.k} (right is better)")
    curves.set_ylabel("queries a second (up is faster)")
    sizes.set_title("no engine reaches .9" if level is None else f"at recall {level}", loc="left", fontsize=10)
    sizes.set_xlabel("bytes a vector (left is smaller)")
    sizes.set_xscale("log")
    curves.set_xlim(floor, 1)
    for axes in (curves, sizes):
        axes.set_yscale("log")
        axes.grid(alpha=0.3, which="both")
        _plain(axes.yaxis)
    _plain(sizes.xaxis)
    figure.legend(loc="outside right upper", fontsize=7.5, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _plain(axis: Any) -> None:
    """Numbers as they are at 1, 2 and 5 of each power of ten, and nothing between."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def _styled(rows: Sequence[Row]) -> list[tuple[Row, dict[str, Any]]]:
    libraries = sorted({row.library for row in rows} - {"bebr"})
    seen: dict[str, int] = {}
    found = []
    for row in sorted(rows, key=lambda row: (row.library != "bebr", row.engine)):
        group = _kind(row.engine) if row.library == "bebr" else row.library
        number = seen[group] = seen.get(group, -1) + 1
        if row.library == "bebr":
            colour = _KINDS.get(group, "#000000")
            style = {"color": colour, "marker": "o", "markersize": 5, "linewidth": 2, "zorder": 3}
        else:
            colour = _COLOURS[libraries.index(row.library) % len(_COLOURS)]
            marker = _MARKERS[number % len(_MARKERS)]
            style = {"color": colour, "marker": marker, "markersize": 4.5, "linewidth": 0.9, "zorder": 2}
        found.append((row, {**style, "linestyle": _LINES[number % len(_LINES)]}))
    return found


def _kind(engine: str) -> str:
    """Of "bebr IVF256 rescore 100 B": "IVF rescore"."""
    return re.sub(r"\d+", "", engine.removeprefix("bebr ").rpartition(" B")[0]).strip()
