"""How a clip is changed in training: two views of one, each drawn for itself.

A part of the clip in time, then, each with chance 1/2: a turn, a mirrored body, a shear, joints that are hidden, times
that are hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bebr.models.a2mc.prepare import Clip, resampled
from bebr.models.a2mc.skeleton import Skeleton

__all__ = ["hidden_joints", "view", "views"]

_CHANCE = 0.5
_TURN, _TILT = np.radians(30), np.radians(1)
_SHEAR = 1.0
_JOINTS = 0.32  # 8 of 25
_CHUNKS, _HIDDEN_CHUNKS = 16, 6
_LEAST_SHARE = 0.1


def views(
    clips: Sequence[Clip], frames: int, least: int, skeleton: Skeleton, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A view of each clip, [n, persons, frames, joints, 3]; ``least``: the fewest frames of it that one shows."""
    return np.stack([view(clip, frames, least, skeleton, random).transpose(1, 0, 2, 3) for clip in clips])


def view(clip: Clip, frames: int, least: int, skeleton: Skeleton, random: np.random.Generator) -> Clip:
    """A view of one clip, [frames, persons, joints, 3]."""
    share = random.uniform(min(1.0, max(_LEAST_SHARE, least / len(clip))), 1)
    x = resampled(clip, frames, random.uniform(0, 1 - share), share)
    turn, mirror, shear, joints, times = random.random(5) < _CHANCE
    matrix = np.eye(3, dtype=np.float32)
    if turn:
        matrix = matrix @ _turned(random)
    if mirror:  # the other hand does it (ours: the published code exchanges the sides' names alone)
        x = x[:, :, skeleton.mirrored]
        matrix = matrix @ np.diag([-1, 1, 1]).astype(np.float32)
    if shear:
        slanted = random.uniform(-_SHEAR, _SHEAR, (3, 3)).astype(np.float32)
        np.fill_diagonal(slanted, 1)
        matrix = matrix @ slanted
    x = x @ matrix
    if joints:
        x[:, :, hidden_joints(skeleton, round(_JOINTS * skeleton.joints), random)] = 0
    if times:
        chunks = random.choice(_CHUNKS, _HIDDEN_CHUNKS, replace=False)
        x[np.isin(np.arange(frames) * _CHUNKS // frames, chunks)] = 0
    return x


def hidden_joints(skeleton: Skeleton, count: int, random: np.random.Generator) -> list[int]:
    """``count`` joints that hang together: one, and then a neighbour of those there are, again and again."""
    chosen = [int(random.integers(skeleton.joints))]
    while len(chosen) < count:
        edge = sorted({near for joint in chosen for near in skeleton.neighbours[joint]} - set(chosen))
        chosen.append(edge[int(random.integers(len(edge)))])
    return chosen


def _turned(random: np.random.Generator) -> npt.NDArray[np.float32]:
    """About one axis by up to 30 degrees, about the others by up to one."""
    angles = random.uniform(0, _TILT, 3)
    angles[random.integers(3)] = random.uniform(0, _TURN)
    out = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        out = out @ one
    return out.astype(np.float32)
