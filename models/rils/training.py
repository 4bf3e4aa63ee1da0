"""A training loop for RILS and for what it is to be compared with; one process.

AdamW of betas .9 and .98, weight decay .1 on matrices, a rate that rises linearly and falls as a cosine,
exp(logit_scale) held to 1 ... 100: SLIP's settings (Mu et al. 2022). The paper's own are not known; rate and
steps are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from bebr.models.dsu.perturbation import Uncertainty, plugged, token_places
from bebr.models.rils.data import Pairs
from bebr.models.rils.loss import RECONSTRUCTION, contrast, reconstruction
from bebr.models.rils.producer import Rils
from bebr.models.rils.vision import shuffled
from bebr.models.training import Descent, batches, clock_of, parameter_groups, patch_pixels, rate, training

__all__ = ["OBJECTIVES", "Log", "fit"]

OBJECTIVES = ("rils", "rils-random", "clip", "mae", "mae+clip")


@dataclass
class Log:
    """Of every step: the losses that the objective has, and the share of pictures whose own text was the nearest."""

    contrast: list[float] = field(default_factory=list)
    reconstruction: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    seconds: float = 0.0
    """CPU seconds on the CPU, elapsed ones elsewhere: drawing the batches is in them."""


def fit(
    producer: Rils,
    pairs: Pairs,
    objective: str = "rils",
    steps: int = 1000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    warmup: float = 0.1,
    mask: float = 0.75,
    uncertainty: float = 0.0,
    start: float = 0.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Log:
    """Train the producer's network in place. One batch of different items a step; its texts are RILS's prototypes, so
    a small batch is a small set of them. ``mask`` is the share of patches hidden, ``warmup`` that of rising steps,
    ``start`` that of steps by contrast alone, before RILS's reconstruction comes in (our addition; 0 as published),
    ``uncertainty`` the chance of DSU at each place of the picture encoder and batch (``bebr.models.dsu``): for pictures
    of styles that are not among these.

    objective  ``rils``         contrast + 0.5 x reconstruction among the batch's texts
               ``rils-random``  the same among as many fixed random directions
               ``clip``         contrast alone
               ``mae``          hidden patches' pixels, each patch normalised (He et al. 2022): no text is seen
               ``mae+clip``     both of these, pixels weighted as reconstruction is

    The producer's version changes with its weights. Raises ValueError for settings out of range.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective: got {objective!r}, wanted {', '.join(OBJECTIVES)}")
    if not 2 <= batch_size <= len(pairs):
        raise ValueError(f"batch_size: got {batch_size}, wanted 2 to {len(pairs)}, the number of items")
    if steps < 1 or not 0 <= warmup < 1:
        raise ValueError(f"steps, warmup: got {steps}, {warmup}, wanted at least 1, and 0 to below 1")
    if not 0 <= start < 1 or (start and not objective.startswith("rils")):
        raise ValueError(f"start: got {start} for {objective!r}, wanted 0 to below 1, and 0 where nothing comes later")
    config = producer.network.config
    keep = round(config.patches * (1 - mask))
    if not 1 <= keep < config.patches:
        raise ValueError(f"mask: got {mask}, which keeps {keep} of {config.patches} patches")
    visual = producer.network.visual
    places = token_places(visual.patch_embed["proj"], visual.blocks)
    perturb = Uncertainty(uncertainty, seed) if uncertainty else None
    generator = torch.Generator().manual_seed(seed)
    objective_of = _Objective(producer, objective, keep, batch_size, generator)
    descend = Descent(torch.optim.AdamW(parameter_groups(objective_of, 0.1), learning_rate, (0.9, 0.98)))
    random = np.random.default_rng(seed)
    rows = batches(len(pairs), batch_size, random)
    log = Log()
    clock = clock_of(producer.device)
    began = clock()
    with training(producer), plugged(places, perturb):
        for step in range(steps):
            pixels, texts = pairs.draw(next(rows), config.image_size, random)
            objective_of.alone = step < start * steps
            descend(objective_of(pixels.to(producer.device), texts, log), rate(step, steps, warmup))
            producer.network.logit_scale.data.clamp_(0, math.log(100))
            if progress is not None:
                progress(step + 1, steps)
    log.seconds = clock() - began
    return log


class _Objective(nn.Module):
    """One batch to the loss, and the figures of it to the log."""

    def __init__(self, producer: Rils, objective: str, keep: int, batch: int, generator: torch.Generator) -> None:
        super().__init__()
        self.network, self.tokens, self.objective, self.keep = producer.network, producer.tokens, objective, keep
        self.generator, self.device = generator, producer.device
        self.alone = False  # contrast alone, for now
        config = producer.network.config
        if objective.startswith("mae"):
            # pixels are no part of the model's files: this layer goes when training ends
            self.pixels = nn.utils.skip_init(nn.Linear, config.decoder_width, 3 * config.patch_size**2)
            self.pixels.weight.data.normal_(0, 0.02, generator=generator)
            self.pixels.bias.data.zero_()
        elif objective == "rils-random":
            self.register_buffer("directions", torch.randn(batch, config.embed_dim, generator=generator))
        self.to(self.device)

    def forward(self, pixels: Tensor, texts: list[str], log: Log) -> Tensor:
        network, visual = self.network, self.network.visual
        embedded = visual.embed(pixels)
        total = embedded.new_zeros(())
        if self.objective != "mae":
            real = visual.encode(embedded)[:, 1:] @ network.image_projection
            spoken = network.encode_text(torch.from_numpy(self.tokens(texts)).to(self.device))
            total, found = contrast(real.mean(1), spoken, network.logit_scale.exp())
            log.contrast.append(float(total.detach()))
            log.found.append(float(found.float().mean()))
        if self.objective == "clip" or self.alone:
            return total
        kept, places = (
            part.to(self.device) for part in shuffled(len(pixels), embedded.shape[1], self.keep, self.generator)
        )
        hidden = places >= self.keep
        encoded = visual.encode(embedded, kept)
        if self.objective.startswith("rils"):
            predicted = visual.predict(encoded, places) @ network.image_projection
            prototypes = spoken if self.objective == "rils" else self.directions
            masked = reconstruction(predicted, real, prototypes, hidden, found)
        else:
            wanted = patch_pixels(pixels, network.config.patch_size)
            masked = (self.pixels(visual.decode(encoded, places)) - wanted)[hidden].square().mean()
        log.reconstruction.append(float(masked.detach()))
        return masked if self.objective == "mae" else total + RECONSTRUCTION * masked
