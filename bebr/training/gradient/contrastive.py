"""The training loop of the input adapters; the best state on held-out pairs is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bebr.training.gradient.input_adapter import InputAdapters
from bebr.training.gradient.loop import Checkpoint, Loop
from bebr.training.gradient.losses import distillation, hard_negatives, score_distillation
from bebr.training.gradient.queue import MomentumQueue
from bebr.training.gradient.settings import PairSettings
from bebr.training.linear.closed_form import Progress

_NEIGHBOURS_TEMPERATURE = 0.1  # of self-distillation, as in the recurrent recipe


@dataclass(frozen=True)
class TrainingData:
    """What is learnt from, on one device.

    queries [p, d_q], documents [p, d], groups int64[p]: training pairs. x [n, d]: vectors whose neighbourhoods
    self-distillation keeps. scores [p, c] and candidates int64[p, c], rows of ``pool`` [r, d]: a teacher's, if any.
    """

    queries: Tensor
    documents: Tensor
    groups: Tensor
    x: Tensor
    pool: Tensor | None = None
    candidates: Tensor | None = None
    scores: Tensor | None = None


def tune(
    adapters: InputAdapters,
    training_data: TrainingData,
    score: Callable[[InputAdapters], float],
    settings: PairSettings,
    generator: torch.Generator,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> tuple[float, float]:
    """Train ``adapters``; afterwards they hold the best state by ``score``, the one before the first step included.

    Returns that first score and the best.
    """
    rows = len(training_data.queries)
    size = min(settings.batch or rows, rows)
    steps = settings.epochs * (rows // size)
    optimizer = torch.optim.AdamW(adapters.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    queue = MomentumQueue(adapters, settings.queue) if settings.queue else None
    loop = Loop(adapters, optimizer, steps, size, lambda: score(adapters), generator, checkpoint, queue)
    for _ in loop.epochs(settings.epochs, "pairs", progress):
        order = torch.randperm(rows, generator=generator).to(training_data.queries.device)
        for start in range(0, rows - size + 1, size):  # what is left over waits for the next epoch's order
            chosen = order[start : start + size]
            loop.step(_loss(adapters, training_data, chosen, settings, queue, generator))
            if queue is not None:
                groups = training_data.groups[chosen]
                queue.push(adapters, training_data.queries[chosen], training_data.documents[chosen], groups)
    return loop.first, loop.best


def _loss(
    adapters: InputAdapters,
    training_data: TrainingData,
    chosen: Tensor,
    settings: PairSettings,
    queue: MomentumQueue | None,
    generator: torch.Generator,
) -> Tensor:
    """The paper's loss; plus a teacher's scores and the floats' own neighbourhoods, where the settings say so."""
    n = len(chosen)
    batch = [training_data.documents[chosen]]  # one pass over all documents of the step
    rows = sample = None
    if training_data.candidates is not None and training_data.pool is not None:
        used, rows = torch.unique(training_data.candidates[chosen], return_inverse=True)
        batch.append(training_data.pool[used])
    if settings.distill:
        drawn = torch.randint(len(training_data.x), (n,), generator=generator).to(chosen.device)
        sample = training_data.x[drawn]
        batch.append(sample)
    queries, everything = adapters(training_data.queries[chosen], torch.cat(batch))
    documents, *more = everything.split([len(part) for part in batch])
    groups = training_data.groups[chosen]
    keys = None if queue is None else queue.keys()
    loss = hard_negatives(queries, documents, groups, settings.temperature, settings.negatives, keys)
    if rows is not None and training_data.scores is not None:
        judged = score_distillation(
            queries, more[0][rows], training_data.scores[chosen], settings.temperature, settings.score_temperature
        )
        loss = loss + settings.score_weight * judged
    if sample is not None:
        kept = distillation(sample, more[-1], _NEIGHBOURS_TEMPERATURE, asymmetric=False)
        loss = loss + settings.distill * kept
    return loss
