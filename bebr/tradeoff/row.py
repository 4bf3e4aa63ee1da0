"""One measured point."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One point of the trade-off.

    system              "bebr" or the library of a peer
    recipe              "ragged" (what `bebr.train` chooses), "B planes" (uniform), or the peer's own name
    query               "float" (ADC) or "code" (SDC); "" for peers
    widths, dims        dims of each plane, and of the first; () and 0 for peers
    bytes_per_vector    stored bytes, factors included, ids not
    recall              mean share of the exact top k among the k found
    recall_error        its standard error over the queries
    predicted           recall as :func:`bebr.plan` predicts it from the rows alone; None for peers and too few rows
    predicted_error     standard error of ``predicted``
    queries_per_second  all queries in one call
    latency_ms          one query a call, median
    encode_per_second   vectors encoded and added a second
    train_seconds       on as many threads as training likes
    threads             of the other three speeds
    """

    system: str
    recipe: str
    query: str
    widths: tuple[int, ...]
    dims: int
    bytes_per_vector: float
    k: int
    recall: float
    recall_error: float
    predicted: float | None
    predicted_error: float | None
    queries_per_second: float
    latency_ms: float
    encode_per_second: float
    train_seconds: float
    threads: int

    @property
    def name(self) -> str:
        """What a person calls it: "bebr ragged, ADC", or the peer's own name."""
        if self.system != "bebr":
            return self.recipe
        return f"bebr {self.recipe}, {'ADC' if self.query == 'float' else 'SDC'}"

    @property
    def shape(self) -> str:
        """The planes as "240+112+32", or "128x2" where all are as wide; "" for peers."""
        if len(self.widths) > 1 and len(set(self.widths)) == 1:
            return f"{self.dims}x{len(self.widths)}"
        return "+".join(map(str, self.widths))
