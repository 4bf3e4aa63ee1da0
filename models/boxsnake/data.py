"""Pictures with the boxes of their objects: all that BoxSnake learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bebr.models.data.scenes import SceneSet

__all__ = ["Boxed"]


@dataclass(frozen=True)
class Boxed:
    """``pictures`` uint8 [n, side, side, 3]; ``boxes[i]`` float [objects, 4]: left, top, right, bottom in pixels.

    ValueError where they do not go together, or a box has no extent or leaves its picture.
    """

    pictures: npt.NDArray[np.uint8]
    boxes: Sequence[npt.NDArray[np.float64]]

    def __post_init__(self) -> None:
        shape = self.pictures.shape
        if self.pictures.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or not len(self.pictures):
            raise ValueError(f"pictures: got {self.pictures.dtype} {list(shape)}, wanted uint8 [n, height, width, 3]")
        if len(self.boxes) != len(self.pictures):
            raise ValueError(
                f"boxes: got {len(self.boxes)}, wanted one array for each of {len(self.pictures)} pictures"
            )
        for row, found in enumerate(self.boxes):
            wrong = found.ndim != 2 or found.shape[1] != 4
            if wrong or (found[:, 2:] <= found[:, :2]).any() or found.min(initial=0) < 0:
                raise ValueError(
                    f"boxes[{row}]: wanted [objects, 4], left and top from 0 on, right and bottom beyond them"
                )
            if (found[:, 2:] > [shape[2], shape[1]]).any():
                raise ValueError(f"boxes[{row}]: leave the picture of {shape[2]} x {shape[1]} pixels")

    def __len__(self) -> int:
        return len(self.pictures)

    @classmethod
    def of_scenes(cls, scenes: SceneSet) -> Boxed:
        """Scenes without their masks."""
        return cls(np.asarray(scenes.images), [scenes[row].boxes.astype(np.float64) for row in range(len(scenes))])
