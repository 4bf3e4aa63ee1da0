"""Blocks of residual networks (He et al. 2016), parameters named as torchvision's."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from bebr.models.norm import BatchNorm

__all__ = ["Basic", "Bottleneck"]


def _conv(read: int, out: int, side: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(read, out, side, stride, side // 2, bias=False)


class _Residual(nn.Module):
    """relu(inner(x) + x), x through a 1 x 1 convolution and a norm where its shape changes."""

    expansion = 1

    def __init__(self, read: int, inner: int, stride: int) -> None:
        super().__init__()
        out = inner * self.expansion
        self.downsample = None
        if stride != 1 or read != out:
            self.downsample = nn.Sequential(_conv(read, out, 1, stride), BatchNorm(out))

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.inner(x) + (x if self.downsample is None else self.downsample(x)))

    def inner(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Basic(_Residual):
    """Two convolutions of 3 x 3."""

    def __init__(self, read: int, inner: int, stride: int) -> None:
        super().__init__(read, inner, stride)
        self.conv1, self.bn1 = _conv(read, inner, 3, stride), BatchNorm(inner)
        self.conv2, self.bn2 = _conv(inner, inner, 3), BatchNorm(inner)

    def inner(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))


class Bottleneck(_Residual):
    """1 x 1 down, 3 x 3 (with the stride, as torchvision has it), 1 x 1 up to four times the inside."""

    expansion = 4

    def __init__(self, read: int, inner: int, stride: int) -> None:
        super().__init__(read, inner, stride)
        self.conv1, self.bn1 = _conv(read, inner, 1), BatchNorm(inner)
        self.conv2, self.bn2 = _conv(inner, inner, 3, stride), BatchNorm(inner)
        self.conv3, self.bn3 = _conv(inner, 4 * inner, 1), BatchNorm(4 * inner)

    def inner(self, x: Tensor) -> Tensor:
        x = relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))
        return self.bn3(self.conv3(x))
