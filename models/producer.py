"""The one interface of every producer, and what most of them share: checking items and cutting them into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.models import items as kinds

__all__ = ["Producer", "Progress"]

Progress = Callable[[int, int], None]


class Producer:
    """Base of the producers: a subclass sets the five facts and defines ``encode``; ``embed`` is then ready.

    name      what ``bebr.models.load`` calls it
    version   together with ``name`` identifies the vectors: other weights, another version, another binarizer
    dim       dimensions of a vector
    metric    ``"cosine"``, ``"ip"`` or ``"l2"``: what the vectors are to be compared by
    modality  what an item is: ``"text"`` (str), ``"image"`` (a pathlib.Path, a picture file's bytes, a PIL image or
              uint8 ``[height, width, 3 or 4]``), ``"image+text"`` (a tuple of both) or ``"clip"`` (a skeleton's
              joints, as a pathlib.Path or floats ``[frames, joints, 3]`` or ``[frames, persons, joints, 3]``);
              ``"image|text"`` takes either, one kind a call
    """

    name: str
    version: str
    dim: int
    metric: str = "cosine"
    modality: str = "text"

    def embed(
        self, items: Sequence[Any], batch_size: int = 64, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Encode ``items`` to float32 ``[len(items), dim]`` in the order given; ``progress(done, total)`` counts items.

        Raises ValueError naming the first item that is not of the producer's modality or cannot be read, the rows that
        came out wrong, or ``batch_size < 1``.
        """
        kind = kinds.check(items, self.modality)
        check_batch_size(batch_size)
        vectors = np.empty((len(items), self.dim), dtype=np.float32)
        order = list(range(len(items)))
        if kind == "text":  # longest first: little is spent on padding, and the greatest need of memory comes at once
            order.sort(key=lambda position: -len(items[position]))
        for start in range(0, len(items), batch_size):
            chosen = order[start : start + batch_size]
            batch = [items[position] for position in chosen]
            batch = [kinds.opened(kind, item, f"items[{at}]") for at, item in zip(chosen, batch, strict=True)]
            encoded = np.asarray(self.encode(kind, batch))
            if encoded.shape != (len(batch), self.dim):
                raise ValueError(f"{self.name}: got vectors {list(encoded.shape)}, wanted {[len(batch), self.dim]}")
            vectors[chosen] = encoded
            if progress is not None:
                progress(start + len(batch), len(items))
        return vectors

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[Any]:
        """One batch to ``[len(batch), dim]``. Texts arrive sorted by length, pictures as RGB PIL images, laid on
        white where they are transparent, clips as float32 ``[frames, persons, joints, 3]``."""
        raise NotImplementedError(f"{type(self).__name__}.encode: a producer defines this, or embed")


def check_batch_size(batch_size: int) -> None:
    """ValueError below 1."""
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}, wanted at least 1")
