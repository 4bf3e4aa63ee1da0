"""Pictures as networks read them: their middle or squeezed whole, brought to a mean and deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL.Image import Resampling
from torch import Tensor

__all__ = ["Resampling", "by_channel", "middles", "squeezed", "squeezed_bytes"]


def middles(pictures: Sequence[Any], side: int, resampling: Resampling) -> Tensor:
    """RGB PIL images to float32 [n, 3, side, side] of values 0 to 1: the middle, after the short side was resized."""
    cut = np.stack([np.asarray(_middle(picture, side, resampling)) for picture in pictures])
    return torch.from_numpy(cut).permute(0, 3, 1, 2).float() / 255


def squeezed(pictures: Sequence[Any], size: tuple[int, int], resampling: Resampling) -> Tensor:
    """RGB PIL images to float32 [n, 3, height, width] of values 0 to 1: ``size`` is height and width. Nothing is cut
    off, proportions change."""
    return torch.from_numpy(squeezed_bytes(pictures, size, resampling)).permute(0, 3, 1, 2).float() / 255


def squeezed_bytes(pictures: Sequence[Any], size: tuple[int, int], resampling: Resampling) -> npt.NDArray[np.uint8]:
    """The same as uint8 [n, height, width, 3]."""
    wanted = (size[1], size[0])
    return np.stack([np.asarray(one if one.size == wanted else one.resize(wanted, resampling)) for one in pictures])


def by_channel(pixels: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """(pixels - mean) / deviation by colour, [n, 3, height, width]."""
    centre, scale = (torch.tensor(one, device=pixels.device)[:, None, None] for one in (mean, deviation))
    return (pixels - centre) / scale


def _middle(picture: Any, side: int, resampling: Resampling) -> Any:
    width, height = picture.size
    short = min(width, height)
    if short != side:
        size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
        picture = picture.resize(size, resampling)
    left, top = round((picture.width - side) / 2), round((picture.height - side) / 2)
    return picture.crop((left, top, left + side, top + side))
