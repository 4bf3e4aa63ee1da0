"""Recall on data that training does not see: what decides which state of a network is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.index import FlatIndex
from bebr.training.gradient.input_adapter import InputAdapters
from bebr.training.gradient.trainer import Decoded, with_decoder

Score = Callable[[Decoded], float]

_DEPTH = 10
_QUERIES, _BASE = 1_000, 16_384


def neighbour_recall(queries: Floats, base: Floats) -> Score:
    """Recall@10 of the floats' own neighbours, mean of ADC and SDC, with the decoder that least squares gives.

    queries: float32[n, d] held out; at most 1,000 are used, against at most 16,384 of base. Unit rows.
    """
    q, b = torch.from_numpy(queries[:_QUERIES]), torch.from_numpy(base[:_BASE])
    depth = min(_DEPTH, len(b))
    truth = (q @ b.T).topk(depth, dim=1).indices

    def score(model: Decoded) -> float:
        fitted = with_decoder(model.network, b)
        documents, coded = decoded(fitted, b), decoded(fitted, q)
        return sum(found(left @ documents.T, truth, depth) for left in (q, coded)) / 2

    return score


def pair_recall(queries: Floats, documents: Floats) -> Score:
    """How often a query's document is first, and among the first ten, of all held-out documents: mean over both and
    ADC, SDC.

    queries, documents: float32[n, d], unit rows, held out; the model's own trained decoder.
    """
    q, d = torch.from_numpy(queries), torch.from_numpy(documents)
    truth = torch.arange(len(q))[:, None]

    def score(model: Decoded) -> float:
        coded = decoded(model, d)
        ranks = [(left @ coded.T, depth) for left in (q, decoded(model, q)) for depth in (1, min(_DEPTH, len(d)))]
        return sum(found(scores, truth, depth) for scores, depth in ranks) / len(ranks)

    return score


class HeldOut(NamedTuple):
    """Pairs that training does not see, among other documents. Group ids say what is a right answer: any member."""

    queries: Floats  # [n, d_q]
    groups: Ids  # [n]
    documents: Floats  # [r, d]: what is searched
    document_groups: Ids  # [r]

    def adapter_recall(self, adapters: InputAdapters) -> float:
        """Mean of R@1 and R@10 by floats behind the adapters."""
        device = next(adapters.parameters()).device
        sides = (torch.from_numpy(side).to(device) for side in (self.queries, self.documents))
        left, right = adapters.evaluated(*sides)
        depth = min(_DEPTH, len(right))
        return self._recall(np.concatenate([(q @ right.T).topk(depth).indices.cpu() for q in left.split(512)]))

    def code_recall(self, binarizer: Binarizer) -> float:
        """The same by a binarizer's codes, mean over ADC and SDC."""
        index = FlatIndex(binarizer)
        index.add(self.documents)
        modes: tuple[Query, ...] = ("float", "code")
        found = [index.search(self.queries, _DEPTH, query=mode, exact=True).ids for mode in modes]
        return sum(map(self._recall, found)) / len(found)

    def _recall(self, ids: Ids) -> float:
        """Of ids int64[n, k], best first, -1 for none."""
        right = (self.document_groups[ids] == self.groups[:, None]) & (ids >= 0)
        return float(right[:, 0].mean() + right.any(axis=1).mean()) / 2


def decoded(model: Decoded, x: Tensor) -> Tensor:
    """Reconstructions of ``x`` in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(piece) for piece in x.split(4096)])


def found(scores: Tensor, truth: Tensor, depth: int) -> float:
    """Share of ``truth`` int64[n, t] among the ``depth`` highest of ``scores`` [n, rows]."""
    top = scores.topk(depth, dim=1).indices
    return float((top[:, :, None] == truth[:, None, :]).any(dim=1).float().mean())
