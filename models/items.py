"""What an item of each modality is, and how a picture is opened. Every error says which item it was. Skeleton clips:
``clips.py``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bebr.models.clips import clip, is_clip

__all__ = ["PIXELS", "SUFFIXES", "check", "modalities", "opened", "picture"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
PIXELS = 100_000_000  # a picture of more is refused before it is unpacked: 400 MB as RGBA
_WANTED = {
    "text": "str",
    "image": "a pathlib.Path, a picture file's bytes, a PIL image or uint8 [height, width, 3 or 4]",
    "image+text": "a tuple (image, str)",
    "clip": "a pathlib.Path, or floats [frames, joints, 3] or [frames, persons, joints, 3]",
}


def modalities(modality: str) -> tuple[str, ...]:
    """The kinds of item that ``modality`` allows. ValueError naming the kinds there are."""
    found = tuple(modality.split("|"))
    for kind in found:
        if kind not in _WANTED:
            raise ValueError(f"modality: got {modality!r}, wanted {', '.join(_WANTED)}, or several joined by |")
    return found


def check(items: Sequence[Any], modality: str) -> str:
    """Which kind all ``items`` are, of those in ``modality``; the first where there are none.

    Raises ValueError for a lone item instead of a sequence, or naming the first item that is of no allowed kind or not
    of the kind of the first.
    """
    allowed = modalities(modality)
    wanted = " or ".join(_WANTED[kind] for kind in allowed)
    if isinstance(items, (str, bytes, os.PathLike)) or not isinstance(items, (Sequence, np.ndarray)):
        raise ValueError(f"items: got one {type(items).__name__}, wanted a sequence of {wanted}")
    first: str | None = None
    for position, item in enumerate(items):
        kind = next((kind for kind in allowed if _is(item, kind)), None)
        if kind is None:
            raise ValueError(f"items[{position}]: got {_described(item)}, wanted {wanted}")
        if first is not None and kind != first:
            raise ValueError(f"items[{position}]: got {_WANTED[kind]}, wanted {_WANTED[first]} as items[0]")
        first = kind
    return first or allowed[0]


def _is(item: Any, kind: str) -> bool:
    if kind == "text":
        return isinstance(item, str)
    if kind == "clip":
        return is_clip(item)
    if kind == "image+text":
        return isinstance(item, tuple) and len(item) == 2 and _is_image(item[0]) and isinstance(item[1], str)
    return _is_image(item)


def _is_image(item: Any) -> bool:
    if isinstance(item, np.ndarray):
        return item.dtype == np.uint8 and item.ndim == 3 and item.shape[2] in (3, 4) and item.size > 0
    # By shape and not by class: PIL need not be installed, nor imported, to say that something is not a picture.
    return isinstance(item, (Path, bytes)) or (hasattr(item, "convert") and hasattr(item, "getbands"))


def _described(item: Any) -> str:
    if isinstance(item, np.ndarray):
        return f"an array {item.dtype} {list(item.shape)}"
    if isinstance(item, tuple):
        return f"a tuple ({', '.join(type(part).__name__ for part in item)})"
    return type(item).__name__


def opened(kind: str, item: Any, name: str) -> Any:
    """An item of ``kind`` as producers encode it: a text as it is, a picture as an RGB PIL image (beside its text, in a
    pair), a clip as float32 [frames, persons, joints, 3]."""
    if kind == "text":
        return item
    if kind == "clip":
        return clip(item, name)
    return (picture(item[0], name), item[1]) if kind == "image+text" else picture(item, name)


def picture(item: Any, name: str) -> Any:
    """An RGB PIL image of a path, a PIL image, an array or a picture file's bytes, on white where it is transparent.

    The first frame of several. Raises ImportError where Pillow is absent, FileNotFoundError for a path that is not
    there, ValueError naming ``name`` (and the path) for what cannot be read or has over 100 million pixels.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"pictures need Pillow ({error}): pip install 'bebr[models]'") from error
    if isinstance(item, Path):
        name = f"{name}: {item}"
        if not item.exists():
            raise FileNotFoundError(f"{name}: no such file")
        if item.is_dir():
            raise ValueError(f"{name}: got a folder, wanted a picture")
    try:
        if isinstance(item, Path):
            with Image.open(item) as file:
                return _flat(file, name)
        if isinstance(item, bytes):
            import io

            with Image.open(io.BytesIO(item)) as file:
                return _flat(file, name)
        return _flat(Image.fromarray(item) if isinstance(item, np.ndarray) else item, name)
    except PermissionError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # PIL's words for truncated and foreign files
        raise ValueError(f"{name}: not a readable picture ({error}), wanted {', '.join(SUFFIXES)}") from error


def _flat(image: Any, name: str) -> Any:
    width, height = image.size
    if width * height > PIXELS:
        raise ValueError(f"{name}: got {width} x {height} pixels, wanted at most {PIXELS:,}")
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image.copy()
    from PIL import Image

    # Integers of 16 or 32 bits would be clipped to white by the conversion; scale 16 bits, refuse the rest.
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"{name}: got a picture of mode {image.mode!r}, wanted 8 or 16 bits a channel")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
