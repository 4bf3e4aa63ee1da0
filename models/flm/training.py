"""A training loop for FLM and for masked language modelling of the same network; one process.

AdamW of betas .9 and .98, epsilon 1e-8, weight decay .01 on matrices, the rate rising over the first twentieth and then
falling linearly to 0, as published (there: batch 4096, 30,000 steps, rate 8e-5 and five times that for what is not
taken over from RoBERTa and CLIP). Rate, batch and steps here are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from bebr.models.flm.data import Pairs
from bebr.models.flm.loss import free, masked
from bebr.models.flm.producer import Flm
from bebr.models.training import Descent, batches, clock_of, rate, training

__all__ = ["OBJECTIVES", "Log", "descent_of", "fit", "looked"]

OBJECTIVES = ("flm", "mlm")
Watch = Callable[[int, float], bool]


@dataclass
class Log:
    """Of every step the loss; ``seconds`` of training in all: CPU seconds on the CPU, elapsed ones elsewhere."""

    loss: list[float] = field(default_factory=list)
    seconds: float = 0.0


def fit(
    producer: Flm,
    pairs: Pairs,
    objective: str = "flm",
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    corruption: float | None = None,
    warmup: float = 0.05,
    fall: bool = True,
    faster: float = 1.0,
    frozen: bool = False,
    seed: int = 0,
    watch: Watch | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Log:
    """Train the producer's network in place.

    objective   ``flm``  the reconstructor and both streams
                ``mlm``  one stream that sees all, some tokens hidden
    corruption  share of tokens hidden: FLM's r, 0 if None; MLM's masking rate, .15 if None
    fall        whether the rate falls after its rise; it stays where it is if not
    faster      factor of the rate for what RoBERTa and CLIP do not bring: 5 as published, where these are loaded
    frozen      the picture encoder is left as it is, and every picture encoded once, before the clock starts
    watch       watch(steps done, seconds) after each step, its own time not counted: True ends the training

    The producer's version changes with its weights. Raises ValueError for settings out of range.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective: got {objective!r}, wanted {', '.join(OBJECTIVES)}")
    if not 1 <= batch_size <= len(pairs):
        raise ValueError(f"batch_size: got {batch_size}, wanted 1 to {len(pairs)}, the number of pairs")
    if steps < 1 or not 0 <= warmup < 1:
        raise ValueError(f"steps, warmup: got {steps}, {warmup}, wanted at least 1, and 0 to below 1")
    share = {"flm": 0.0, "mlm": 0.15}[objective] if corruption is None else corruption
    if not (0 <= share <= 1 if objective == "flm" else 0 < share < 1):
        raise ValueError(f"corruption: got {corruption}, wanted 0 to 1, for mlm between them")
    loss_of = free if objective == "flm" else masked
    network, marks = producer.network, producer.tokens.marks
    generator = torch.Generator().manual_seed(seed)
    rows = batches(len(pairs), batch_size, np.random.default_rng(seed))
    descend = descent_of(network, learning_rate, faster, frozen)
    look = looked(producer, pairs, frozen)
    log = Log()
    clock = clock_of(producer.device)
    with training(producer, seed):
        for step in range(steps):
            start = clock()
            chosen = next(rows)
            tokens = producer.ids([pairs.captions[row] for row in chosen])
            loss = loss_of(network, tokens, look(chosen), marks, share, generator)
            log.loss.append(descend(loss, rate(step, steps, warmup, "linear" if fall else "none")))
            log.seconds += clock() - start
            if progress is not None:
                progress(step + 1, steps)
            if watch is not None:
                network.eval()
                ended = watch(step + 1, log.seconds)
                network.train()
                if ended:
                    break
    return log


def descent_of(network: nn.Module, rate: float, faster: float, frozen: bool) -> Descent:
    """Weight decay for matrices alone; ``faster`` times the rate for parts that are trained from nothing; nothing of
    the picture encoder where it is ``frozen``. Gradients are clipped to norm 1 (ours)."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not (frozen and name.startswith("vit_model.")):
            fresh = not name.startswith(("vit_model.", "text_transformer."))
            groups.setdefault((fresh, parameter.ndim in (2, 4)), []).append(parameter)
    rated = [
        {"params": some, "lr": rate * (faster if fresh else 1.0), "weight_decay": 0.01 if matrices else 0.0}
        for (fresh, matrices), some in groups.items()
    ]
    return Descent(torch.optim.AdamW(rated, betas=(0.9, 0.98), eps=1e-8), 1.0)


def looked(producer: Flm, pairs: Pairs, frozen: bool) -> Callable[[npt.NDArray[np.int64]], Tensor]:
    """What the picture encoder makes of rows of ``pairs``, [n, 1 + patches, d]; made before, for all, if ``frozen``."""

    def see(rows: npt.NDArray[np.int64]) -> Tensor:
        return producer.network.picture(producer.pixels([Image.fromarray(pairs.pictures[row]) for row in rows]))

    if not frozen:
        return see
    with torch.no_grad():
        parts = [see(rows) for rows in np.array_split(np.arange(len(pairs)), max(1, len(pairs) // 256))]
    held = torch.cat(parts)
    return lambda rows: held[torch.from_numpy(rows).to(held.device)]
