"""Caption AnyThing: a click or a box gets words, and a picture's regions become rows, by their look or their words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.models import items as kinds
from bebr.models.caption_anything.port import (
    Captioner,
    Controls,
    Line,
    Look,
    Masks,
    Prompt,
    Refiner,
    Segmenter,
    TextReader,
)
from bebr.models.caption_anything.refiners import ByRules
from bebr.models.caption_anything.regions import box_of, crop, packed
from bebr.models.objects import ObjectProducer
from bebr.models.producer import Producer

__all__ = ["VECTORS", "CaptionAnything", "Region"]

VECTORS = ("look", "words", "look+words")


@dataclass(frozen=True)
class Region:
    """``mask`` bool [height, width]; ``box`` left, top, right, bottom; ``caption`` as the captioner gave it with its
    ``score``, ``text`` as the refiner left it; ``lines`` read inside the box."""

    mask: Masks
    box: tuple[int, int, int, int]
    caption: str
    score: float
    text: str
    lines: tuple[Line, ...] = ()


class CaptionAnything(ObjectProducer):
    """Regions of pictures as float32 vectors of unit length, by ``vector``:

    ``look``        what the mask shows, by ``look``
    ``words``       the caption, by the producer ``words`` of texts: a text finds regions
    ``look+words``  both, one behind the other, each half of a cosine

    segmenter, captioner, refiner, reader  any that keep the ports of ``port.py``; no refiner: ``ByRules``, no reader:
                                           no text is read
    background   what a captioner sees around the object: ``"white"`` or ``"kept"``
    least_area   pixels of the smallest region; ``most`` regions a picture, the largest first

    ``embed`` takes pictures, each as one region, and so asks by look. With ``"words"``, ask with the text producer's
    own vectors. The version is a digest of the parts' names. Facts of a region: ``caption``, ``score``, ``box``,
    ``mask`` (run lengths as COCO's) and, where there is a reader, ``text`` read in it.
    """

    name = "caption-anything"
    metric = "cosine"
    modality = "image"

    def __init__(
        self,
        segmenter: Segmenter,
        captioner: Captioner,
        look: Look,
        words: Producer,
        refiner: Refiner | None = None,
        reader: TextReader | None = None,
        *,
        vector: str = "look",
        background: str = "white",
        least_area: int = 64,
        most: int = 10,
    ) -> None:
        if vector not in VECTORS:
            raise ValueError(f"vector: got {vector!r}, wanted {', '.join(VECTORS)}")
        if "text" not in words.modality.split("|"):
            raise ValueError(f"words: {words.name} takes {words.modality}, wanted a producer of texts")
        if least_area < 1 or most < 1:
            raise ValueError(f"least_area, most: got {least_area}, {most}, wanted at least 1")
        self.segmenter, self.captioner, self.look, self.words = segmenter, captioner, look, words
        self.refiner = ByRules() if refiner is None else refiner
        self.reader, self.vector, self.background = reader, vector, background
        self.least_area, self.most = least_area, most
        self.dim = {"look": look.dim, "words": words.dim, "look+words": look.dim + words.dim}[vector]
        parts = [vector, background, look.name, captioner.name, segmenter.name, words.name, words.version]
        parts += [str(least_area), str(most)]
        self.version = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def say(self, picture: Any, prompt: Prompt, controls: Controls = Controls()) -> list[Region]:  # noqa: B008 frozen
        """Click, get words: the regions that ``prompt`` asks for, described. ``picture`` as ``embed`` takes one.

        Raises ValueError where the prompt leaves the picture, and what the refiner cannot keep.
        """
        kinds.check([picture], self.modality)
        opened = kinds.picture(picture, "picture")
        masks = self._masks(opened, prompt)
        lines = self.reader(opened) if self.reader is not None and len(masks) else []
        return [self._said(opened, mask, controls, lines) for mask in masks]

    def find(self, batch: list[Any]) -> list[tuple[npt.NDArray[np.float32], list[dict[str, Any]]]]:
        out = []
        for picture in batch:
            regions = self.say(picture, Prompt())
            masks = np.stack([region.mask for region in regions]) if regions else _none(picture)
            facts = []
            for region in regions:
                sides = dict(zip(("left", "top", "right", "bottom"), region.box, strict=True))
                fact = {"caption": region.text, "score": round(region.score, 4), "box": sides}
                fact["mask"] = packed(region.mask)
                if self.reader is not None:
                    fact["text"] = " ".join(line.text for line in region.lines)
                facts.append(fact)
            out.append((self._vectors(picture, masks, [region.text for region in regions]), facts))
        return out

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[np.float32]:
        out = []
        for picture in batch:
            whole = np.ones((1, picture.height, picture.width), np.bool_)
            texts = []
            if "words" in self.vector:
                texts = [self._said(picture, whole[0], Controls(), []).text]
            out.append(self._vectors(picture, whole, texts))
        return np.concatenate(out)

    def _masks(self, picture: Any, prompt: Prompt) -> Masks:
        masks = self.segmenter(picture, prompt)
        if masks.dtype != np.bool_ or masks.shape[1:] != (picture.height, picture.width):
            raise ValueError(
                f"{self.segmenter.name}: got {masks.dtype} {list(masks.shape)}, wanted bool "
                f"[n, {picture.height}, {picture.width}]"
            )
        if prompt.everything:
            masks = masks[masks.sum((1, 2)) >= self.least_area][: self.most]
        return masks

    def _said(self, picture: Any, mask: Masks, controls: Controls, lines: Sequence[Line]) -> Region:
        box = box_of(mask)
        cut, inside = crop(picture, mask, self.background)
        caption, score = self.captioner(cut, inside)
        held = tuple(line for line in lines if _holds(box, line.box))
        return Region(mask, box, caption, score, self.refiner(caption, controls), held)

    def _vectors(self, picture: Any, masks: Masks, texts: list[str]) -> npt.NDArray[np.float32]:
        parts = []
        if "look" in self.vector:
            parts.append(self.look(picture, masks))
        if "words" in self.vector:
            x = self.words.embed(texts) if texts else np.zeros((0, self.words.dim), np.float32)
            parts.append(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))
        return np.asarray(np.concatenate(parts, 1) / len(parts) ** 0.5, np.float32)


def _none(picture: Any) -> Masks:
    return np.zeros((0, picture.height, picture.width), np.bool_)


def _holds(box: tuple[int, int, int, int], line: tuple[float, float, float, float]) -> bool:
    """Whether the middle of a line of text lies in the box."""
    x, y = (line[0] + line[2]) / 2, (line[1] + line[3]) / 2
    return box[0] <= x < box[2] and box[1] <= y < box[3]
