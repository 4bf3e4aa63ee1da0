"""Skeletons: which joint hangs on which, what is left and right, how a body is turned. No torch here.

``ntu``     the 25 joints of NTU RGB+D, a Kinect of the second kind
``kinect``  the 20 joints of a Kinect of the first kind, in the order of Northwestern-UCLA. UTD-MHAD has the same joints
            in another order, and its files are brought into this one when they are read (``models/clips.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["SKELETONS", "Skeleton"]


@dataclass(frozen=True)
class Skeleton:
    """``parents[j]`` is the joint that j hangs on, itself for the root. ``sides`` are pairs of a joint and its mirror
    image. ``centre`` lies at the origin after preparing, the ``spine`` (from, to) points along z, ``shoulders`` (from,
    to) along x."""

    parents: tuple[int, ...]
    sides: tuple[tuple[int, int], ...]
    centre: int
    spine: tuple[int, int]
    shoulders: tuple[int, int]

    @property
    def joints(self) -> int:
        """How many there are."""
        return len(self.parents)

    @property
    def bones(self) -> list[tuple[int, int]]:
        """Joint and what it hangs on."""
        return [(joint, parent) for joint, parent in enumerate(self.parents) if joint != parent]

    @cached_property
    def mirrored(self) -> list[int]:
        """Joint j of a mirrored body is this joint of the body."""
        order = list(range(self.joints))
        for left, right in self.sides:
            order[left], order[right] = right, left
        return order

    @cached_property
    def neighbours(self) -> list[list[int]]:
        """The joints that share a bone with each."""
        out: list[list[int]] = [[] for _ in self.parents]
        for joint, parent in self.bones:
            out[joint].append(parent)
            out[parent].append(joint)
        return out

    def adjacency(self) -> npt.NDArray[np.float32]:
        """[3, joints, joints]: the identity, inward bones (row parent, column joint) and outward ones (row joint,
        column parent), columns divided by their sums."""
        out = np.zeros((3, self.joints, self.joints), np.float32)
        out[0] = np.eye(self.joints)
        for joint, parent in self.bones:
            out[1, parent, joint] = out[2, joint, parent] = 1
        sums = out.sum(1, keepdims=True)
        return np.divide(out, sums, out=np.zeros_like(out), where=sums > 0)


_ARMS_AND_LEGS = ((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19))
SKELETONS: Mapping[str, Skeleton] = {
    "ntu": Skeleton(
        (1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 22, 7, 24, 11),
        (*_ARMS_AND_LEGS, (21, 23), (22, 24)),
        centre=1,
        spine=(0, 1),
        shoulders=(4, 8),
    ),
    "kinect": Skeleton(
        (0, 0, 1, 2, 2, 4, 5, 6, 2, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18),
        _ARMS_AND_LEGS,
        centre=1,
        spine=(0, 1),
        shoulders=(4, 8),
    ),
}
