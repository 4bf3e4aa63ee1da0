"""What Caption AnyThing is made of, as interfaces: any segmenter, captioner, refiner and reader of text will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Captioner", "Controls", "Line", "Look", "Masks", "Prompt", "Refiner", "Segmenter", "TextReader"]

Masks = npt.NDArray[np.bool_]

SENTIMENTS = ("neutral", "positive", "negative")


@dataclass(frozen=True)
class Prompt:
    """Where to look: ``points`` ((column, row) in pixels) with ``labels`` (true: on the object, false: not on it), or
    one ``box`` (left, top, right, bottom), or both; neither asks for everything.

    Raises ValueError where there are not as many labels as points, no point lies on the object and there is no box, or
    the box has no extent.
    """

    points: Sequence[tuple[float, float]] = ()
    labels: Sequence[bool] = ()
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.points and not self.labels:
            object.__setattr__(self, "labels", (True,) * len(self.points))
        if len(self.labels) != len(self.points):
            raise ValueError(f"labels: got {len(self.labels)}, wanted one for each of {len(self.points)} points")
        if self.points and not any(self.labels) and self.box is None:
            raise ValueError("labels: all points lie off the object: wanted one on it, or a box")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError(f"box: got {tuple(self.box)}, wanted left < right and top < bottom")

    @property
    def everything(self) -> bool:
        """Whether all objects are asked for."""
        return not self.points and self.box is None

    def within(self, width: int, height: int) -> Prompt:
        """Itself. ValueError naming the point or box that lies outside a picture of that size."""
        for number, (x, y) in enumerate(self.points):
            if not (0 <= x < width and 0 <= y < height):
                raise ValueError(f"points[{number}]: got ({x}, {y}), wanted inside {width} x {height} pixels")
        if self.box is not None and not (
            self.box[0] < width and self.box[1] < height and self.box[2] > 0 and self.box[3] > 0
        ):
            raise ValueError(f"box: got {tuple(self.box)}, which lies outside {width} x {height} pixels")
        return self


@dataclass(frozen=True)
class Controls:
    """How words are to be: ``length`` in words, give or take a fifth (None: as they come), ``sentiment``,
    ``language`` (its English name), whether to invent beyond what is seen (``imagination``), and whether to add
    what is generally known of it (``factuality``).

    Raises ValueError for a length below 1 or a sentiment that there is not.
    """

    length: int | None = None
    sentiment: str = "neutral"
    language: str = "English"
    imagination: bool = False
    factuality: bool = False

    def __post_init__(self) -> None:
        if self.length is not None and self.length < 1:
            raise ValueError(f"length: got {self.length}, wanted at least 1 word")
        if self.sentiment not in SENTIMENTS:
            raise ValueError(f"sentiment: got {self.sentiment!r}, wanted {', '.join(SENTIMENTS)}")


@dataclass(frozen=True)
class Line:
    """Text read in a picture: where (left, top, right, bottom) and how surely, 0 to 1."""

    text: str
    box: tuple[float, float, float, float]
    score: float


class Segmenter(Protocol):
    """A picture and a prompt to masks. ``name`` says which it is, with its settings."""

    @property
    def name(self) -> str: ...

    def __call__(self, picture: Any, prompt: Prompt) -> Masks:
        """bool [n, height, width] of an RGB PIL image: one for points or a box, as many as there are for everything,
        larger ones first; none is empty. ValueError where the prompt leaves the picture."""
        ...


class Captioner(Protocol):
    """What a crop shows. ``name`` as a segmenter's."""

    @property
    def name(self) -> str: ...

    def __call__(self, crop: Any, mask: Masks) -> tuple[str, float]:
        """Words for an RGB PIL image, and a score: higher is surer. ``mask`` [height, width]: which of its pixels are
        the object's."""
        ...


class Look(Protocol):
    """Masks of a picture to vectors of what they show, of unit length. ``name`` as a segmenter's."""

    @property
    def name(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def __call__(self, picture: Any, masks: Masks) -> npt.NDArray[np.float32]:
        """float32 [n, dim] of an RGB PIL image and masks [n, height, width], none of them empty."""
        ...


class Refiner(Protocol):
    """A caption rewritten."""

    def __call__(self, text: str, controls: Controls) -> str:
        """ValueError for a control that this one cannot keep: none is ignored."""
        ...


class TextReader(Protocol):
    """Text in pictures."""

    def __call__(self, picture: Any) -> list[Line]:
        """Lines of an RGB PIL image, from the top."""
        ...
