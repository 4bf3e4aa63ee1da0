"""The arithmetic of the A2MC benchmark and its rule; nothing is trained."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from benchmarks.models import a2mc
from benchmarks.models.kept import Kept


def kept(values: dict[str, float], seeds: int = 3) -> Kept:
    made = Kept(None, {}, {}, False)
    for arm, value in values.items():
        for seed in range(seeds):
            row = {"arm": arm, "budget": "steps", "seed": seed, "seconds": 1.0}
            made.rows.append(row | dict.fromkeys(a2mc.FIGURES, value + 0.01 * seed + 0.001 * seed * len(arm)))
    return made


@pytest.mark.parametrize(
    ("values", "failed"),
    [
        ({"base": 0.4, "full": 0.5, "attack": 0.5, "noise": 0.4}, []),
        ({"base": 0.6, "full": 0.5, "attack": 0.5, "noise": 0.4}, ["1-NN, full less base"]),
        ({"base": 0.4, "full": 0.5, "attack": 0.4, "noise": 0.4}, ["1-NN, attack less noise"]),
        ({"base": 0.4, "full": 0.5, "attack": 0.5}, ["not measured under three seeds: attack less noise"]),
    ],
)
def test_the_rule_is_that_of_the_docstring(values: dict[str, float], failed: list[str]) -> None:
    told = a2mc.failures(kept(values), [0, 1, 2])
    assert len(told) == len(failed) and all(text.startswith(one) for text, one in zip(told, failed, strict=True))
    assert len(a2mc.failures(kept(values, seeds=2), [0, 1, 2])) == 2


def test_a_set_needs_something_to_ask() -> None:
    options = argparse.Namespace(ucla=None, utd=None, clips=30)
    with pytest.raises(ValueError, match="synthetic: got 30 clips on one side of the split, wanted some on both"):
        a2mc.clips_of(options)


def test_vectors_are_judged_by_their_neighbours_and_by_a_plane() -> None:
    labels = np.arange(40) % 4
    x = (np.eye(4)[labels] + np.random.default_rng(0).normal(0, 0.1, (40, 4))).astype(np.float32)
    assert a2mc.nearest(x[:20], labels[:20], x[20:], labels[20:]) == 1
    assert a2mc.nearest(x[:20], labels[:20], x[20:], (labels[20:] + 1) % 4) == 0
    assert a2mc.linear(x[:20], labels[:20], x[20:], labels[20:]) == 1


def test_clips_are_spoilt_by_noise_or_by_missing_joints() -> None:
    clips = [np.ones((5, 1, 20, 3), np.float32)]
    (trembling,), (missing,) = a2mc.spoilt(clips, 0)
    assert 0.02 < np.std(trembling) < 0.04 and (missing[0, 0, :, 0] == 0).sum() == 6
    assert missing[:, :, :3].all() and clips[0].all()
