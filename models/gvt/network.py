"""GVT's tokenizer: encoder, norm and resampler; parameters bear the names of the published file.

The language model and what leads into it (``llm_proj``, ``input_ln``) are left out: they take part in no vector.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bebr.models.gvt.config import Config
from bebr.models.gvt.perceiver import Perceiver
from bebr.models.gvt.vision import Vision

__all__ = ["Network", "initialize"]


class Network(nn.Module):
    """Normalised pixels [n, 3, side, side] to tokens, a vector or latents. Vectors are not normalised here."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.visual_encoder = Vision(config)
        self.ln_vision = nn.LayerNorm(config.width)
        if config.latents:
            self.perceiver = Perceiver(
                config.width, config.latents, config.latent_layers, config.latent_heads, config.latent_head_width
            )

    def tokens(self, pixels: Tensor) -> Tensor:
        """What the resampler reads: ln_vision of every token, class token first, [n, 1 + patches, width]."""
        return self.ln_vision(self.visual_encoder(pixels))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """The mean of all tokens, [n, width]. Ours: the release pools nothing."""
        return self.tokens(pixels).mean(1)

    def resample(self, pixels: Tensor) -> Tensor:
        """The latents, [n, latents, width]; only where the config has some."""
        out: Tensor = self.perceiver(self.tokens(pixels))
        return out


def initialize(module: nn.Module, seed: int) -> None:
    """Fresh weights, the same for every machine: Xavier uniform matrices, no biases, tokens, positions and latents
    normal with deviation .02. Ours: how GVT started is not known."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            outputs, inputs = part.weight.flatten(1).shape
            bound = math.sqrt(6 / (inputs + outputs))
            part.weight.data.uniform_(-bound, bound, generator=generator)
            if part.bias is not None:
                part.bias.data.zero_()
    for name, parameter in module.named_parameters():
        if name.split(".")[-1] in ("cls_token", "pos_embed", "mask_token", "latents", "media_pos_emb"):
            parameter.data.normal_(0, 0.02, generator=generator)
