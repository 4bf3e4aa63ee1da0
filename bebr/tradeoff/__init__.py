"""Which bits do my data need? Recall, speed and cost of each (bytes, dims, planes, SDC or ADC), and of other engines.

All systems get the same rows, the same held-out queries and the same exact answers; each result is one point. Beside
each of bebr's stands what the planner, which sees the rows only, predicted for the same widths.

>>> rows = bebr.tradeoff.sweep(x, peers=True, left_out=print)
>>> bebr.tradeoff.write_html("report.html", rows, n=len(x), d=x.shape[1])
"""

from __future__ import annotations

from bebr.tradeoff.files import document, write_csv, write_json
from bebr.tradeoff.measuring import BYTES, ROUNDS, plans, split, sweep
from bebr.tradeoff.page import to_html, write_html
from bebr.tradeoff.recommendation import Recommendation, recommend
from bebr.tradeoff.row import Row
from bebr.tradeoff.series import Series, pareto, series

__all__ = [
    "BYTES",
    "ROUNDS",
    "Recommendation",
    "Row",
    "Series",
    "document",
    "pareto",
    "plans",
    "recommend",
    "series",
    "split",
    "sweep",
    "to_html",
    "write_csv",
    "write_html",
    "write_json",
]
