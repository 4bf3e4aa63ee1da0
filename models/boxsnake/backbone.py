"""The residual network (He et al. 2016) and the feature pyramid on it (Lin et al. 2017), parameters as in files.

The stride of a stage is in the first convolution of its first bottleneck, as in the networks by MSRA.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

from bebr.models.boxsnake.config import BLOCKS, LEVELS, Config
from bebr.models.norm import BatchNorm

__all__ = ["Pyramid"]


class Norm(BatchNorm):
    """Frozen: nothing of it is trained, and pictures do not change it."""

    def __init__(self, channels: int, frozen: bool) -> None:
        super().__init__(channels)
        self.frozen = frozen
        for one in self.parameters():
            one.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> Norm:
        return super().train(mode and not self.frozen)


class Conv(nn.Conv2d):
    """A convolution without a bias, and its norm."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int, frozen: bool) -> None:
        super().__init__(inputs, outputs, side, stride, side // 2, bias=False)
        self.norm = Norm(outputs, frozen)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


class Bottleneck(nn.Module):
    """x + conv3 relu conv2 relu conv1 x, relu; x through ``shortcut`` where width or size change."""

    def __init__(self, inputs: int, middle: int, stride: int, first: bool, frozen: bool) -> None:
        super().__init__()
        self.shortcut = Conv(inputs, 4 * middle, 1, stride, frozen) if first else None
        self.conv1 = Conv(inputs, middle, 1, stride, frozen)
        self.conv2 = Conv(middle, middle, 3, 1, frozen)
        self.conv3 = Conv(middle, 4 * middle, 1, 1, frozen)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv3(relu(self.conv2(relu(self.conv1(x)))))
        return relu(inner + (x if self.shortcut is None else self.shortcut(x)))


class Pyramid(nn.Module):
    """Pixels [n, 3, h, w], h and w multiples of 32, to P2 ... P6: [n, fpn, h / 4, w / 4] ... [n, fpn, h / 64, w / 64]
    (P6 rounded up)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, frozen = config.width, config.norm_frozen
        stages: dict[str, nn.Module] = {"stem": nn.ModuleDict({"conv1": Conv(3, width, 7, 2, frozen)})}
        inputs = width
        for stage, count in enumerate(BLOCKS[config.depth]):
            middle = width * 2**stage
            blocks = []
            for i in range(count):
                blocks.append(Bottleneck(inputs, middle, 2 if stage and i == 0 else 1, i == 0, frozen))
                inputs = 4 * middle
            stages[f"res{stage + 2}"] = nn.Sequential(*blocks)
        self.bottom_up = nn.ModuleDict(stages)
        for level in range(LEVELS):
            self.add_module(f"fpn_lateral{level + 2}", nn.Conv2d(width * 4 * 2**level, config.fpn, 1))
            self.add_module(f"fpn_output{level + 2}", nn.Conv2d(config.fpn, config.fpn, 3, padding=1))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = max_pool2d(relu(self.bottom_up["stem"]["conv1"](pixels)), 3, 2, 1)
        found = []
        for stage in range(LEVELS):
            x = self.bottom_up[f"res{stage + 2}"](x)
            found.append(x)
        out: list[Tensor] = []
        above: Tensor | None = None
        for level in reversed(range(LEVELS)):
            here = self.get_submodule(f"fpn_lateral{level + 2}")(found[level])
            above = here if above is None else here + interpolate(above, scale_factor=2.0, mode="nearest")
            out.insert(0, self.get_submodule(f"fpn_output{level + 2}")(above))
        return [*out, max_pool2d(out[-1], 1, 2)]
