"""Which kind of index a segment is: few rows are scanned, many are in lists or a graph."""

from __future__ import annotations

from dataclasses import dataclass

from bebr.collection.protocol import IndexKind
from bebr.index.sizes import Kind

# A graph is made in memory, of about a thousand bytes a row.
GRAPH_ROWS = 1 << 20
# A merge makes no larger file of another kind than this, so that it stays a matter of minutes.
MERGE_ROWS = 1 << 24


@dataclass(frozen=True)
class Shape:
    """`index`: what the collection was made with; a segment of more than `flat_rows` rows is of that kind."""

    index: IndexKind
    flat_rows: int

    def kind(self, rows: int) -> Kind:
        """Of a segment of so many rows."""
        if self.index == "flat" or rows <= self.flat_rows:
            return "flat"
        return "graph" if self.index == "graph" else "ivf"

    @property
    def most_rows(self) -> int:
        """Of a file that a merge makes."""
        return GRAPH_ROWS if self.index == "graph" else MERGE_ROWS
