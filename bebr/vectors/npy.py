"""NumPy .npy files, mapped or read; never unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read(path: Path, mmap: bool) -> NDArray[Any]:
    """Return the array of a .npy file; read-only when mapped. ValueError for .npz, pickles and damaged files."""
    try:
        # mapped even when a copy is wanted: mapping checks the header against the file's size before allocating
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except PermissionError:
        raise
    except Exception as error:  # a damaged header raises whatever numpy's parser meets: tokenize, overflow, zip
        raise ValueError(f"{path}: not a readable .npy file: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{path}: got an .npz archive, wanted one .npy array")
    return array if mmap else np.array(array)
