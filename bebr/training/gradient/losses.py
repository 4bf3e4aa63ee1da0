"""What networks are trained for (arXiv 2302.08714). Rows of every vector argument have unit length."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Keys(NamedTuple):
    """Pairs that only serve as negatives: float32[n, d] of each side, groups int64[n]."""

    queries: Tensor
    documents: Tensor
    groups: Tensor


def distillation(x: Tensor, decoded: Tensor, temperature: float, *, asymmetric: bool = True) -> Tensor:
    """How far the neighbourhoods of decoded codes are from those of the floats: no labels needed.

    x, decoded: float32[n, d]. For every row of the batch the float similarities to the others, as a distribution at
    ``temperature``, are the target for two estimates: float against decoded (ADC) and decoded against decoded (SDC).
    Mean of the two Kullback-Leibler divergences; ``asymmetric=False``: the second alone.
    """
    itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
    target = functional.log_softmax((x @ x.T / temperature).masked_fill(itself, -torch.inf), dim=1)
    target = target.masked_fill(itself, 0)
    weight = target.exp().masked_fill(itself, 0)
    loss = x.new_zeros(())
    lefts = (x, decoded) if asymmetric else (decoded,)
    for left in lefts:
        estimate = functional.log_softmax((left @ decoded.T / temperature).masked_fill(itself, -torch.inf), dim=1)
        loss = loss + (weight * (target - estimate.masked_fill(itself, 0))).sum(dim=1).mean()
    return loss / len(lefts)


def hard_negatives(
    a: Tensor, b: Tensor, groups: Tensor, temperature: float, negatives: int = 5, queue: Keys | None = None
) -> Tensor:
    """The paper's loss: cross-entropy of the positive among itself and its hardest negatives, both directions.

    a, b: float32[n, d], row i of one (a query) belongs to row i of the other (its document). groups: int64[n]; rows of
    the same group are no negatives of each other. temperature: of the cosine, .05 in the public recipe. queue:
    negatives from beyond the batch, documents for ``a`` and queries for ``b``.
    """
    positive = (a * b).sum(dim=1, keepdim=True) / temperature
    target = torch.zeros(len(a), dtype=torch.long, device=a.device)
    loss = a.new_zeros(())
    for left, right, more in ((a, b, queue and queue.documents), (b, a, queue and queue.queries)):
        others = _apart(left @ right.T / temperature, groups, groups)
        if queue is not None and more is not None:
            others = torch.cat([others, _apart(left @ more.T / temperature, groups, queue.groups)], dim=1)
        hardest = others.topk(min(negatives, others.shape[1] - 1), dim=1).values
        loss = loss + functional.cross_entropy(torch.cat([positive, hardest], dim=1), target)
    return loss / 2


def _apart(logits: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Logits [n, r] without those of equal groups int64[n], int64[r]."""
    return logits.masked_fill(left[:, None] == right[None, :], -1e9)


def score_distillation(
    queries: Tensor, candidates: Tensor, scores: Tensor, temperature: float, score_temperature: float
) -> Tensor:
    """Kullback-Leibler divergence from a teacher's order of candidates to ours.

    queries: float32[n, d]; candidates: float32[n, c, d]; scores: float32[n, c], the teacher's, softened by
    ``score_temperature``; ``temperature``: of our cosines.
    """
    ours = functional.log_softmax(torch.einsum("nd,ncd->nc", queries, candidates) / temperature, dim=1)
    return functional.kl_div(
        ours, functional.log_softmax(scores / score_temperature, dim=1), log_target=True, reduction="batchmean"
    )
