"""SAM's prompt encoder and mask decoder: points, corners of a box and a first mask become tokens and a map; tokens and
the picture's map look at each other twice; what the tokens then are makes masks and says how good each is."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from bebr.models.caption_anything.sam.config import STEM, Config
from bebr.models.caption_anything.sam.encoder import ChannelNorm

__all__ = ["BOX", "NONE", "OFF", "ON", "MaskDecoder", "PromptEncoder"]

NONE, OFF, ON, BOX = -1, 0, 1, (2, 3)  # labels of points; of a box's left top and right bottom corners


class Places(nn.Module):
    """Places [..., 2] (x, y; each 0 to 1 across the picture) to [..., channels]: sines and cosines of random directions
    (Tancik et al., arXiv 2006.10739)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, channels // 2))

    def forward(self, at: Tensor) -> Tensor:
        angles = 2 * math.pi * ((2 * at - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angles.sin(), angles.cos()], -1)


class PromptEncoder(nn.Module):
    """Points and masks to what the decoder takes; a box is two points."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c, (first, second) = config.channels, STEM
        self.across = config.across
        self.pe_layer = Places(c)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, c) for _ in range(4))
        self.not_a_point_embed, self.no_mask_embed = nn.Embedding(1, c), nn.Embedding(1, c)
        self.mask_downscaling = nn.Sequential(
            *(nn.Conv2d(1, first, 2, 2), ChannelNorm(first), nn.GELU()),
            *(nn.Conv2d(first, second, 2, 2), ChannelNorm(second), nn.GELU()),
            nn.Conv2d(second, c, 1),
        )

    def points(self, at: Tensor, labels: Tensor) -> Tensor:
        """Places [n, p, 2] of 0 to 1 and int64 labels [n, p] to tokens [n, p, channels]."""
        kinds = torch.cat([self.not_a_point_embed.weight, *(one.weight for one in self.point_embeddings)])
        places = torch.where((labels == NONE)[..., None], torch.zeros_like(kinds[0]), self.pe_layer(at))
        return places + kinds[labels + 1]

    def mask(self, logits: Tensor | None) -> Tensor:
        """Logits [n, 1, 4 across, 4 across] of a first mask, or None, to a map [n or 1, channels, across, across]."""
        if logits is not None:
            return self.mask_downscaling(logits)
        return self.no_mask_embed.weight[:, :, None, None].expand(-1, -1, self.across, self.across)

    def places(self) -> Tensor:
        """The places of a map's cells, [1, channels, across, across]."""
        middles = (torch.arange(self.across, device=self.no_mask_embed.weight.device) + 0.5) / self.across
        y, x = torch.meshgrid(middles, middles, indexing="ij")
        return self.pe_layer(torch.stack([x, y], -1)).permute(2, 0, 1)[None]


class Attention(nn.Module):
    """Attention of queries [n, t, d] to keys and values [n, s, d], ``inner`` wide."""

    def __init__(self, d: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = nn.Linear(d, inner), nn.Linear(d, inner), nn.Linear(d, inner)
        self.out_proj = nn.Linear(inner, d)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = self._split(self.q_proj(q)), self._split(self.k_proj(k)), self._split(self.v_proj(v))
        return self.out_proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """Tokens look at each other, then at the picture, pass a perceptron, and the picture looks at them; post-LN. Each
    time places and prompts are added again to who asks and who is asked; not in the ``first`` look at each other,
    which replaces the tokens."""

    def __init__(self, config: Config, first: bool) -> None:
        super().__init__()
        c, heads, self.first = config.channels, config.decoder_heads, first
        self.self_attn = Attention(c, c, heads)
        self.cross_attn_token_to_image = Attention(c, c // 2, heads)
        self.cross_attn_image_to_token = Attention(c, c // 2, heads)
        self.mlp = nn.ModuleDict({"lin1": nn.Linear(c, config.decoder_mlp), "lin2": nn.Linear(config.decoder_mlp, c)})
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(c) for _ in range(4))

    def forward(self, x: Tensor, picture: Tensor, prompt: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``x`` and ``prompt`` [n, t, c], ``picture`` and ``places`` [n, s, c] to tokens and picture."""
        if self.first:
            x = self.norm1(self.self_attn(x, x, x))
        else:
            x = self.norm1(x + self.self_attn(x + prompt, x + prompt, x))
        x = self.norm2(x + self.cross_attn_token_to_image(x + prompt, picture + places, picture))
        x = self.norm3(x + self.mlp["lin2"](relu(self.mlp["lin1"](x))))
        picture = self.norm4(picture + self.cross_attn_image_to_token(picture + places, x + prompt, x))
        return x, picture


class Transformer(nn.Module):
    """All layers, and a last look of the tokens at the picture."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = config.channels
        self.layers = nn.ModuleList(Layer(config, i == 0) for i in range(config.decoder_layers))
        self.final_attn_token_to_image = Attention(c, c // 2, config.decoder_heads)
        self.norm_final_attn = nn.LayerNorm(c)

    def forward(self, prompt: Tensor, picture: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        x = prompt
        for layer in self.layers:
            x, picture = layer(x, picture, prompt, places)
        x = x + self.final_attn_token_to_image(x + prompt, picture + places, picture)
        return self.norm_final_attn(x), picture


class Perceptron(nn.Module):
    """Three layers with relu between them."""

    def __init__(self, c: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(c, c), nn.Linear(c, c), nn.Linear(c, outputs)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = relu(layer(x))
        return self.layers[-1](x)


class MaskDecoder(nn.Module):
    """Logits [n, 1 + masks, 4 across, 4 across] and how good each mask is held to be (its IoU), [n, 1 + masks]. The
    first is the answer to a prompt that can mean but one thing, the others to one that can mean several."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c, outputs = config.channels, config.masks + 1
        self.transformer = Transformer(config)
        self.iou_token, self.mask_tokens = nn.Embedding(1, c), nn.Embedding(outputs, c)
        self.output_upscaling = nn.Sequential(
            *(nn.ConvTranspose2d(c, c // 4, 2, 2), ChannelNorm(c // 4), nn.GELU()),
            *(nn.ConvTranspose2d(c // 4, c // 8, 2, 2), nn.GELU()),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Perceptron(c, c // 8) for _ in range(outputs))
        self.iou_prediction_head = Perceptron(c, outputs)

    def forward(self, features: Tensor, places: Tensor, points: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``features`` and ``places`` [1, c, across, across], tokens ``points`` [n, p, c], and ``mask`` as the prompt
        encoder makes it."""
        n, across = len(points), features.shape[-1]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        prompt = torch.cat([own.expand(n, -1, -1), points], 1)
        picture = (features + mask).expand(n, -1, -1, -1).flatten(2).transpose(1, 2)
        x, picture = self.transformer(prompt, picture, places.flatten(2).transpose(1, 2))
        larger = self.output_upscaling(picture.transpose(1, 2).unflatten(2, (across, across)))
        weights = torch.stack([one(x[:, 1 + i]) for i, one in enumerate(self.output_hypernetworks_mlps)], 1)
        return torch.einsum("nmc,ncyx->nmyx", weights, larger), self.iou_prediction_head(x[:, 0])
