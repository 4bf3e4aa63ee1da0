"""A captioner without a language model: the words of the nearest picture that has some."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

import bebr
from bebr.models.caption_anything.port import Masks
from bebr.models.producer import Producer

__all__ = ["Nearest"]


class Nearest:
    """Any producer of pictures, and an index of pictures whose words are known; a crop gets those of its nearest."""

    def __init__(self, producer: Producer, index: bebr.FlatIndex, captions: Sequence[str]) -> None:
        """``index`` holds the captions' numbers as ids. ValueError where they are not as many."""
        if len(index) != len(captions) or not captions:
            raise ValueError(f"captions: got {len(captions)}, wanted one for each of {len(index)} rows of the index")
        self.producer, self.index, self.captions = producer, index, tuple(captions)
        told = hashlib.sha256("\0".join(self.captions).encode()).hexdigest()[:16]
        self.name = f"nearest {producer.name} {producer.version} {told}"

    @classmethod
    def of(cls, producer: Producer, pictures: Sequence[Any], captions: Sequence[str], bytes_per_vector: int) -> Nearest:
        """Index ``pictures``, a caption each, as codes of so many bytes."""
        if len(pictures) != len(captions):
            raise ValueError(f"captions: got {len(captions)}, wanted one for each of {len(pictures)} pictures")
        x = producer.embed(pictures)
        index = bebr.FlatIndex(bebr.train(x, bytes_per_vector=bytes_per_vector, metric=producer.metric))
        index.add(x)
        return cls(producer, index, captions)

    def __call__(self, crop: Any, mask: Masks) -> tuple[str, float]:
        """``mask`` is not looked at: what is not the object was painted over, or is meant to be seen."""
        found = self.index.search(self.producer.embed([np.asarray(crop)]), 1)
        return self.captions[int(found.ids[0, 0])], float(found.scores[0, 0])
