"""What the recurrent network is trained for (PAPER.md section 2). Rows of every argument have unit length."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def distillation(x: Tensor, decoded: Tensor, temperature: float) -> Tensor:
    """How far the neighbourhoods of decoded codes are from those of the floats: no labels needed.

    x, decoded: float32[n, d]. For every row of the batch the float similarities to the others, as a distribution at
    ``temperature``, are the target for two estimates: float against decoded (ADC) and decoded against decoded (SDC).
    Mean of the two Kullback-Leibler divergences.
    """
    itself = torch.eye(len(x), dtype=torch.bool)
    target = functional.log_softmax((x @ x.T / temperature).masked_fill(itself, -torch.inf), dim=1)
    target = target.masked_fill(itself, 0)
    weight = target.exp().masked_fill(itself, 0)
    loss = x.new_zeros(())
    for left in (x, decoded):
        estimate = functional.log_softmax((left @ decoded.T / temperature).masked_fill(itself, -torch.inf), dim=1)
        loss = loss + (weight * (target - estimate.masked_fill(itself, 0))).sum(dim=1).mean()
    return loss / 2


def hard_negatives(a: Tensor, b: Tensor, groups: Tensor, temperature: float, negatives: int = 5) -> Tensor:
    """The paper's loss: cross-entropy of the positive among itself and the hardest negatives of the batch, both
    directions.

    a, b: float32[n, d], row i of one belongs to row i of the other. groups: int64[n]; rows of the same group are no
    negatives of each other. temperature: of the cosine, .05 in the public recipe.
    """
    logits = a @ b.T / temperature
    same = groups[:, None] == groups[None, :]
    positive = logits.diagonal()[:, None]
    target = torch.zeros(len(a), dtype=torch.long)
    loss = a.new_zeros(())
    for direction in (logits, logits.T):
        hardest = direction.masked_fill(same, -1e9).topk(min(negatives, len(a) - 1), dim=1).values
        loss = loss + functional.cross_entropy(torch.cat([positive, hardest], dim=1), target)
    return loss / 2
