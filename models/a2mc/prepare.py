"""A clip brought to where every clip begins: no empty frames, one body in the middle, upright, facing one way."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bebr.models.a2mc.skeleton import Skeleton

__all__ = ["prepared", "resampled", "turning"]

Clip = npt.NDArray[np.float32]
_MIDDLE = 0.95


def turning(source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The matrix that turns the direction ``source`` to ``target``, both [3], by the shortest way; the identity where
    one of them has no length. Rows of points are turned by ``points @ matrix.T``."""
    lengths = np.linalg.norm(source), np.linalg.norm(target)
    if min(lengths) < 1e-6:
        return np.eye(3)
    a, b = source / lengths[0], target / lengths[1]
    axis, cosine = np.cross(a, b), float(a @ b)
    if cosine < -1 + 1e-9:  # half a turn, about any axis across
        across = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
        across /= np.linalg.norm(across)
        return 2 * np.outer(across, across) - np.eye(3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turned: npt.NDArray[np.float64] = np.eye(3) + cross + cross @ cross / (1 + cosine)
    return turned


def prepared(clip: Clip, skeleton: Skeleton, persons: int) -> Clip:
    """float32 [frames, persons, joints, 3] of any number of persons to ``persons`` of them.

    A body's frame that is all zeros is taken from the one before (from the first that is not, at the start); a body
    that has none stays zeros, and so do bodies that are not there. Those beyond ``persons`` are left out. The first
    body's ``centre`` in its first frame becomes the origin, its spine then points along z and its shoulders along x:
    one turn after the other, as published. ValueError for another number of joints.
    """
    if clip.shape[2] != skeleton.joints:
        raise ValueError(f"clip: got {clip.shape[2]} joints, wanted {skeleton.joints}")
    out = np.zeros((len(clip), persons, skeleton.joints, 3), np.float64)
    there = clip[:, :persons].astype(np.float64)
    shown = np.asarray((there != 0).any((2, 3)))  # [frames, persons]
    for person in range(there.shape[1]):
        frames = np.flatnonzero(shown[:, person])
        if len(frames):
            last = np.maximum(np.searchsorted(frames, np.arange(len(clip)), side="right") - 1, 0)
            out[:, person] = there[frames[last], person]
    real = np.asarray((out != 0).any((0, 2, 3)))
    if not real[0]:
        return out.astype(np.float32)
    out[:, real] -= out[0, 0, skeleton.centre]
    for (start, end), axis in ((skeleton.spine, 2), (skeleton.shoulders, 0)):
        out = out @ turning(out[0, 0, end] - out[0, 0, start], np.eye(3)[axis]).T
    return out.astype(np.float32)


def resampled(clip: Clip, frames: int, start: float = (1 - _MIDDLE) / 2, share: float = _MIDDLE) -> Clip:
    """``frames`` frames of the part of a clip that begins at the share ``start`` of it and is ``share`` long, by
    straight lines between its frames. By default the middle 95%: what is embedded."""
    last = len(clip) - 1
    at = np.clip(last * (start + share * np.linspace(0, 1, frames)), 0, last)
    before = np.minimum(at.astype(np.int64), max(0, last - 1))
    after = np.minimum(before + 1, last)
    weight = (at - before)[:, None, None, None]
    return np.asarray(clip[before] * (1 - weight) + clip[after] * weight, np.float32)
