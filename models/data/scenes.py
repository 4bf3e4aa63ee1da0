"""Composed scenes: a few emoji on a textured ground, whose masks, boxes, counts and caption are exact.

Every pixel of a scene belongs to the ground or to one object, the last one painted there, and ``owners`` says to which.
An object is painted where its alpha is at least one half, opaquely, so an object's mask is exactly the pixels that show
it. A scene is a function of (pictures, names, seed, number): nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.models.data.emoji import EmojiSet
from bebr.models.data.emoji import load as emoji_set
from bebr.models.data.sources import checksum, kept

__all__ = ["Scene", "SceneSet", "compose", "counted", "load"]

_OPAQUE = 128
_TRIES = 200


@dataclass(frozen=True)
class Scene:
    """``image`` uint8 ``[side, side, 3]``. ``owners`` uint8 ``[side, side]``: 0 for the ground, i + 1 for object i.

    ``labels[i]`` is object i's row in the pictures; ``counts`` how many there are of each label; ``caption`` says that
    in English.
    """

    image: npt.NDArray[np.uint8]
    owners: npt.NDArray[np.uint8]
    labels: tuple[int, ...]
    caption: str

    @property
    def masks(self) -> npt.NDArray[np.bool_]:
        """bool ``[objects, side, side]``: where each object shows; no two overlap."""
        numbers = np.arange(1, len(self.labels) + 1, dtype=np.uint8)
        return np.asarray(self.owners[None] == numbers[:, None, None])

    @property
    def boxes(self) -> npt.NDArray[np.int64]:
        """int64 ``[objects, 4]``: left, top, right, bottom of what shows of each, right and bottom one past the end."""
        found = []
        for mask in self.masks:
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            found.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        return np.array(found, dtype=np.int64).reshape(-1, 4)

    @property
    def counts(self) -> dict[int, int]:
        """Objects of each label."""
        return dict(Counter(self.labels))


@dataclass(frozen=True)
class SceneSet:
    """``images`` uint8 ``[n, side, side, 3]`` and ``owners`` uint8 ``[n, side, side]``, mapped from the cache.

    ``labels`` int16 ``[n, most]`` are rows of the emoji set, -1 past a scene's last object.
    """

    images: npt.NDArray[np.uint8]
    owners: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int16]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Scene:
        labels = tuple(int(label) for label in self.labels[row] if label >= 0)
        return Scene(self.images[row], self.owners[row], labels, _caption([self.names[label] for label in labels]))


def load(
    part: str = "train",
    count: int = 1000,
    seed: int = 0,
    side: int = 128,
    style: str | None = None,
    emoji: EmojiSet | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SceneSet:
    """``count`` scenes of the emoji of one part of their split, each scene in one style: ``style``, or one after the
    other. Made once and kept. Labels are rows of the whole emoji set.

    Raises ValueError for a part or style that there is not, and what ``emoji.load`` raises where none is given.
    """
    emoji = emoji_set() if emoji is None else emoji
    parts = emoji.split()
    if part not in parts or not parts[part]:
        raise ValueError(f"part: got {part!r}, wanted one of {', '.join(name for name in parts if parts[name])}")
    if style is not None and style not in emoji.pictures:
        raise ValueError(f"style: got {style!r}, wanted one of {', '.join(emoji.pictures)}")
    if count < 1:
        raise ValueError(f"count: got {count}, wanted at least 1")
    rows = np.array(parts[part])
    names = tuple(one.name for one in emoji.emoji)
    styles = list(emoji.pictures) if style is None else [style]
    drawings = {one: np.asarray(emoji.pictures[one][rows]) for one in styles}

    def make() -> dict[str, npt.NDArray[Any]]:
        images, owners = np.empty((count, side, side, 3), np.uint8), np.empty((count, side, side), np.uint8)
        labels = np.full((count, 6), -1, np.int16)
        chosen = [names[row] for row in rows]
        for number in range(count):
            scene = compose(drawings[styles[number % len(styles)]], chosen, number, seed, side)
            images[number], owners[number] = scene.image, scene.owners
            labels[number, : len(scene.labels)] = rows[list(scene.labels)]
            if progress is not None:
                progress(number + 1, count)
        return {"images": images, "owners": owners, "labels": labels}

    what = checksum([emoji.checksum, part, *styles, f"{count} {seed} {side} {emoji.size}"])
    return SceneSet(**kept(f"scenes-{what[:16]}", make), names=names)


def compose(
    pictures: npt.NDArray[np.uint8],
    names: Sequence[str],
    number: int,
    seed: int = 0,
    side: int = 128,
    objects: tuple[int, int] = (3, 6),
    kinds: int = 3,
    visible: float = 0.5,
    sizes: tuple[int, int] | None = None,
) -> Scene:
    """Scene ``number`` of ``seed``.

    pictures  uint8 [n, size, size, 4]: what may be in it, a name each
    side      pixels of the square scene
    objects   the fewest and most objects; each count between is equally likely
    kinds     at most so many different emoji a scene, so that counts above one are common
    visible   the least share of an object's own pixels that others leave uncovered
    sizes     the least and most pixels across an object; None: a fifth to a third of the side

    Raises ValueError for arguments that do not fit each other, or where the objects find no room.
    """
    if pictures.ndim != 4 or pictures.shape[3] != 4 or pictures.dtype != np.uint8 or not len(pictures):
        raise ValueError(f"pictures: got {pictures.dtype} {list(pictures.shape)}, wanted uint8 [n, size, size, 4]")
    if len(names) != len(pictures):
        raise ValueError(f"names: got {len(names)}, wanted one for each of {len(pictures)} pictures")
    if not 1 <= objects[0] <= objects[1] <= 100:
        raise ValueError(f"objects: got {objects}, wanted 1 <= fewest <= most <= 100")
    if kinds < 1 or not 0 < visible <= 1 or side < 16:
        raise ValueError(f"kinds, visible, side: got {kinds}, {visible}, {side}, wanted >= 1, in (0, 1], >= 16")
    least, most = (side // 5, side // 3) if sizes is None else sizes
    if not 1 <= least <= most <= side:
        raise ValueError(f"sizes: got {sizes}, wanted 1 <= least <= most <= side, {side}")
    random = np.random.Generator(np.random.PCG64([seed, number]))
    count = int(random.integers(objects[0], objects[1] + 1))
    chosen = random.choice(len(pictures), min(kinds, len(pictures), count), replace=False)
    # each kind once, then any of them: all that were chosen are there
    labels = [int(one) for one in chosen] + [int(one) for one in random.choice(chosen, count - len(chosen))]
    image = _ground(random, side)
    owners = np.zeros((side, side), np.uint8)
    areas: list[int] = []
    for place, label in enumerate(labels):
        for _ in range(_TRIES):
            shape = _scaled(pictures[label], int(random.integers(least, most + 1)))
            top, left = (int(random.integers(0, side - len(shape) + 1)) for _ in range(2))
            inside = shape[..., 3] >= _OPAQUE
            window = owners[top : top + len(shape), left : left + len(shape)]
            after = np.bincount(owners.reshape(-1), minlength=place + 1) - np.bincount(
                window[inside], minlength=place + 1
            )
            if inside.any() and all(after[i + 1] >= visible * area for i, area in enumerate(areas)):
                break
        else:
            raise ValueError(
                f"objects: {count} of them find no room on {side} x {side} pixels: fewer, or a larger side"
            )
        window[inside] = place + 1
        image[top : top + len(shape), left : left + len(shape)][inside] = shape[..., :3][inside]
        areas.append(int(inside.sum()))
    return Scene(image, owners, tuple(labels), _caption([names[label] for label in labels]))


def _ground(random: np.random.Generator, side: int) -> npt.NDArray[np.uint8]:
    """Smooth blotches of two colours under fine grain."""
    coarse = random.random((5, 5))
    at = np.linspace(0, 4, side)
    low = np.minimum(at.astype(int), 3)
    part = at - low
    rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
    smooth = rows[:, low] * (1 - part) + rows[:, low + 1] * part
    colours = random.integers(40, 216, (2, 3))
    mixed = colours[0] + smooth[..., None] * (colours[1] - colours[0]) + random.normal(0, 8, (side, side, 1))
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _scaled(picture: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """``[size, size, 4]`` by nearest pixel: colours stay those of the picture, so that what is painted is exact."""
    at = ((np.arange(size) + 0.5) * len(picture) / size).astype(int)
    return picture[at][:, at]


_NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_IRREGULAR = {"man": "men", "woman": "women", "person": "people", "child": "children", "foot": "feet", "tooth": "teeth"}
_SAME = {"fish", "sheep", "deer"}


def _caption(names: Sequence[str]) -> str:
    parts = [counted(count, name) for name, count in Counter(names).items()]
    return " and ".join(", ".join(parts).rsplit(", ", 1))


def counted(count: int, name: str) -> str:
    """``counted(2, "box with lid")`` is "two boxes with lid"; "a" and "an" are left to "one"."""
    word = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    if count == 1:
        return f"one {name}"
    for joint in (" with ", " in ", " of ", " on ", ": "):
        head, found, rest = name.partition(joint)
        if found:
            return f"{word} {_plural(head)}{joint}{rest}"
    return f"{word} {_plural(name)}"


def _plural(name: str) -> str:
    before, space, noun = name.rpartition(" ")
    if noun in _IRREGULAR:
        noun = _IRREGULAR[noun]
    elif noun in _SAME or (noun.endswith("s") and not noun.endswith(("ss", "us"))):
        pass  # scissors, cherries, hands: already as many
    elif noun.endswith(("s", "x", "z", "ch", "sh")):
        noun += "es"
    elif noun.endswith("y") and noun[-2:-1] not in ("a", "e", "i", "o", "u"):
        noun = noun[:-1] + "ies"
    else:
        noun += "s"
    return before + space + noun
