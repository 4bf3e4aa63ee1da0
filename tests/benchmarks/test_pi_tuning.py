"""The π-Tuning benchmark's tasks and rule; nothing is trained."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from bebr.models.data.emoji import STYLES, Emoji, EmojiSet
from benchmarks.models import pi_tuning
from benchmarks.models.kept import Kept

OPTIONS = argparse.Namespace(seeds=[0, 1, 2, 3, 4], targets=list(pi_tuning.TARGETS))


def kept(values: dict[str, float], new: float = 0.95, seeds: int = 5) -> Kept:
    """Made-up rows: ``values`` are the arms' accuracy; new queries find ``new`` of what old ones do."""
    made = Kept(None, {}, {}, False)
    for seed in range(seeds):
        for arm, value in values.items():
            for number, target in enumerate(pi_tuning.TARGETS):
                accuracy = value + 0.01 * number + 0.001 * seed * (arm == "top")
                made.rows.append({"arm": arm, "budget": target, "seed": seed, "accuracy": accuracy, "seconds": 1.0})
        name = pi_tuning.VERSION
        made.rows.append({"arm": name, "budget": name, "seed": seed, "old_on_old": 0.6, "new_on_old": 0.6 * new})
    return made


@pytest.mark.parametrize(
    ("values", "new", "failed"),
    [
        ({"single": 0.5, "top": 0.6, "bottom": 0.55, "soup": 0.7}, 0.95, []),
        ({"single": 0.5, "top": 0.6, "bottom": 0.65}, 0.95, ["accuracy of 16 examples a class, against bottom"]),
        ({"single": 0.6, "top": 0.5, "bottom": 0.4}, 0.95, ["accuracy of 16 examples a class, against single"]),
        ({"single": 0.5, "top": 0.6, "bottom": 0.55}, 0.85, ["new queries on old codes of 100 bytes reach 0.850"]),
        ({"single": 0.5, "top": 0.6}, 0.95, ["not measured in 40 paired runs: against bottom (0)"]),
    ],
)
def test_the_rule_is_that_of_the_docstring(values: dict[str, float], new: float, failed: list[str]) -> None:
    told = pi_tuning.failures(kept(values, new), OPTIONS)
    assert len(told) == len(failed) and all(text.startswith(one) for text, one in zip(told, failed, strict=True))


def test_nothing_passes_in_part() -> None:
    values = {"single": 0.5, "top": 0.6, "bottom": 0.55}
    assert len(pi_tuning.failures(kept(values, seeds=4), OPTIONS)) == 2
    assert len(pi_tuning.failures(Kept(None, {}, {}, False), OPTIONS)) == 3


def test_tasks_hold_out_what_they_ask() -> None:
    words = [("a",), ("b", "c"), ("a", "b"), ("d",), ("c",), ("a",), ("b",), ("d",)]
    made = tuple(Emoji(f"{i:x}", f"name {i}", words[i], "one" if i % 2 else "two") for i in range(8))
    pictures = {style: np.full((8, 8, 8, 4), number, np.uint8) for number, style in enumerate(STYLES)}
    found = pi_tuning.tasks(EmojiSet(made, pictures, 8, ""), [0, 1, 2, 3, 4, 5], [6, 7])
    assert len(found) == 12 and set(pi_tuning.TARGETS) < set(found)
    assert found["group/name"].items == [f"name {i}" for i in range(6)] and found["group/name"].right.tolist() == [1, 0]
    assert found["keyword/name"].items == ["name 0", "name 3", "name 4", "name 5"]  # one of the words and no other
    assert found["keyword/name"].labels.tolist() == [0, 3, 2, 0]
    assert [int(one[0, 0, 0]) for one in found["style"].items] == [0, 1, 2, 3, 0, 1]
    items, labels = found["group/noto"].few(0)
    assert len(items) == len(labels) == 6 and sorted(labels.tolist()) == [0, 0, 0, 1, 1, 1]
