"""A second look at an engine's hits: FLM reads the query together with each of them, and puts them in its own order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import bebr
from bebr.models import items
from bebr.models.flm.producer import Flm
from bebr.models.flm.ranking import likelihoods, scores

__all__ = ["WAYS", "Reranker"]

WAYS = ("head", "likelihood")


class Reranker:
    """Reorders what an index found: a text's pictures, or a picture's texts.

    ``by``  ``"head"``        the score of the ranking head, as published
            ``"likelihood"``  how well the picture explains the text, of ``ranking.likelihoods``: ours, needs no head;
                              among several texts of one picture it leans to common words

    ``item(id)`` gives what was indexed under an id: a picture (as ``Producer.embed`` takes them) or a text. The cost is
    a pass of the network for every hit; so it is for the first hundred or so.
    """

    def __init__(self, producer: Flm, item: Callable[[int], Any], by: str = "head", batch_size: int = 128) -> None:
        if by not in WAYS:
            raise ValueError(f"by: got {by!r}, wanted {', '.join(WAYS)}")
        if by == "head" and not producer.network.config.ranked:
            raise ValueError("producer: its network has no ranking head: ranking.fit trains one")
        if batch_size < 1:
            raise ValueError(f"batch_size: got {batch_size}, wanted at least 1")
        self.producer, self.item, self.by, self.batch_size = producer, item, by, batch_size

    def __call__(self, queries: Sequence[Any], hits: bebr.Hits) -> bebr.Hits:
        """The same ids, row by row in falling order of the score; a tie keeps the engine's order. Places where the
        engine found nothing stay last, with their id -1 and score -inf.

        Raises ValueError unless there is a query for each row of hits, or for an item that does not fit its query.
        """
        kind = items.check(queries, "image|text")
        if len(queries) != len(hits.ids):
            raise ValueError(f"queries: got {len(queries)}, wanted one for each of {len(hits.ids)} rows of hits")
        found = np.full(hits.ids.shape, -np.inf, np.float32)
        for row, query in enumerate(queries):
            there = np.flatnonzero(hits.ids[row] >= 0)
            for start in range(0, len(there), self.batch_size):
                at = there[start : start + self.batch_size]
                found[row, at] = self._scores(kind, query, [int(hits.ids[row, place]) for place in at], row)
        order = np.argsort(-found, 1, kind="stable")
        return bebr.Hits(np.take_along_axis(found, order, 1), np.take_along_axis(hits.ids, order, 1))

    def _scores(self, kind: str, query: Any, ids: list[int], row: int) -> npt.NDArray[np.float32]:
        wanted = "image" if kind == "text" else "text"
        given = [self.item(number) for number in ids]
        for number, one in zip(ids, given, strict=True):
            try:
                items.check([one], wanted)
            except ValueError as error:
                raise ValueError(f"item({number}): {error}, as queries[{row}] is of the kind {kind!r}") from error
        network, marks = self.producer.network, self.producer.tokens.marks
        with torch.inference_mode():
            tokens = self.producer.ids([query] if kind == "text" else given)
            shown = self._see(given, ids) if kind == "text" else self._see([query], [row])
            reading = network.read(tokens, marks)
            if self.by == "head":
                found = scores(network, reading, shown)
            else:
                found = likelihoods(network, reading, tokens, marks, shown)
            out: npt.NDArray[np.float32] = found.reshape(-1).float().cpu().numpy()
        return out

    def _see(self, pictures: list[Any], names: list[int]) -> Tensor:
        opened = [items.picture(one, f"item({name})") for one, name in zip(pictures, names, strict=True)]
        return self.producer.network.picture(self.producer.pixels(opened))
