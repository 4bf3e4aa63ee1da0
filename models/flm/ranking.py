"""Retrieval on top of a trained FLM: the head that ranks pairs, and the projections of pictures and texts alone.

The head is published: of a picture and 16 texts, 15 of them false, the right one is to score highest. Ours: the false
texts are those of the other pairs of a batch, rank both ways, and a contrast of CLIP's kind trains the projections.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from bebr.models.flm.data import Pairs
from bebr.models.flm.network import Marks, Network, Reading
from bebr.models.flm.producer import Flm
from bebr.models.flm.training import Log, descent_of, looked
from bebr.models.rils.loss import contrast
from bebr.models.training import batches, rate, training

__all__ = ["fit", "likelihoods", "scores"]


def scores(network: Network, reading: Reading, pictures: Tensor) -> Tensor:
    """What the head says of every text with every picture, [texts, pictures]; ``reading`` is of ``Network.read``."""
    texts, shown = len(reading.real), len(pictures)
    seen = network.look(reading.repeated(shown), pictures.repeat(texts, 1, 1))
    return network.rank_output(network.pair(seen)).view(texts, shown)


def likelihoods(network: Network, reading: Reading, tokens: Tensor, marks: Marks, pictures: Tensor) -> Tensor:
    """How well every picture explains every text, [texts, pictures]: the mean over a text's tokens of the logarithm of
    their chance given all others and the picture. Ours: FLM has them all in one pass, and no head is needed.

    ``reading`` is of ``tokens`` [texts, t]. Marks and padding do not count.
    """
    texts, shown = len(tokens), len(pictures)
    seen = network.look(reading.repeated(shown), pictures.repeat(texts, 1, 1))
    wanted = tokens.repeat_interleave(shown, 0)
    counted = (wanted != marks.padding) & (wanted != marks.end)
    counted[:, 0] = False
    chances = log_softmax(network.lm_score(seen.queries[counted]), 1).gather(1, wanted[counted][:, None])[:, 0]
    summed = chances.new_zeros(len(wanted)).index_add(0, counted.nonzero()[:, 0], chances)
    return (summed / counted.sum(1).clamp(min=1)).view(texts, shown)


def fit(
    producer: Flm,
    pairs: Pairs,
    steps: int = 500,
    learning_rate: float = 2e-4,
    batch_size: int = 16,
    contrasted: int = 128,
    faster: float = 1.0,
    frozen: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Log:
    """Train the head on ``batch_size`` pairs a step, and, where the network has them, the projections on ``contrasted``
    others; the network beneath learns with both. ``faster`` and ``frozen`` as in ``training.fit``.

    Raises ValueError for a network without the head, or settings out of range.
    """
    network = producer.network
    if not network.config.ranked:
        raise ValueError("producer: its network has no ranking head: train one whose config says ranked")
    projected = network.config.projected
    for name, size in (("batch_size", batch_size), ("contrasted", contrasted if projected else 2)):
        if not 2 <= size <= len(pairs):
            raise ValueError(f"{name}: got {size}, wanted 2 to {len(pairs)}, the number of pairs")
    if steps < 1:
        raise ValueError(f"steps: got {steps}, wanted at least 1")
    random = np.random.default_rng(seed)
    ranked, others = batches(len(pairs), batch_size, random), batches(len(pairs), contrasted, random)
    descend, look, log = descent_of(network, learning_rate, faster, frozen), looked(producer, pairs, frozen), Log()
    own = torch.arange(batch_size, device=producer.device)

    def read(rows: np.ndarray) -> Reading:
        return network.read(producer.ids([pairs.captions[row] for row in rows]), producer.tokens.marks)

    with training(producer, seed):
        for step in range(steps):
            rows = next(ranked)
            table = scores(network, read(rows), look(rows))
            loss = (cross_entropy(table, own) + cross_entropy(table.T, own)) / 2
            if projected:
                rows = next(others)
                shown, said = producer.alone(picture=look(rows)), producer.alone(queries=read(rows).queries)
                loss = loss + contrast(shown, said, network.logit_scale.exp())[0]
            log.loss.append(descend(loss, rate(step, steps, fall="linear")))
            if projected:
                network.logit_scale.data.clamp_(0, math.log(100))
            if progress is not None:
                progress(step + 1, steps)
    return log
