"""The picture of a trade-off: recall against bytes, and recall against speed. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bebr.files import replacing
from bebr.tradeoff import Row, Series, series

# Colours that stay apart for most colour-blind readers: strong ones for bebr, muted ones and other shapes for peers
_RECIPES = {"ragged": "#d1495b", "1 plane": "#00798c", "2 planes": "#30638e", "4 planes": "#edae49"}
_PEER_MARKERS = "sDv^<>PXpdh*8"
_PEER_COLOURS = ("#6b7280", "#8d6e63", "#7e9a5b", "#7b6ba8")


def draw_tradeoff(path: str | Path, rows: Sequence[Row], title: str) -> None:
    """Draw `rows` to a .png, .svg or .pdf file, without a display and without changing matplotlib's global state."""
    figure = tradeoff_figure(rows, title)
    with replacing(Path(path)) as temporary:
        figure.savefig(temporary)


def tradeoff_figure(rows: Sequence[Row], title: str) -> Figure:
    """The picture of `rows`: recall against bytes, and against queries a second."""
    figure = Figure(figsize=(14, 6.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    by_bytes, by_speed = figure.subplots(1, 2, sharey=True)
    for one, style in _styled(rows):
        alone = {**style, "linestyle": "none"}
        beside = [row for row in one.rows if row not in one.line]
        by_bytes.plot(*_points(one.line, "bytes_per_vector"), label=one.label, **style)
        by_bytes.plot(*_points(beside, "bytes_per_vector"), **alone)
        # a peer's bits and its speed are hardly related: a line through the points would only be in the way
        by_speed.plot(*_points(one.rows, "queries_per_second"), **(style if one.system == "bebr" else alone))
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
    return figure


def _log_axis(axes: Any, values: Sequence[float], ticks: Sequence[float]) -> None:
    """A logarithmic x axis round `values`, labelled at `ticks` only: matplotlib's own overlap on a short axis."""
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 1.5, max(values) * 1.5)
    axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if min(values) / 1.5 <= t <= max(values) * 1.5]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(alpha=0.3)


def _points(rows: Sequence[Row], across: str) -> tuple[list[float], list[float]]:
    return [getattr(row, across) for row in rows], [row.recall for row in rows]


def _styled(rows: Sequence[Row]) -> list[tuple[Series, dict[str, Any]]]:
    """Every curve with its colours and marks: a peer's library has a colour, each of its codes a mark."""
    libraries = sorted({row.system for row in rows} - {"bebr"})
    styled, peers = [], 0
    for one in series(rows):
        if one.system == "bebr":
            style = _bebr_style(one.rows[0])
        else:
            style = {
                "color": _PEER_COLOURS[libraries.index(one.system) % len(_PEER_COLOURS)],
                "marker": _PEER_MARKERS[peers % len(_PEER_MARKERS)],
                "markersize": 5,
                "linewidth": 0.8,
                "linestyle": ":",
                "zorder": 2,
            }
            peers += 1
        styled.append((one, style))
    return styled


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
