"""How a region looks, as a vector: its crop through any producer of pictures, or GVT's patches under its mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bebr.models.caption_anything.port import Masks
from bebr.models.caption_anything.regions import crop
from bebr.models.producer import Producer

if TYPE_CHECKING:  # needs torch
    from bebr.models.gvt.producer import Gvt

__all__ = ["Crops", "Patches"]


class Crops:
    """The vectors of regions cut out, by a producer of pictures; ``background`` ``"white"`` or ``"kept"``."""

    def __init__(self, producer: Producer, background: str = "white") -> None:
        self.producer, self.background, self.dim = producer, background, producer.dim
        self.name = f"crops {background} {producer.name} {producer.version}"

    def __call__(self, picture: Any, masks: Masks) -> npt.NDArray[np.float32]:
        cut = [np.asarray(crop(picture, mask, self.background)[0]) for mask in masks]
        return _unit(self.producer.embed(cut)) if cut else np.zeros((0, self.dim), np.float32)


class Patches:
    """The mean of the patches that a mask covers, each by how much of it: GVT reads the whole picture once."""

    def __init__(self, producer: Gvt) -> None:
        self.producer, self.dim = producer, producer.dim
        self.name = f"patches {producer.name} {producer.version}"

    def __call__(self, picture: Any, masks: Masks) -> npt.NDArray[np.float32]:
        if not len(masks):
            return np.zeros((0, self.dim), np.float32)
        tokens = self.producer.tokens([picture])[0]
        across = round(len(tokens) ** 0.5)
        shares = np.stack([_shares(mask, across) for mask in masks]).reshape(len(masks), -1)
        return _unit(shares @ tokens)


def _shares(mask: Masks, across: int) -> npt.NDArray[np.float32]:
    """How many of a mask's pixels lie in each of ``across`` x ``across`` parts of the picture."""
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    cells = rows * across // height * across + columns * across // width
    return np.bincount(cells, minlength=across**2).astype(np.float32)


def _unit(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)
