"""SimCSE's contrast (arXiv 2104.08821, equations 1, 4 and 5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

__all__ = ["TEMPERATURE", "contrast"]

TEMPERATURE = 0.05


def contrast(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor | None = None,
    temperature: float = TEMPERATURE,
    hard_weight: float = 0.0,
) -> Tensor:
    """InfoNCE over cosines, a scalar: each of ``anchors`` [n, d] is to be nearest to its row of ``positives`` [n, d].

    All other positives are negatives, and so are all of ``negatives`` [n, d], an anchor's own hard one among them;
    ``hard_weight`` is added to the logit of that one. Without hard negatives, and with two dropout passes of one batch,
    this is the unsupervised loss. Raises ValueError for shapes that differ or a temperature of 0 or less.
    """
    if (
        anchors.ndim != 2
        or anchors.shape != positives.shape
        or (negatives is not None and negatives.shape != anchors.shape)
    ):
        shapes = [list(part.shape) for part in (anchors, positives, negatives) if part is not None]
        raise ValueError(f"anchors, positives, negatives: got {shapes}, wanted one shape [n, d]")
    if temperature <= 0:
        raise ValueError(f"temperature: got {temperature}, wanted above 0")
    unit = normalize(anchors, dim=1)
    logits = unit @ normalize(positives, dim=1).T / temperature
    if negatives is not None:
        hard = unit @ normalize(negatives, dim=1).T / temperature
        hard = hard + hard_weight * torch.eye(len(hard), dtype=hard.dtype, device=hard.device)
        logits = torch.cat([logits, hard], 1)
    return cross_entropy(logits, torch.arange(len(anchors), device=anchors.device))
