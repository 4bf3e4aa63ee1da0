"""How a region looks, as a vector: its crop through any producer of pictures, or GVT's patches or SAM's map under its
mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bebr.models.caption_anything.port import Masks
from bebr.models.caption_anything.regions import crop
from bebr.models.producer import Producer

if TYPE_CHECKING:  # needs torch
    from bebr.models.caption_anything.sam.producer import Sam
    from bebr.models.gvt.producer import Gvt

__all__ = ["Crops", "Mapped", "Patches"]


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
        shares = np.stack([_shares(mask, across, (across, across)) for mask in masks])
        return _unit(shares @ tokens)


class Mapped:
    """The mean of SAM's map under a mask, each cell by how much of it is covered: 256 dimensions, and no captioner."""

    def __init__(self, sam: Sam) -> None:
        self.sam, self.dim = sam, sam.dim
        self.name = f"map {sam.name} {sam.version}"

    def __call__(self, picture: Any, masks: Masks) -> npt.NDArray[np.float32]:
        if not len(masks):
            return np.zeros((0, self.dim), np.float32)
        seen = self.sam.see(picture)
        cells = seen.features[0].flatten(1).T.cpu().numpy()
        patch = self.sam.network.config.patch_size
        filled = (seen.scaled[0] / patch, seen.scaled[1] / patch)
        return _unit(np.stack([_shares(mask, seen.features.shape[-1], filled) for mask in masks]) @ cells)


def _shares(mask: Masks, across: int, filled: tuple[float, float]) -> npt.NDArray[np.float32]:
    """How many of a mask's pixels lie in each of ``across`` x ``across`` cells, of which the picture fills so many from
    the top and from the left."""
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    cells = (rows * filled[0] / height).astype(int) * across + (columns * filled[1] / width).astype(int)
    return np.bincount(cells, minlength=across**2).astype(np.float32)


def _unit(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)
