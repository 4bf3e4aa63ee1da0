"""Pairs of pictures and texts, in batches that change at every drawing. All of it is ours: the paper trains on LAION.

An item is one thing with several pictures (an emoji in its styles) and several texts (its name, with some keywords). A
batch has different items, so no text of it fits another picture: the sentences of a batch are RILS's prototypes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from bebr.models.data.emoji import EmojiSet
from bebr.models.rils.producer import normalised

__all__ = ["Pairs"]


@dataclass(frozen=True)
class Pairs:
    """``pictures`` uint8 [items, views, side, side, 3 or 4]; ``texts[i]`` what may be said of item i, at least one
    text. Of more than one, the first is drawn half the time.

    A drawn picture is turned by up to 15 degrees, scaled by .8 to 1.1, shifted by up to a tenth, darkened or
    brightened, its colours mixed a little; where it is transparent it lies on white half the time, else on any
    plain colour.
    """

    pictures: npt.NDArray[np.uint8]
    texts: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        shape = self.pictures.shape
        if self.pictures.dtype != np.uint8 or len(shape) != 5 or shape[2] != shape[3] or shape[4] not in (3, 4):
            raise ValueError(
                f"pictures: got {self.pictures.dtype} {list(shape)}, wanted uint8 [items, views, side, side, 3 or 4]"
            )
        if len(self.texts) != shape[0] or not all(self.texts):
            raise ValueError(f"texts: got {len(self.texts)}, wanted one or more for each of {shape[0]} items")

    def __len__(self) -> int:
        return len(self.pictures)

    @classmethod
    def of_emoji(cls, emoji: EmojiSet, rows: Sequence[int], styles: Sequence[str]) -> Pairs:
        """Those of ``rows`` as they are drawn in ``styles``; texts: the name, and the name with each keyword."""
        views = np.stack([emoji.pictures[style][rows] for style in styles], 1)
        chosen = [emoji.emoji[row] for row in rows]
        return cls(views, [(one.name, *(f"{one.name}, {word}" for word in one.keywords)) for one in chosen])

    def draw(self, rows: npt.NDArray[np.int64], side: int, random: np.random.Generator) -> tuple[Tensor, list[str]]:
        """Normalised pixels [n, 3, side, side] and a text for each of ``rows``."""
        pixels, texts = self.seen(rows, side, random)
        return normalised(pixels), texts

    def seen(self, rows: npt.NDArray[np.int64], side: int, random: np.random.Generator) -> tuple[Tensor, list[str]]:
        """As ``draw``, with pixels of values 0 to 1."""
        views = random.integers(0, self.pictures.shape[1], len(rows))
        picked = torch.from_numpy(self.pictures[rows, views]).permute(0, 3, 1, 2).float() / 255
        if picked.shape[1] == 3:
            picked = torch.cat([picked, torch.ones_like(picked[:, :1])], 1)
        picked[:, :3] *= picked[:, 3:]  # premultiplied: colours of clear pixels must not bleed into the edges
        placed = grid_sample(picked, _placed(random, len(rows), side), "bilinear", "zeros", align_corners=False)
        colour = random.random((len(rows), 3, 1, 1), np.float32)
        colour[random.random(len(rows)) < 0.5] = 1
        pixels = placed[:, :3] + (1 - placed[:, 3:]) * torch.from_numpy(colour)
        mixing = np.eye(3) * random.uniform(0.8, 1.1, (len(rows), 1, 1)) + random.normal(0, 0.05, (len(rows), 3, 3))
        mixed = torch.einsum("ncd,ndhw->nchw", torch.from_numpy(mixing.astype(np.float32)), pixels)
        texts = []
        for row in rows:
            said = self.texts[row]
            texts.append(said[0 if len(said) == 1 or random.random() < 0.5 else int(random.integers(1, len(said)))])
        return mixed.clamp(0, 1), texts


def _placed(random: np.random.Generator, count: int, side: int) -> Tensor:
    angle = random.uniform(-math.pi / 12, math.pi / 12, count)
    scale = 1 / random.uniform(0.8, 1.1, count)
    shift = random.uniform(-0.2, 0.2, (count, 2, 1))  # of half a side
    turned = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(count, 2, 2)
    matrix = np.concatenate([turned * scale[:, None, None], shift], 2).astype(np.float32)
    return affine_grid(torch.from_numpy(matrix), [count, 4, side, side], align_corners=False)
