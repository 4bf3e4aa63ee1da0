"""The polygon head: vertices that start on an ellipse look at the pyramid and at each other, and move, layer by layer.

Attention to a few places of every map is Deformable DETR's (Zhu et al. 2021), the head BoundaryFormer's (Lazarow et al.
2022), parameters as in BoxSnake's files. All places are parts of the filled-up picture's sides, 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, relu

from bebr.models.boxsnake.config import LEVELS, STRIDE, Config
from bebr.models.boxsnake.polygons import ellipse

__all__ = ["PolygonHead", "logit", "places", "points"]


def logit(x: Tensor) -> Tensor:
    """The inverse of the sigmoid, held to 1e-5 ... 1 - 1e-5."""
    x = x.clamp(0, 1)
    return (x.clamp_min(1e-5) / (1 - x).clamp_min(1e-5)).log()


def points(count: int, width: int) -> Tensor:
    """Sines and cosines of a vertex's number, taking turns: [count, width] (Vaswani et al. 2017)."""
    rates = torch.exp(torch.arange(0, width, 2, device="cpu") * (-math.log(10000.0) / width))
    angles = torch.arange(count, device="cpu")[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


def places(height: int, width: int, d: int, like: Tensor) -> Tensor:
    """Of a map's cells: d / 2 sines and cosines of the row, as many of the column, [d, height, width] (DETR's)."""
    half = d // 2
    number = torch.arange(half, device=like.device)
    rates = 10000.0 ** (-2 * torch.div(number, 2, rounding_mode="floor") / half)

    def waves(count: int) -> Tensor:
        at = (torch.arange(count, device=like.device) + 0.5) / (count + 1e-6) * 2 * math.pi
        angles = at[:, None] * rates
        return torch.where(number % 2 == 0, angles.sin(), angles.cos()).T.to(like.dtype)

    rows, columns = waves(height), waves(width)
    return torch.cat([rows[:, :, None].expand(-1, -1, width), columns[:, None].expand(-1, height, -1)])


class Places(nn.Module):
    """Each query reads ``points`` places of each map, head by head, near its own: their weighted sum."""

    def __init__(self, d: int, heads: int, count: int) -> None:
        super().__init__()
        self.heads, self.count = heads, count
        self.sampling_offsets = nn.Linear(d, heads * LEVELS * count * 2)
        self.attention_weights = nn.Linear(d, heads * LEVELS * count)
        self.value_proj, self.output_proj = nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, query: Tensor, at: Tensor, maps: Sequence[Tensor], of: Tensor) -> Tensor:
        """[n, k, d] of queries [n, k, d] at places [n, k, 2] of pictures ``of`` [n]; maps are [m, h, w, d] each."""
        n, k, d = query.shape
        heads, count = self.heads, self.count
        offsets = self.sampling_offsets(query).view(n, k, heads, LEVELS, count, 2)
        weights = self.attention_weights(query).view(n, k, heads, LEVELS * count).softmax(3)
        weights = weights.view(n, k, heads, LEVELS, count)
        out = query.new_zeros(n, k, d)
        values = [self.value_proj(one).unflatten(3, (heads, d // heads)).permute(0, 3, 4, 1, 2) for one in maps]
        for picture in of.unique().tolist():
            chosen = torch.nonzero(of == picture)[:, 0]
            total = query.new_zeros(heads, d // heads, len(chosen) * k)
            for level, value in enumerate(values):
                height, width = value.shape[3:]
                moved = at[chosen, :, None, None] + offsets[chosen, :, :, level] / at.new_tensor([width, height])
                grid = (2 * moved - 1).permute(2, 0, 1, 3, 4).flatten(1, 2)  # [heads, queries, count, 2]
                read = grid_sample(value[picture], grid, "bilinear", "zeros", align_corners=False)
                share = weights[chosen, :, :, level].permute(2, 0, 1, 3).flatten(1, 2)[:, None]
                total = total + (read * share).sum(3)
            out[chosen] = total.flatten(0, 1).T.reshape(len(chosen), k, d)
        return self.output_proj(out)


class Layer(nn.Module):
    """Attention among a polygon's vertices, to the maps, and a perceptron; a norm after each: [n, k, d] to the same."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.fpn
        self.cross_attn = Places(d, config.heads, config.points)
        self.self_attn = nn.MultiheadAttention(d, config.heads, batch_first=True)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(d) for _ in range(3))
        self.linear1, self.linear2 = nn.Linear(d, config.feedforward), nn.Linear(config.feedforward, d)

    def forward(self, x: Tensor, number: Tensor, at: Tensor, maps: Sequence[Tensor], of: Tensor) -> Tensor:
        query = x + number
        x = self.norm2(x + self.self_attn(query, query, x, need_weights=False)[0])
        x = self.norm1(x + self.cross_attn(x + number, at, maps, of))
        return self.norm3(x + self.linear2(relu(self.linear1(x))))


class Perceptron(nn.Module):
    """Three layers, [..., d] to [..., 2]."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, 2)])

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(relu(second(relu(first(x)))))


class PolygonHead(nn.Module):
    """Maps P2 ... P5 and boxes to polygons."""

    point_embedding: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.fpn
        self.level_embed = nn.Embedding(LEVELS, d)
        self.register_buffer("point_embedding", points(config.vertices, 2 * d))
        self.xy_embed = nn.ModuleList(Perceptron(d) for _ in range(config.layers))
        self.decoder = nn.ModuleDict({"layers": nn.ModuleList(Layer(config) for _ in range(config.layers))})

    def forward(self, maps: Sequence[Tensor], boxes: Tensor, of: Tensor) -> list[Tensor]:
        """After each layer the polygons [n, vertices, 2] in pixels, of ``boxes`` [n, 4] in pictures ``of`` [n]."""
        d = self.level_embed.embedding_dim
        seen = []
        for level, one in enumerate(maps[:LEVELS]):
            height, width = one.shape[2:]
            placed = one + places(height, width, d, one) + self.level_embed.weight[level][:, None, None]
            seen.append(placed.permute(0, 2, 3, 1))
        size = boxes.new_tensor([STRIDE * maps[0].shape[3], STRIDE * maps[0].shape[2]])
        number, x = (part.expand(len(boxes), -1, -1) for part in self.point_embedding.split(d, 1))
        at = ellipse(boxes, len(self.point_embedding)) / size
        out = []
        for layer, move in zip(self.decoder["layers"], self.xy_embed, strict=True):
            x = layer(x, number, at, seen, of)
            at = (logit(at) + move(x)).sigmoid()
            out.append(at * size)
        return out
