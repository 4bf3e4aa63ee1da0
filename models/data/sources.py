"""Where sets come from and where they are kept; what is said when a source is not what was measured."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.models.files import replacing

__all__ = ["EXPECTED", "MissingSource", "checksum", "folder", "kept", "verified"]

# Checksums of the sources that the published figures were measured on. apt's lists change by the day: they have none.
EXPECTED: dict[str, str] = {
    "emoji": "597860afdaaa0ddd954d2216a30f235bac3f6ce9169c6ecfeb3f48d6bd048f81",
    "openclipart": "0c238276648b39a717fd88e32370d2c75f750d7cfb3abfa521e0076a2747608a",  # 1:0.18+dfsg-19
    "wordnet": "4397a2879529e11426683f69c0ed208e7d4409abfe661106d9a24d84d65ceffa",  # 1:3.0-39
}


class MissingSource(RuntimeError):
    """A data set's source is not here; the message names the package, file or setting that brings it."""


def folder() -> Path:
    """The folder of built sets, ``$BEBR_DATA`` or ``~/.cache/bebr``, made on first use."""
    path = Path(os.environ.get("BEBR_DATA") or Path.home() / ".cache" / "bebr").expanduser()
    path.mkdir(parents=True, exist_ok=True)
    return path


def checksum(parts: Iterable[str | bytes]) -> str:
    """SHA-256 over texts or bytes, each with its length, so that boundaries count."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode()
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


def verified(name: str, found: str) -> str:
    """``found``, after a warning where it is not the checksum that figures for ``name`` were published on."""
    if name in EXPECTED and found != EXPECTED[name]:
        warnings.warn(
            f"{name}: the source here is not the one the published figures were measured on "
            f"(checksum {found[:16]}, expected {EXPECTED[name][:16]}); figures may differ",
            stacklevel=3,
        )
    return found


def kept(stem: str, make: Callable[[], Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """Arrays called ``stem``, mapped from the cache, or made by ``make()`` and put there.

    Beside them lies a record of their checksums, which is verified whenever they are read: ValueError naming the file
    that does not hold.
    """
    record = folder() / f"{stem}.json"
    if not record.is_file():
        # in C order, as checksums are taken and arrays come back
        made = {part: np.ascontiguousarray(array) for part, array in make().items()}
        for part, array in made.items():
            with replacing(folder() / f"{stem}.{part}.npy") as temporary, temporary.open("wb") as file:
                np.save(file, array)
        sums = {part: hashlib.sha256(array.data).hexdigest() for part, array in made.items()}
        with replacing(record) as temporary:  # last: its presence says that the arrays are whole
            temporary.write_text(json.dumps(sums, indent=1) + "\n")
    arrays = {}
    for part, wanted in json.loads(record.read_text()).items():
        path = folder() / f"{stem}.{part}.npy"
        if not path.is_file():
            raise ValueError(f"{path}: is gone, but {record.name} lists it: delete that to build the set again")
        arrays[part] = np.load(path, mmap_mode="r")
        found = hashlib.sha256(arrays[part]).hexdigest()
        if found != wanted:
            raise ValueError(
                f"{path}: checksum {found[:16]}, recorded {wanted[:16]}: delete {record.name} to build the set again"
            )
    return arrays
