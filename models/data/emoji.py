"""Emoji in four drawing styles, each with its English name, keywords and group: real pictures with real texts.

Drawings: Noto (Apache-2.0), Twemoji (CC BY 4.0), OpenMoji (CC BY-SA 4.0) and Fluent (MIT), from the icon packages of
Iconify; names: emojibase-data (MIT), after Unicode CLDR. Nothing of it is part of bebr; it is fetched by the user's own
npm settings, and what is rendered stays in the cache.

Left out: skin tones, flags, letters and components, and what one of the styles does not draw. So row i is the same
emoji in every style, and an emoji's alpha channel is its exact outline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.models.data.npm import Package, read
from bebr.models.data.sources import checksum, kept, verified
from bebr.models.data.splits import split
from bebr.models.data.svg import render

__all__ = ["NAMES", "STYLES", "Emoji", "EmojiSet", "load"]

NAMES = Package(
    "emojibase-data",
    "17.0.0",
    "sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
)
STYLES = {
    "noto": Package(
        "@iconify-json/noto",
        "1.2.9",
        "sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    ),
    "twemoji": Package(
        "@iconify-json/twemoji",
        "1.2.5",
        "sha512-uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
    ),
    "openmoji": Package(
        "@iconify-json/openmoji",
        "1.2.29",
        "sha512-vXdhkqcXVSO6suy+m9LbcUM3OdVyuNOtpV8/als/WqfkQIRxevL5Geb/g+6GH/Qwnq1OqksEmaDGTCmZ5nFKJQ==",
    ),
    "fluent": Package(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    ),
}
_GROUPS = {
    0: "smileys & emotion",
    1: "people & body",
    3: "animals & nature",
    4: "food & drink",
    5: "travel & places",
    6: "activities",
    7: "objects",
    8: "symbols",
}


@dataclass(frozen=True)
class Emoji:
    """``key``: its code points, hexadecimal, without variation selectors: ``1f436`` is the dog face."""

    key: str
    name: str
    keywords: tuple[str, ...]
    group: str


@dataclass(frozen=True)
class EmojiSet:
    """``pictures[style]`` is uint8 ``[len(emoji), size, size, 4]`` RGBA, row i showing ``emoji[i]``."""

    emoji: tuple[Emoji, ...]
    pictures: Mapping[str, npt.NDArray[np.uint8]]
    size: int
    checksum: str

    def split(self, seed: int = 0) -> dict[str, list[int]]:
        """Rows of train, validation and test: an emoji is in one of them, with all its styles."""
        return split([one.key for one in self.emoji], seed=seed)


def load(
    size: int = 64,
    progress: Callable[[int, int], None] | None = None,
    styles: Mapping[str, Package] = STYLES,
    names: Package = NAMES,
) -> EmojiSet:
    """The set, fetched and rendered once; ``progress(done, total)`` counts drawings.

    Raises ValueError for a size outside 8 to 512 or an archive that is not the one expected; MissingSource.
    """
    if not 8 <= size <= 512:
        raise ValueError(f"size: got {size}, wanted 8 to 512 pixels")
    records = json.loads(read(names, ["en/data.json"])[0])
    drawings = {style: _drawings(package) for style, package in styles.items()}
    emoji = sorted(
        (one for one in map(_emoji, records) if one is not None and all(one.key in d for d in drawings.values())),
        key=lambda one: one.key,
    )
    found = checksum(
        [names.integrity, *(package.integrity for package in styles.values())]
        + [f"{one.key} {one.name} {one.keywords} {one.group}" for one in emoji]
    )
    verified("emoji", found)
    total, done = len(emoji) * len(drawings), 0
    pictures = {}
    for style, bodies in drawings.items():

        def draw(bodies: Mapping[str, str] = bodies, before: int = done) -> dict[str, npt.NDArray[Any]]:
            rows = np.empty((len(emoji), size, size, 4), np.uint8)
            for row, one in enumerate(emoji):
                rows[row] = render(bodies[one.key], size)
                if progress is not None and row % 50 == 49:
                    progress(before + row + 1, total)
            return {"rgba": rows}

        pictures[style] = kept(f"emoji-{found[:16]}-{style}-{size}", draw)["rgba"]
        done += len(emoji)
        if progress is not None:
            progress(done, total)
    return EmojiSet(tuple(emoji), pictures, size, found)


def _key(hexcode: str) -> str:
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def _emoji(record: Mapping[str, Any]) -> Emoji | None:
    if record.get("group") not in _GROUPS:
        return None
    tags = tuple(str(tag) for tag in record.get("tags", ()))
    return Emoji(_key(record["hexcode"]), str(record["label"]), tags, _GROUPS[record["group"]])


def _drawings(package: Package) -> dict[str, str]:
    """Key to SVG. A mirrored or turned copy of another drawing is left as missing: few, and not worth a renderer."""
    icons, characters = (json.loads(raw) for raw in read(package, ["icons.json", "chars.json"]))
    drawn: dict[str, str] = {}
    for hexcode, name in characters.items():
        alias: Mapping[str, Any] = icons.get("aliases", {}).get(name, {})
        if alias and set(alias) - {"parent", "hidden"}:
            continue
        icon = icons["icons"].get(alias.get("parent", name))
        if icon is not None:
            box = [icon.get(side, icons.get(side, 16)) for side in ("width", "height")]
            drawn[_key(hexcode)] = _svg(icon["body"], box)
    return drawn


def _svg(body: str, box: Sequence[float]) -> str:
    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {space} width="{box[0]}" height="{box[1]}" viewBox="0 0 {box[0]} {box[1]}">{body}</svg>'
