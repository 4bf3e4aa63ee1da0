"""A training loop for the distillation and for what it is to be compared with; one process.

AdamW of weight decay .05 on matrices, a rate that rises linearly and falls as a cosine, gradients clipped to a norm of
3, stochastic depth, random crops and mirrored pictures: Feature Distillation's settings (Wei et al. 2022). Rate and
steps are ours, and the rate falls to 0, not to 5e-6. The resampler is no part of it: in GVT it learns in front of the
language model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from bebr.models.dsu.perturbation import Uncertainty, plugged, token_places
from bebr.models.gvt.distillation import MASK, OBJECTIVES, Objective, Teacher
from bebr.models.gvt.producer import Gvt
from bebr.models.training import Descent, batches, clock_of, parameter_groups, rate, training

__all__ = ["Log", "crops", "fit"]


@dataclass
class Log:
    """The loss of every step."""

    loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    """CPU seconds on the CPU, elapsed ones elsewhere: drawing the batches and the teacher are in them."""


def fit(
    producer: Gvt,
    pictures: npt.NDArray[np.uint8],
    teacher: Teacher | None = None,
    objective: str = "distil",
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    warmup: float = 0.1,
    mask: float | None = None,
    drop_path: float = 0.0,
    scale: tuple[float, float] = (0.08, 1.0),
    uncertainty: float = 0.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Log:
    """Train the producer's encoder and ``ln_vision`` in place on uint8 [n, side, side, 3].

    objective  ``distil``  the teacher's features of every token, nothing hidden: GVT's
               ``mask``    the same of the patches that were hidden
               ``pixels``  pixels of hidden patches: no teacher
    teacher    pixels 0 to 1 to tokens, in inference mode: see ``distillation.rils_teacher``
    mask       the share of patches hidden; None: 0, .4, .75
    drop_path  the chance that the last block is passed over for a picture; it rises to that from 0 at the first
    scale      the least and most share of a picture's area in a crop
    uncertainty  the chance of DSU at each place of the encoder and batch (``bebr.models.dsu``): for pictures of styles
               that are not among these; the teacher sees them as they are

    The producer's version changes with its weights. Raises ValueError for settings out of range.
    """
    hides = _checked(producer, pictures, teacher, objective, steps, batch_size, warmup, mask, drop_path, scale)
    config, network = producer.network.config, producer.network
    encoder = network.visual_encoder
    places = token_places(encoder.patch_embed["proj"], encoder.blocks)
    perturb = Uncertainty(uncertainty, seed) if uncertainty else None
    arm = Objective(network, objective, teacher, hides, seed)
    for name, parameter in arm.named_parameters():
        parameter.requires_grad_(not name.startswith("network.perceiver."))  # nothing else would hold its weights still
    descend = Descent(torch.optim.AdamW(parameter_groups(arm, 0.05), learning_rate), 3.0)
    generator, random = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    rows = batches(len(pictures), batch_size, random)
    log = Log()
    clock = clock_of(producer.device)
    start = clock()
    try:
        with training(producer), plugged(places, perturb):
            for step in range(steps):
                pixels = crops(pictures[next(rows)], config.image_size, random, scale).to(producer.device)
                loss = arm(pixels, _paths(config.layers, batch_size, drop_path, generator, producer.device))
                log.loss.append(descend(loss, rate(step, steps, warmup)))
                if progress is not None:
                    progress(step + 1, steps)
    finally:
        for parameter in network.parameters():
            parameter.requires_grad_(True)
    log.seconds = clock() - start
    return log


def crops(
    pictures: npt.NDArray[np.uint8], side: int, random: np.random.Generator, scale: tuple[float, float] = (0.08, 1.0)
) -> Tensor:
    """A crop of each picture [n, height, width, 3], scaled to ``side``, half of them mirrored: 0 to 1, [n, 3, side,
    side]. Its share of the area is drawn evenly from ``scale``, its proportions by their logarithm from 3/4 to 4/3,
    never beyond the edges."""
    n = len(pictures)
    area, bend = random.uniform(*scale, n), np.exp(random.uniform(np.log(3 / 4) / 2, np.log(4 / 3) / 2, n))
    width, height = np.minimum(np.sqrt(area) * bend, 1), np.minimum(np.sqrt(area) / bend, 1)
    middle_x, middle_y = random.uniform(-1, 1, (2, n)) * (1 - np.stack([width, height]))
    mirrored = np.where(random.random(n) < 0.5, -1, 1)
    matrix = np.zeros((n, 2, 3), np.float32)
    matrix[:, 0, 0], matrix[:, 1, 1] = width * mirrored, height
    matrix[:, 0, 2], matrix[:, 1, 2] = middle_x, middle_y
    grid = affine_grid(torch.from_numpy(matrix), [n, 3, side, side], align_corners=False)
    whole = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return grid_sample(whole, grid, "bilinear", "border", align_corners=False)


def _paths(layers: int, count: int, drop: float, generator: torch.Generator, device: str) -> Tensor | None:
    """By what each branch of each block is multiplied: 0 where it is passed over, else what keeps the mean."""
    if drop == 0:
        return None
    stays = 1 - torch.linspace(0, drop, layers)[:, None, None]
    return ((torch.rand(layers, 2, count, generator=generator) < stays) / stays).to(device)


def _checked(
    producer: Gvt,
    pictures: npt.NDArray[np.uint8],
    teacher: Teacher | None,
    objective: str,
    steps: int,
    batch_size: int,
    warmup: float,
    mask: float | None,
    drop_path: float,
    scale: tuple[float, float],
) -> float:
    """The share of patches hidden, where all settings are in range."""
    if objective not in OBJECTIVES:
        raise ValueError(f"objective: got {objective!r}, wanted {', '.join(OBJECTIVES)}")
    if (teacher is None) != (objective == "pixels"):
        raise ValueError(f"teacher: {objective!r} {'has none' if teacher else 'needs one'}")
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
        raise ValueError(f"pictures: got {pictures.dtype} {list(pictures.shape)}, wanted uint8 [n, height, width, 3]")
    if not 1 <= batch_size <= len(pictures):
        raise ValueError(f"batch_size: got {batch_size}, wanted 1 to {len(pictures)}, the number of pictures")
    if steps < 1 or not 0 <= warmup < 1 or not 0 <= drop_path < 1:
        raise ValueError(
            f"steps, warmup, drop_path: got {steps}, {warmup}, {drop_path}, wanted at least 1, 0 to below 1, the same"
        )
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"scale: got {scale}, wanted 0 < least <= most <= 1")
    share, patches = MASK[objective] if mask is None else mask, producer.network.config.patches
    if objective == "distil" and share != 0:
        raise ValueError(f"mask: got {mask}, but 'distil' hides nothing: wanted None, or the objective 'mask'")
    if objective != "distil" and not 1 <= round(patches * share) < patches:
        raise ValueError(f"mask: got {share}, which hides {round(patches * share)} of {patches} patches")
    return share
