"""A2MC's losses and banks (arXiv 2304.04023), on SCD-Net's four pairs. Vectors are of unit length.

Queries q and keys k come from three heads, t of time, s of space, i of both: q_t and q_s look for k_i among the
bank i, q_i for k_t and k_s among the banks t and s; the sum of four cross-entropies.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

__all__ = ["PAIRS", "Bank", "info_nce", "mix_released"]

PAIRS = (("t", "i"), ("s", "i"), ("i", "t"), ("i", "s"))
"""Head of the query, head of the key and of its bank."""
_SHARP, _RATE, _MOMENTUM, _DECAY = 0.03, 3.0, 0.9, 1e-4
_MIXED = 0.1


class Bank(nn.Module):
    """Negatives ``W`` [d, size] of one head, and how fast they move, ``v``.

    ``size`` has to be a multiple of the batch: ValueError.
    """

    W: Tensor
    v: Tensor

    def __init__(self, d: int, size: int, batch: int, generator: torch.Generator) -> None:
        super().__init__()
        if size % batch:
            raise ValueError(f"bank: got {size}, wanted a multiple of the batch, {batch}")
        self.register_buffer("W", normalize(torch.randn(d, size, generator=generator), dim=0))
        self.register_buffer("v", torch.zeros(d, size))
        self.next = 0

    def negatives(self) -> Tensor:
        """The bank's columns at unit length, [d, size]."""
        return normalize(self.W, dim=0)

    def replace(self, keys: Tensor) -> None:
        """``keys`` [n, d], without gradient, take the place of the oldest n: a queue."""
        self.W[:, self.next : self.next + len(keys)] = keys.T
        self.next = (self.next + len(keys)) % self.W.shape[1]

    def harden(self, q: Tensor, k: Tensor) -> None:
        """One step uphill for every negative (AdCo, Hu et al. 2021): towards the queries q [n, d] that it is mistaken
        for, judged at temperature .03 beside the keys k; both without gradient.

        g is the gradient of the mean cross-entropy, its sign changed; v <- .9 v + g + 1e-4 W; W <- W - 3 v.
        """
        w = self.negatives()
        scores = q @ w
        p = torch.cat([(q * k).sum(1, keepdim=True), scores], 1).div(_SHARP).softmax(1)[:, 1:]
        gradient = q.T @ p / len(q) - (p * scores).mean(0) * w
        self.v.mul_(_MOMENTUM).add_(-gradient / (self.W.norm(dim=0) * _SHARP) + _DECAY * self.W)
        self.W.sub_(_RATE * self.v)

    def mix(self, q: Tensor) -> None:
        """Each query's hardest negative takes a tenth of the query up, w <- .9 w + .1 q at unit length; of queries that
        share one, any. Ours, after the abstract: hard negatives mixed of both are what the bank is updated with.
        """
        w = self.negatives()
        hardest = (q @ w).argmax(1)
        self.W[:, hardest] = normalize((1 - _MIXED) * w[:, hardest] + _MIXED * q.T, dim=0)


def info_nce(q: Tensor, k: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of finding k [n, d] for q [n, d] among it and ``negatives`` [d, size], a scalar."""
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ negatives], 1) / temperature
    return cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))


def mix_released(q: Mapping[str, Tensor], banks: Mapping[str, Bank], temperature: float) -> Tensor:
    """The mixing loss of the published code: the mean over the pairs of <q, m-> / T - <q, m+> / T, a scalar.

    m+ = .8 q + .2 w and m- = .1 q + .9 w, not brought to unit length, w the rows n, n + N, ... of the bank for the
    sample n of N. As <q, q> = 1 it is (.7 s - .7) / T, s the mean of <q, w>: a push away from the bank, and no more.
    """
    parts = []
    for query, key in PAIRS:
        own = q[query]
        w = banks[key].negatives().T.reshape(-1, *own.shape)  # [size / N, N, d]
        positive, negative = 0.8 * own + 0.2 * w, 0.1 * own + 0.9 * w
        parts.append(((own * negative).sum(2) - (own * positive).sum(2)).mean() / temperature)
    return torch.stack(parts).mean()
