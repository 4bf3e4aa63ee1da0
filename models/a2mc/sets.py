"""Labelled clips and their usual splits: Northwestern-UCLA and UTD-MHAD, from the user's own folders.

Neither states a licence: nothing of them is part of bebr, and nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bebr.models.clips import clip

__all__ = ["Clips", "nw_ucla", "utd_mhad"]

_UCLA = re.compile(r"a(?P<label>\d+)_s\d+_e\d+_v(?P<group>\d+)\.json")
_UTD = re.compile(r"a(?P<label>\d+)_s(?P<group>\d+)_t\d+_skeleton\.mat")


@dataclass(frozen=True)
class Clips:
    """``clips[i]`` float32 [frames, persons, joints, 3] in metres, of class ``labels[i]``; ``held_out[i]``: to test
    with. ``what`` says where they are from."""

    what: str
    clips: Sequence[npt.NDArray[np.float32]]
    labels: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.bool_]

    def part(self, held_out: bool) -> tuple[list[npt.NDArray[np.float32]], npt.NDArray[np.int64]]:
        """Clips and labels of one side of the split."""
        rows = np.flatnonzero(self.held_out == held_out)
        return [self.clips[int(row)] for row in rows], self.labels[rows]


def nw_ucla(folder: str | Path) -> Clips:
    """Northwestern-UCLA: files like ``a01_s02_e03_v01.json``, across views: the third is held out."""
    return _found(folder, "NW-UCLA", _UCLA, lambda view: view == 3)


def utd_mhad(folder: str | Path) -> Clips:
    """UTD-MHAD: files like ``a1_s2_t3_skeleton.mat``, across subjects: even ones are held out."""
    return _found(folder, "UTD-MHAD", _UTD, lambda subject: subject % 2 == 0)


def _found(folder: str | Path, what: str, named: re.Pattern[str], held_out: Callable[[int], bool]) -> Clips:
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: {folder}: no such folder; wanted the files of {what}")
    files = [(path, found) for path in sorted(folder.rglob("*")) if (found := named.fullmatch(path.name))]
    if not files:
        raise ValueError(f"folder: {folder}: has no file of {what}, wanted names like {named.pattern}")
    return Clips(
        what,
        [clip(path, what) for path, _ in files],
        np.array([int(found["label"]) for _, found in files]),
        np.array([held_out(int(found["group"])) for _, found in files]),
    )
