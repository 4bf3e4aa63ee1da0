"""Rows that nobody measured, with the figures that a test wants."""

from __future__ import annotations

from typing import Any

from bebr.tradeoff import Row


def ours(size: float, recall: float, speed: float = 1000.0, recipe: str = "ragged", query: str = "float") -> Row:
    """A row of bebr."""
    planes = {"1 plane": 1, "2 planes": 2, "4 planes": 4}.get(recipe)
    widths = (16, 8) if planes is None else (16,) * planes
    return _row(system="bebr", recipe=recipe, query=query, widths=widths, dims=16, **_figures(size, recall, speed))


def theirs(name: str, size: float, recall: float, speed: float = 1000.0) -> Row:
    """A row of a peer; the library is the first word of ``name``."""
    figures = _figures(size, recall, speed)
    return _row(system=name.split()[0], recipe=name, query="", widths=(), dims=0, **figures)


def _figures(size: float, recall: float, speed: float) -> dict[str, float]:
    return {"bytes_per_vector": size, "recall": recall, "queries_per_second": speed, "latency_ms": 2e3 / speed}


def _row(**values: Any) -> Row:
    rest = {"k": 10, "recall_error": 0.004, "predicted": None, "predicted_error": None, "threads": 1}
    return Row(**rest, encode_per_second=50_000.0, train_seconds=1.5, **values)
