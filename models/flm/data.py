"""Pictures with captions. All of it is ours: the paper trains on four million pairs of CC3M, SBU, COCO and VG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bebr.models.data.emoji import EmojiSet
from bebr.models.data.scenes import compose

__all__ = ["Pairs", "composed"]


@dataclass(frozen=True)
class Pairs:
    """``pictures`` uint8 [n, side, side, 3], a caption each, and what is to be seen: ``counts[i]`` by kind."""

    pictures: npt.NDArray[np.uint8]
    captions: Sequence[str]
    counts: Sequence[dict[int, int]] = ()

    def __post_init__(self) -> None:
        shape = self.pictures.shape
        if self.pictures.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
            raise ValueError(f"pictures: got {self.pictures.dtype} {list(shape)}, wanted uint8 [n, side, side, 3]")
        for name, given in (("captions", self.captions), ("counts", self.counts or self.captions)):
            if len(given) != shape[0]:
                raise ValueError(f"{name}: got {len(given)}, wanted one for each of {shape[0]} pictures")

    def __len__(self) -> int:
        return len(self.captions)


def composed(
    emoji: EmojiSet,
    kinds: Sequence[int],
    numbers: Sequence[int],
    seed: int = 0,
    side: int = 64,
    style: str = "twemoji",
    objects: tuple[int, int] = (3, 5),
) -> Pairs:
    """Scenes ``numbers`` of ``seed``, three to five objects each, of the emoji ``kinds`` (rows) alone: a small world,
    so that a small network learns its words. Captions are those of ``data.scenes``: "one dog, two apples and one hat".
    """
    drawings, names = emoji.pictures[style][list(kinds)], [emoji.emoji[row].name for row in kinds]
    made = [compose(drawings, names, number, seed, side, objects) for number in numbers]
    return Pairs(np.stack([one.image for one in made]), [one.caption for one in made], [one.counts for one in made])
