"""Made-up skeleton clips with labels: bodies of 20 joints that move by drawn courses of their joints' angles.

No motion of people. They stand in where real sets, which state no licence, are not at hand; every figure measured on
them has to say so. A class is a course of angles of the spine, arms and legs; a subject has bone lengths, a pace and a
reach of its own; a clip begins anywhere in the course, is seen from any side and trembles.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bebr.models.a2mc.sets import Clips
from bebr.models.a2mc.skeleton import SKELETONS

__all__ = ["made"]

_LENGTHS = {1: 0.25, 2: 0.28, 3: 0.2, **{joint: 0.18 for joint in (4, 8)}, **{joint: 0.27 for joint in (5, 9)}}
_LENGTHS |= {6: 0.25, 10: 0.25, 7: 0.08, 11: 0.08, 12: 0.1, 16: 0.1, 13: 0.42, 17: 0.42, 14: 0.4, 18: 0.4}
_LENGTHS |= {15: 0.12, 19: 0.12}
_SIDEWAYS, _DOWN, _FORWARD = {4: -1, 8: 1, 12: -1, 16: 1}, (5, 6, 7, 9, 10, 11, 13, 14, 17, 18), (15, 19)
_MOVING = (1, 2, 5, 6, 9, 10, 13, 14, 17, 18)
_KNOTS = 5


def made(count: int, classes: int = 20, subjects: int = 10, noise: float = 0.01, seed: int = 0) -> Clips:
    """``count`` clips of 30 to 60 frames, y up, classes and subjects in turn; the last third of the subjects is held
    out. ``noise``: metres by which joints tremble. The same for every machine.

    ValueError below one clip, class or subject.
    """
    if min(count, classes, subjects) < 1:
        raise ValueError(f"count, classes, subjects: got {count}, {classes}, {subjects}, wanted at least 1 of each")
    random = np.random.default_rng(seed)
    courses = random.normal(0, 0.6, (classes, _KNOTS, len(_MOVING), 2))
    lengths = np.exp(random.normal(0, 0.12, (subjects, 20)))
    pace, reach = np.exp(random.normal(0, 0.2, subjects)), np.exp(random.normal(0, 0.15, subjects))
    labels = np.arange(count) % classes
    owners = np.arange(count) // classes % subjects
    clips = []
    for label, subject in zip(labels, owners, strict=True):
        frames = int(random.integers(30, 61))
        at = random.random() + np.arange(frames) / 45 * pace[subject]
        clip = _posed(_course(courses[label], at) * reach[subject], lengths[subject])
        yaw = random.uniform(-np.pi, np.pi)
        c, s = np.cos(yaw), np.sin(yaw)
        clip = clip @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) + random.normal(0, 1, 3) + [0, 0, 3]
        clips.append((clip + random.normal(0, noise, clip.shape)).astype(np.float32)[:, None])
    return Clips("synthetic", clips, labels, owners >= subjects - subjects // 3)


def _course(knots: npt.NDArray[np.float64], at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Angles at the times ``at``, in rounds: through the knots by halves of a cosine."""
    place = (at % 1) * len(knots)
    before = place.astype(np.int64) % len(knots)
    share = (1 - np.cos(np.pi * (place - np.floor(place)))) / 2
    share = share[:, None, None]
    return np.asarray(knots[before] * (1 - share) + knots[(before + 1) % len(knots)] * share)


def _posed(angles: npt.NDArray[np.float64], lengths: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Joints [frames, 20, 3] of bones turned by ``angles`` [frames, moving bones, 2]: forwards, then sideways."""
    frames = len(angles)
    out = np.zeros((frames, 20, 3))
    turned = [np.broadcast_to(np.eye(3), (frames, 3, 3))] * 20
    for joint, parent in SKELETONS["kinect"].bones:
        turn = turned[parent]
        if joint in _MOVING:
            forwards, sideways = angles[:, _MOVING.index(joint)].T
            turn = turn @ _about(0, forwards) @ _about(2, sideways)
        turned[joint] = turn
        direction = np.array([_SIDEWAYS.get(joint, 0), 0, 0], float)
        if joint in _DOWN:
            direction[1] = -1
        elif joint in _FORWARD:
            direction[2] = 1
        elif joint not in _SIDEWAYS:
            direction[1] = 1
        out[:, joint] = out[:, parent] + turn @ direction * (_LENGTHS[joint] * lengths[joint])
    return out


def _about(axis: int, angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    a, b = (axis + 1) % 3, (axis + 2) % 3
    out = np.tile(np.eye(3), (len(angles), 1, 1))
    out[:, a, a] = out[:, b, b] = np.cos(angles)
    out[:, a, b], out[:, b, a] = -np.sin(angles), np.sin(angles)
    return out
