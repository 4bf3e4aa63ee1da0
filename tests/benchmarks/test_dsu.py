"""The arithmetic of the DSU benchmark and its rule; nothing is trained."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

import bebr
from bebr.models.data.emoji import STYLES
from benchmarks.models import dsu
from benchmarks.models.emoji_tasks import HeldOut
from benchmarks.models.kept import Kept

OPTIONS = argparse.Namespace(seeds=[0, 1, 2], styles=list(STYLES))


def kept(values: dict[str, float], share: float = 1.0, seeds: int = 3) -> Kept:
    """Made-up rows: ``values`` are the arms' mAP, of whose gain codes keep ``share``."""
    made = Kept(None, {}, {}, False)
    for arm, value in values.items():
        for seed in range(seeds):
            for style in STYLES:
                base = 0.3 + 0.01 * seed + 0.002 * len(style)
                row = {"arm": arm, "budget": f"without {style}", "seed": seed, "seconds": 1.0}
                row |= {"unseen": base + value + 0.0001 * seed, "seen": 0.5, "adapted": 0.4}
                made.rows.append(row | {f"bytes_{size}": base + share * value for size in dsu.BYTES})
    return made


@pytest.mark.parametrize(
    ("values", "share", "failed"),
    [
        ({"dsu": 0.1, "plain": 0.0, "mixstyle": 0.05, "noise": 0.02}, 0.95, []),
        (
            {"dsu": 0.1, "plain": 0.0, "mixstyle": 0.15, "noise": 0.02},
            0.95,
            ["mAP, the style left out asks, against mix"],
        ),
        ({"dsu": 0.1, "plain": 0.0, "mixstyle": 0.05, "noise": 0.02}, 0.8, ["codes of 48 bytes keep 0.80"]),
        ({"dsu": 0.1, "plain": 0.0, "mixstyle": 0.05}, 0.95, ["not measured under three seeds: against noise"]),
    ],
)
def test_the_rule_is_that_of_the_docstring(values: dict[str, float], share: float, failed: list[str]) -> None:
    told = dsu.failures(kept(values, share), OPTIONS)
    assert len(told) == len(failed) and all(text.startswith(one) for text, one in zip(told, failed, strict=True))


def test_nothing_passes_in_part() -> None:
    values = {"dsu": 0.1, "plain": 0.0, "mixstyle": 0.05, "noise": 0.02}
    assert len(dsu.failures(kept(values, seeds=2), OPTIONS)) == 3
    told = dsu.failures(kept(values), argparse.Namespace(seeds=[0, 1, 2], styles=["noto"]))
    assert told == ["not measured with each of the four styles left out, but noto"]
    assert len(dsu.failures(kept({"dsu": 0.0, "plain": 0.1, "mixstyle": 0.2, "noise": 0.2}), OPTIONS)) == 4


def test_codes_are_judged_as_floats_are() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 32)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    held = HeldOut({"a": x, "b": x}, None, np.zeros(60, np.int64))
    assert dsu.coded_map(bebr.untrained(32, bytes_per_vector=32), held, "a", ["b"]) > 0.95
    held = HeldOut({"a": x, "b": np.roll(x, 1, 0)}, None, np.zeros(60, np.int64))
    assert dsu.coded_map(bebr.untrained(32, bytes_per_vector=32), held, "a", ["b"]) < 0.3
