"""RILS's two encoders and their projections into one space; parameters bear the names of checkpoints.

Texts go through CLIP's transformer (Radford et al. 2021, section 2.4): pre-LN, causal, x sigmoid(1.702 x) for GELU,
learned positions; a text is the vector of its last token, the mark of its end. Pictures: ``vision.py``; a picture is
the mean of its projected patches, without the class token.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bebr.models.clip import Block, text_vectors
from bebr.models.rils.config import Config
from bebr.models.rils.vision import Vision

__all__ = ["Network"]


class Network(nn.Module):
    """Both encoders. Vectors are not normalised here."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        d, text = config.width, config.text_width
        self.visual = Vision(config)
        blocks = [Block(text, config.text_heads, causal=True) for _ in range(config.text_layers)]
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})
        self.token_embedding = nn.Embedding(config.vocab_size, text)
        self.positional_embedding = nn.Parameter(torch.zeros(config.context, text))
        self.ln_final = nn.LayerNorm(text)
        self.image_projection = nn.Parameter(torch.zeros(d, config.embed_dim))
        self.text_projection = nn.Parameter(torch.zeros(text, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def patches(self, pixels: Tensor) -> Tensor:
        """f of the paper: the encoder's vectors of all patches, [n, patches, width], without the class token."""
        return self.visual.encode(self.visual.embed(pixels))[:, 1:]

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [n, 3, side, side] to [n, embed_dim]."""
        return (self.patches(pixels) @ self.image_projection).mean(1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """int64 [n, t], t up to the context, to [n, embed_dim]."""
        return text_vectors(self, tokens)

    def initialize(self, seed: int) -> None:
        """Fresh weights, the same for every machine: pictures as MAE starts (Xavier uniform; class and mask tokens of
        deviation .02), texts and projections as CLIP does (normal, by width and depth)."""
        generator = torch.Generator().manual_seed(seed)

        def normal(parameter: Tensor, deviation: float) -> None:
            parameter.data.normal_(0, deviation, generator=generator)

        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                outputs, inputs = module.weight.flatten(1).shape
                bound = math.sqrt(6 / (inputs + outputs))
                module.weight.data.uniform_(-bound, bound, generator=generator)
                if module.bias is not None:
                    module.bias.data.zero_()
        normal(self.visual.cls_token, 0.02)
        normal(self.visual.mask_token, 0.02)
        normal(self.token_embedding.weight, 0.02)
        normal(self.positional_embedding, 0.01)
        d = self.config.text_width
        residual = d**-0.5 * (2 * self.config.text_layers) ** -0.5
        for block in self.transformer["resblocks"]:
            normal(block.attn.in_proj_weight, d**-0.5)
            normal(block.attn.out_proj.weight, residual)
            normal(block.mlp["c_fc"].weight, (2 * d) ** -0.5)
            normal(block.mlp["c_proj"].weight, residual)
        normal(self.image_projection, self.config.width**-0.5)
        normal(self.text_projection, d**-0.5)
