"""The picture of a trade-off: recall against bytes, and recall against speed. Needs matplotlib."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bebr.files import replacing
from bebr.tradeoff import Row

# Colours that stay apart for most colour-blind readers: strong ones for bebr, muted ones and other shapes for peers
_RECIPES = {"ragged": "#d1495b", "1 plane": "#00798c", "2 planes": "#30638e", "4 planes": "#edae49"}
_PEER_MARKERS = "sDv^<>PXpdh*8"
_PEER_COLOURS = ("#6b7280", "#8d6e63", "#7e9a5b", "#7b6ba8")


def draw_tradeoff(path: str | Path, rows: Sequence[Row], title: str) -> None:
    """Draw `rows` to a .png, .svg or .pdf file, without a display and without changing matplotlib's global state."""
    figure = Figure(figsize=(14, 6.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    by_bytes, by_speed = figure.subplots(1, 2, sharey=True)
    for label, members, style in _series(rows):
        recall = [row.recall for row in members]
        sizes = [row.bytes_per_vector for row in members]
        by_bytes.plot(sizes, recall, label=label, **style)
        # a peer's bits and its speed are hardly related: a line through the points would only be in the way
        line = style if members[0].system == "bebr" else {**style, "linestyle": "none"}
        by_speed.plot([row.queries_per_second for row in members], recall, **line)
    by_bytes.set_title(title, loc="left", fontsize=10)
    by_bytes.set_ylabel(f"recall@{rows[0].k} of the exact top {rows[0].k}")
    by_bytes.set_xlabel("bytes a vector, factors included (left is smaller)")
    _log_axis(by_bytes, [row.bytes_per_vector for row in rows], [2**i for i in range(16)])
    threads = f"{rows[0].threads} thread{'s' if rows[0].threads > 1 else ''}"
    by_speed.set_xlabel(f"queries a second, all in one call, {threads} (right is faster)")
    speeds = [row.queries_per_second for row in rows]
    steps = (1, 2, 5) if max(speeds) < 100 * min(speeds) else (1,)  # all three would run into each other
    _log_axis(by_speed, speeds, [step * 10**i for i in range(10) for step in steps])
    figure.legend(loc="outside right upper", fontsize=8.5, frameon=False)
    path = Path(path)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _log_axis(axes: Any, values: Sequence[float], ticks: Sequence[float]) -> None:
    """A logarithmic x axis round `values`, labelled at `ticks` only: matplotlib's own overlap on a short axis."""
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 1.5, max(values) * 1.5)
    axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if min(values) / 1.5 <= t <= max(values) * 1.5]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(alpha=0.3)


def _series(rows: Sequence[Row]) -> list[tuple[str, list[Row], dict[str, Any]]]:
    """Group rows into lines (label, rows by bytes, style): a bebr recipe and query mode, or a family of peer codes."""
    libraries = sorted({row.system for row in rows} - {"bebr"})
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_label(row), []).append(row)
    peers = 0
    series = []
    for label, members in groups.items():
        members.sort(key=lambda row: row.bytes_per_vector)
        if members[0].system == "bebr":
            style = _bebr_style(members[0])
        else:
            style = {
                "color": _PEER_COLOURS[libraries.index(members[0].system) % len(_PEER_COLOURS)],
                "marker": _PEER_MARKERS[peers % len(_PEER_MARKERS)],
                "markersize": 5,
                "linewidth": 0.8,
                "linestyle": ":",
                "zorder": 2,
            }
            peers += 1
        series.append((label, members, style))
    return series


def _bebr_style(row: Row) -> dict[str, Any]:
    colour = _RECIPES.get(row.recipe, "#000000")
    lead = row.recipe == "ragged"
    return {
        "color": colour,
        "marker": "o",
        "markersize": 7 if lead else 5,
        "markerfacecolor": colour if row.query == "float" else "white",
        "linestyle": "-" if row.query == "float" else "--",
        "linewidth": 2.2 if lead else 1.1,
        "zorder": 4 if lead else 3,
    }


def _label(row: Row) -> str:
    if row.system == "bebr":
        return f"bebr {row.recipe}, {'ADC' if row.query == 'float' else 'SDC'}"
    # "faiss RaBitQ4" and "faiss PQ96x4fs" belong to the lines "faiss RaBitQ" and "faiss PQ"
    family = re.sub(r"\d.*", "", row.recipe).strip()
    return row.recipe if re.search(r" [a-z]$", family) else family  # "usearch b1" and "usearch i8" are no family
