"""Which tasks are alike (arXiv 2304.14381, section 3.2): the diagonal of the Fisher information of each task's expert.

F[p] is the mean over batches of four of the squared gradient of the batch's loss, p any parameter of the expert; the
weights stay as they are. Two tasks are as alike as the mean over tensors of cos(F_a / (F_a + F_b), F_b / (F_a + F_b)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from bebr.models.pi_tuning.held import Held
from bebr.models.pi_tuning.producer import PiTuning
from bebr.models.pi_tuning.training import Trained, attached, numbered

__all__ = ["embedding", "nearest", "similarity"]

_BATCH, _LEAST = 4, 1e-6


def embedding(
    producer: PiTuning,
    trained: Trained,
    items: Sequence[Any] | Held,
    labels: Sequence[int] | npt.NDArray[np.int64],
    seed: int = 0,
) -> dict[str, Tensor]:
    """A task's: every parameter's information by name, in the parameter's shape. One pass over the items in an order
    drawn from ``seed``, without those that fill no batch of four (one batch of all where there are fewer).

    Raises ValueError for a label that the task's expert was not trained with.
    """
    numbers = numbered(labels, items, trained.classes)
    held = Held.of(producer, items)
    order = np.random.default_rng(seed).permutation(len(items))
    size = min(_BATCH, len(order))
    batches = [order[start : start + size] for start in range(0, len(order) - size + 1, size)]
    found = {name: torch.zeros_like(value) for name, value in trained.expert.named_parameters()}
    with attached(producer, trained.expert):
        for rows in batches:
            logits = trained.head(held.means(producer, rows))
            loss = cross_entropy(logits, torch.from_numpy(numbers[rows]).to(producer.device))
            names, values = zip(*trained.expert.named_parameters(), strict=True)
            for name, slope in zip(names, torch.autograd.grad(loss, values), strict=True):
                found[name] += slope.square() / len(batches)
    return found


def similarity(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Of two tasks' embeddings, 0 to 1. ValueError where they are not of experts of one shape."""
    if [(name, one.shape) for name, one in a.items()] != [(name, one.shape) for name, one in b.items()]:
        raise ValueError("a, b: are of experts of different shapes")
    out = []
    for name, one in a.items():
        both = one + b[name] + _LEAST
        out.append(float(cosine_similarity((one / both).flatten(), (b[name] / both).flatten(), dim=0)))
    return float(np.mean(out))


def nearest(task: Mapping[str, Tensor], others: Mapping[str, Mapping[str, Tensor]]) -> list[tuple[str, float]]:
    """The other tasks by similarity, the most alike first; ties by name."""
    found = [(name, similarity(task, other)) for name, other in others.items()]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))
