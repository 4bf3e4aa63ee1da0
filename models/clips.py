"""Skeleton clips as items: arrays, and the files that hold one clip each.

A clip is float [frames, joints, 3] of one body or [frames, persons, joints, 3] of several, in metres.

``.npy``   such an array
``.json``  a clip of Northwestern-UCLA: an object whose ``skeletons`` are [frames, 20, 3]
``.mat``   a clip of UTD-MHAD: ``d_skel``, [20, 3, frames]; its joints are brought into the order of the former
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SUFFIXES", "UTD_ORDER", "clip", "is_clip"]

SUFFIXES = (".json", ".mat", ".npy")
UTD_ORDER = (3, 2, 1, 0, *range(4, 20))
"""Joint i of Northwestern-UCLA is this joint of UTD-MHAD, whose first four are head, shoulders, spine, hips."""
_FRAMES = 100_000  # more than half an hour, and 100 MB: refused

Clip = npt.NDArray[np.float32]


def is_clip(item: Any) -> bool:
    """Whether ``item`` is a path, or an array of a clip's type and shape."""
    if isinstance(item, np.ndarray):
        return item.dtype.kind == "f" and item.ndim in (3, 4) and item.shape[-1] == 3 and item.size > 0
    return isinstance(item, Path)


def clip(item: Any, name: str) -> Clip:
    """An array or a file as float32 [frames, persons, joints, 3].

    Raises FileNotFoundError, and ValueError naming ``name`` (and the path) for what is no clip, is not finite or has
    over 100,000 frames; ImportError where a ``.mat`` needs SciPy and it is not there.
    """
    array = item
    if isinstance(item, Path):
        name = f"{name}: {item}"
        if not item.exists():
            raise FileNotFoundError(f"{name}: no such file")
        array = _read(item, name)
    if not (isinstance(array, np.ndarray) and is_clip(array)):
        got = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name}: got {got}, wanted floats [frames, joints, 3] or [frames, persons, joints, 3]")
    if len(array) > _FRAMES:
        raise ValueError(f"{name}: got {len(array):,} frames, wanted at most {_FRAMES:,}")
    made = np.asarray(array if array.ndim == 4 else array[:, None], np.float32)
    if not np.isfinite(made).all():
        raise ValueError(f"{name}: holds numbers that are not finite")
    return made


def _read(path: Path, name: str) -> Any:
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{name}: got suffix '{path.suffix}', wanted {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".json":
            return np.asarray(json.loads(path.read_text())["skeletons"], np.float64)
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise ValueError(f"{name}: not a readable clip: {error}") from error
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise ImportError(f"{name}: .mat files need SciPy ({error}): pip install 'bebr[models]'") from error
    try:
        held = loadmat(path, variable_names=["d_skel"])["d_skel"]
    except (MatReadError, ValueError, KeyError, TypeError, EOFError, NotImplementedError) as error:
        raise ValueError(f"{name}: not a readable clip: {error}") from error
    if held.ndim != 3 or held.shape[:2] != (20, 3):
        raise ValueError(f"{name}: got d_skel {list(held.shape)}, wanted [20, 3, frames]")
    return np.asarray(held, np.float64).transpose(2, 0, 1)[:, UTD_ORDER]
