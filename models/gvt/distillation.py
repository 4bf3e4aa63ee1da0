"""Feature distillation (Wei et al. 2022, section 3; GVT, section 3): the loss, and the arms that GVT is compared with.

A student sees a picture, one linear map takes each of its tokens to the teacher's width, and the smooth L1 distance
(beta 2) to the teacher's whitened token is the loss: its mean over tokens and channels. GVT's point is that the student
sees the whole picture; ``mask`` hides some patches and asks for these, as masked distillation does, and ``pixels`` asks
for hidden patches' pixels with no teacher at all (MAE, He et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, smooth_l1_loss

from bebr.models.gvt.network import Network, initialize
from bebr.models.gvt.producer import normalised
from bebr.models.gvt.vision import Block
from bebr.models.training import patch_pixels

if TYPE_CHECKING:
    from bebr.models.rils.producer import Rils

__all__ = ["BETA", "MASK", "OBJECTIVES", "Objective", "Teacher", "distance", "hidden", "rils_teacher", "whitened"]

BETA = 2.0
OBJECTIVES = ("distil", "mask", "pixels")
MASK = {"distil": 0.0, "mask": 0.4, "pixels": 0.75}
"""The share of patches that each objective hides. Of GVT's masked rival .4 is BEiT's; .75 is MAE's."""

Teacher = Callable[[Tensor], Tensor]
"""Pixels 0 to 1, [n, 3, side, side], to tokens behind its last norm, class token first: [n, 1 + patches, width]."""


def whitened(tokens: Tensor) -> Tensor:
    """Each token with mean 0 and variance 1 over its channels: a LayerNorm that has learned nothing."""
    return layer_norm(tokens, tokens.shape[-1:])


def distance(predicted: Tensor, wanted: Tensor, only: Tensor | None = None) -> Tensor:
    """Smooth L1 of two [n, t, d], a scalar: e^2 / 4 where |e| < 2, else |e| - 1; ``only`` bool [n, t]: of these."""
    if only is not None:
        predicted, wanted = predicted[only], wanted[only]
    return smooth_l1_loss(predicted, wanted, beta=BETA)


def hidden(count: int, patches: int, share: float, generator: torch.Generator) -> Tensor:
    """Which patches each of ``count`` pictures hides, bool [count, patches]: round(share x patches) of each, drawn on
    the CPU: the same everywhere."""
    order = torch.rand(count, patches, generator=generator).argsort(1)
    return order < round(patches * share)


def rils_teacher(producer: Rils) -> Teacher:
    """RILS's picture encoder (or its rivals', trained by the same loop) as a teacher of students whose pictures are of
    its own size: ``fit`` raises ValueError for others."""
    from bebr.models.rils.producer import normalised as prepared

    visual, side = producer.network.visual, producer.network.config.image_size

    def teach(pixels: Tensor) -> Tensor:
        if pixels.shape[-1] != side:
            raise ValueError(f"teacher: reads pictures of {side} pixels, the student's have {pixels.shape[-1]}")
        return visual.encode(visual.embed(prepared(pixels)))

    return teach


class Objective(nn.Module):
    """One batch to the loss of an arm. What only training needs goes when it ends: the map to the teacher's width, the
    mask token, the decoder of pixels (one block as wide as the encoder's, over all patches)."""

    def __init__(self, network: Network, objective: str, teacher: Teacher | None, mask: float, seed: int) -> None:
        super().__init__()
        config = network.config
        self.objective, self.hides = objective, round(config.patches * mask)
        self.teacher = teacher and (lambda pixels: teacher(pixels))  # a module of its own would be trained as a part
        self.mask, self.generator = mask, torch.Generator().manual_seed(seed)
        d, device = config.width, network.ln_vision.weight.device
        with torch.random.fork_rng(devices=[]):  # layers draw from the caller's numbers when they are made
            if objective == "pixels":
                self.decoder = Block(d, config.heads, config.hidden)
                self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 3 * config.patch_size**2)
            else:
                assert teacher is not None  # fit() has seen to it
                side = config.image_size
                given = teacher(torch.zeros(1, 3, side, side, device=device))
                if given.ndim != 3 or given.shape[1] != config.patches + 1:
                    raise ValueError(
                        f"teacher: gives {list(given.shape)} for a picture, wanted [1, {config.patches + 1}, width]: a "
                        f"class token and the {config.patches} patches of the student"
                    )
                self.head = nn.Linear(d, given.shape[2])
        if objective != "distil":
            self.mask_token = nn.Parameter(torch.zeros(1, 1, d))
        initialize(self, seed)
        self.network = network
        self.to(device)

    def forward(self, pixels: Tensor, paths: Tensor | None = None) -> Tensor:
        """Pixels 0 to 1, [n, 3, side, side]; ``paths`` as in ``Vision.encode``."""
        encoder, norm, device = self.network.visual_encoder, self.network.ln_vision, pixels.device
        shown = normalised(pixels)
        patches = encoder.embed(shown)
        if self.objective == "distil":
            seen = norm(encoder.encode(patches, None, paths))
            return distance(self.head(seen), self._wanted(pixels))
        away = hidden(len(pixels), patches.shape[1], self.mask, self.generator).to(device)
        if self.objective == "mask":
            seen = norm(encoder.encode(torch.where(away[..., None], self.mask_token, patches), None, paths))
            return distance(self.head(seen[:, 1:]), self._wanted(pixels)[:, 1:], away)
        kept = away.long().argsort(dim=1, stable=True)[:, : patches.shape[1] - self.hides]
        seen = norm(encoder.encode(patches, kept, paths))
        full = self.mask_token.expand(*patches.shape).scatter(
            1, kept[..., None].expand(-1, -1, patches.shape[2]), seen[:, 1:]
        )
        # the places of those hidden: the decoder gets the encoder's own positions, beside the turning of its heads
        decoded = torch.cat([seen[:, :1], full + encoder.pos_embed[:, 1:]], 1)
        decoded = self.head(self.norm(self.decoder(decoded, encoder.cosines, encoder.sines)[:, 1:]))
        target = patch_pixels(shown, self.network.config.patch_size)
        return (decoded - target)[away].square().mean()

    def _wanted(self, pixels: Tensor) -> Tensor:
        assert self.teacher is not None
        with torch.no_grad():
            return whitened(self.teacher(pixels))
