"""Recall on data that training does not see: what decides which state of a network is kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.index import FlatIndex
from bebr.train.front import Fronts
from bebr.train.trainer import Decoded, with_decoder

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


def front_pair_recall(
    queries: Floats, documents: Floats, groups: Ids, device: torch.device
) -> Callable[[Fronts], float]:
    """Mean of R@1 and R@10 of held-out pairs among their own documents, by floats behind the fronts.

    groups: int64[n]; any document of the query's group is a right answer.
    """
    q, d = torch.from_numpy(queries).to(device), torch.from_numpy(documents).to(device)

    def score(fronts: Fronts) -> float:
        left, right = fronts.evaluated(q, d)
        return group_recall((left @ right.T).topk(min(_DEPTH, len(d)), dim=1).indices.cpu().numpy(), groups)

    return score


def code_pair_recall(queries: Floats, documents: Floats, groups: Ids) -> Callable[[Binarizer], float]:
    """The same by a binarizer's codes, mean over ADC and SDC."""

    def score(binarizer: Binarizer) -> float:
        index = FlatIndex(binarizer)
        index.add(documents)
        found = [index.search(queries, _DEPTH, query=query, refine="exact").ids for query in ("float", "code")]
        return sum(group_recall(ids, groups) for ids in found) / 2

    return score


def group_recall(ids: Ids, groups: Ids) -> float:
    """Mean over "first" and "among all" of how often a row of ids int64[n, k] (-1: none) has a member of its group."""
    right = (groups[ids] == groups[:, None]) & (ids >= 0)
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
