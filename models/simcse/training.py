"""A training loop for SimCSE: AdamW without weight decay, gradients clipped to norm 1, the rate falling linearly to 0.

The authors' batches and rates (README of princeton-nlp/SimCSE): unsupervised BERT 64, base 3e-5, large 1e-5;
unsupervised RoBERTa 512, base 1e-5, large 3e-5; supervised 512, base 5e-5, large 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from bebr.models.simcse.loss import TEMPERATURE, contrast
from bebr.models.simcse.producer import SimCSE
from bebr.models.training import Descent, batches, rate, training

__all__ = ["fit"]


def fit(
    producer: SimCSE,
    anchors: Sequence[str],
    positives: Sequence[str] | None = None,
    negatives: Sequence[str] | None = None,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 3e-5,
    temperature: float = TEMPERATURE,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """Train the producer's network in place; the loss of every step comes back.

    Without ``positives`` a sentence's positive is itself, under another dropout. Both variants contrast vectors after
    the pooler; what is embedded afterwards is up to the producer's variant. The producer's version changes with its
    weights. Raises ValueError for lists that differ in length or are shorter than a batch.
    """
    for name, texts in (("positives", positives), ("negatives", negatives)):
        if texts is not None and len(texts) != len(anchors):
            raise ValueError(f"{name}: got {len(texts)}, wanted one for each of {len(anchors)} anchors")
    if not 2 <= batch_size <= len(anchors):
        raise ValueError(f"batch_size: got {batch_size}, wanted 2 to {len(anchors)}, the number of anchors")
    if steps < 1:
        raise ValueError(f"steps: got {steps}, wanted at least 1")
    network = producer.network
    descend = Descent(torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=0), 1.0)
    columns = [anchors, anchors if positives is None else positives]
    columns += [] if negatives is None else [negatives]
    rows = batches(len(anchors), batch_size, np.random.default_rng(seed))
    losses = []
    with training(producer, seed):
        for step in range(steps):
            chosen = next(rows)
            # One pass over all: each row has a dropout of its own, so equal sentences still differ.
            ids, mask = producer.tokens([column[row] for column in columns for row in chosen])
            vectors = network(torch.from_numpy(ids).to(producer.device), torch.from_numpy(mask).to(producer.device))
            parts = vectors.split(batch_size)
            loss = contrast(parts[0], parts[1], None if negatives is None else parts[2], temperature)
            losses.append(descend(loss, rate(step, steps, fall="linear")))
            if progress is not None:
                progress(step + 1, steps)
    return losses
