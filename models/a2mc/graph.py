"""Channel-wise topology refinement (CTR-GCN, Chen et al. 2021, arXiv 2107.12213): a graph network over joints and time.

Graph convolution of x [n, c, t, v]: for each of three graphs A, joints are compared in few channels,
q = tanh(conv1(mean_t x)_u - conv2(mean_t x)_v), and out_u = sum_v (A_uv + alpha conv4(q)_uv) conv3(x)_v, each channel
by its own graph; the three are added, a norm and the input (by a convolution where channels differ) follow, and relu.
(Published: the mean after conv1 and conv2, which is the same, as they look at one frame, and costs every frame.)
In time: four branches of a quarter of the channels: kernels of five frames, one or two apart, the largest of three
frames, and nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from bebr.models.a2mc.config import SUBSETS, Config, relations
from bebr.models.norm import BatchNorm

__all__ = ["GraphNetwork"]


def pointwise(x: Tensor, convolutions: Sequence[nn.Conv2d]) -> Tensor:
    """What several convolutions of 1 x 1 give, one behind the other, [n, outputs, t, v]: one product of matrices."""
    weight = torch.cat([one.weight for one in convolutions]).flatten(1)
    bias = torch.cat([one.bias for one in convolutions if one.bias is not None])
    out = torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), x.flatten(2))
    return out.view(len(x), -1, *x.shape[2:])


class _Refined(nn.Module):
    """One graph of a convolution."""

    def __init__(self, read: int, out: int) -> None:
        super().__init__()
        between = relations(read)
        self.conv1, self.conv2 = nn.Conv2d(read, between, 1), nn.Conv2d(read, between, 1)
        self.conv3, self.conv4 = nn.Conv2d(read, out, 1), nn.Conv2d(between, out, 1)

    def forward(self, middle: Tensor, graph: Tensor, alpha: Tensor) -> Tensor:
        """The graph of each channel, [n, out, u, v], of the mean over time [n, read, 1, v]."""
        first, second = self.conv1(middle), self.conv2(middle)  # [n, between, 1, v]
        apart = torch.tanh(first.transpose(2, 3) - second)
        return pointwise(apart, [self.conv4]) * alpha + graph


class _Graph(nn.Module):
    def __init__(self, read: int, out: int, adjacency: Tensor) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_Refined(read, out) for _ in range(SUBSETS))
        self.PA, self.alpha = nn.Parameter(adjacency), nn.Parameter(torch.zeros(1))
        self.bn = BatchNorm(out)
        self.down = nn.Identity()
        if read != out:
            self.down = nn.Sequential(nn.Conv2d(read, out, 1), BatchNorm(out))

    def forward(self, x: Tensor) -> Tensor:
        middle = x.mean(2, keepdim=True)
        parts = pointwise(x, [conv.conv3 for conv in self.convs]).chunk(SUBSETS, 1)
        graphs = [conv(middle, graph, self.alpha) for conv, graph in zip(self.convs, self.PA, strict=True)]
        # the three side by side are one product: [n, out, t, 3 v] by [n, out, 3 v, u]
        added = torch.cat(parts, 3) @ torch.cat(graphs, 3).transpose(2, 3)
        return relu(self.bn(added) + self.down(x))


class _Normed(nn.Module):
    """A convolution over ``frames`` frames, ``apart`` from each other, and its norm."""

    def __init__(self, read: int, out: int, frames: int = 1, apart: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(read, out, (frames, 1), padding=(frames // 2 * apart, 0), dilation=(apart, 1))
        self.bn = BatchNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x) if self.conv.kernel_size[0] > 1 else pointwise(x, [self.conv]))


class _Time(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        part = channels // 4

        def narrowed() -> list[nn.Module]:
            return [nn.Conv2d(channels, part, 1), BatchNorm(part)]

        self.branches = nn.ModuleList(
            [
                *(nn.Sequential(*narrowed(), nn.ReLU(), _Normed(part, part, 5, apart)) for apart in (1, 2)),
                nn.Sequential(*narrowed(), nn.ReLU(), nn.MaxPool2d((3, 1), 1, (1, 0)), BatchNorm(part)),
                nn.Sequential(*narrowed()),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        branches: list[list[Any]] = [list(one) for one in self.branches]
        parts = list(pointwise(x, [one[0] for one in branches]).chunk(len(branches), 1))
        for number, branch in enumerate(branches):
            for layer in branch[1:]:
                parts[number] = layer(parts[number])
        return torch.cat(parts, 1)


class _Block(nn.Module):
    def __init__(self, read: int, out: int, adjacency: Tensor) -> None:
        super().__init__()
        self.gcn1, self.tcn1 = _Graph(read, out, adjacency), _Time(out)
        self.residual = _Normed(read, out) if read != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.tcn1(self.gcn1(x)) + self.residual(x))


class GraphNetwork(nn.Module):
    """Clips [n, persons, frames, joints, 3] to [n, persons, last, frames, joints]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.data_bn = BatchNorm(3 * config.graph.joints * config.persons)
        adjacency = config.graph.adjacency()
        # a copy each: blocks learn their own graphs
        self.l1, self.l2, self.l3 = (_Block(read, out, torch.tensor(adjacency)) for read, out in config.blocks)

    def forward(self, clips: Tensor) -> Tensor:
        n, persons, frames, joints, _ = clips.shape
        x = clips.permute(0, 1, 3, 4, 2).reshape(n, persons * joints * 3, frames)
        x = self.data_bn(x).view(n * persons, joints, 3, frames).permute(0, 2, 3, 1)
        for block in (self.l1, self.l2, self.l3):
            x = block(x)
        return x.reshape(n, persons, *x.shape[1:])
