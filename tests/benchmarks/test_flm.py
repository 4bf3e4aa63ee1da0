"""The arithmetic of the FLM benchmark, and one pass through all of it; the experiment itself takes twenty minutes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.models import flm, flm_tasks

RNG = np.random.default_rng(0)


def row(arm: str, seed: int, accuracy: list[float], pace: float = 1.0) -> dict[str, object]:
    """A curve with a point every ten steps, each step ``pace`` seconds."""
    steps = [10 * (i + 1) for i in range(len(accuracy))]
    return {"arm": arm, "seed": seed, "steps": steps, "seconds": [pace * x for x in steps], "accuracy": accuracy}


# The rule


def test_the_target_is_nine_tenths_of_the_best_and_the_first_point_there_counts() -> None:
    rows = [row("FLM", 0, [0.2, 0.6, 0.5]), row("MLM-15", 0, [0.1, 0.2, 0.3, 0.8], 0.5), row("MLM-40", 0, [0.1] * 3)]
    assert flm.targets(rows) == {0: pytest.approx(0.72)}
    assert flm.reached(rows[1], 0.72) == (40, 20.0, True) and flm.reached(rows[0], 0.6) == (20, 20.0, True)
    assert flm.reached(rows[0], 0.72) == (30, 30.0, False)  # below throughout: all it had
    assert flm.at(rows[1], "steps", 30) == 0.3 and flm.at(rows[1], "seconds", 20) == 0.8


def arms(seed: int, steps: int, pace: float) -> list[dict[str, object]]:
    """FLM is there after 10 steps or so, the others after ``steps`` tens, at ``pace`` of its time a step."""
    late = [0.1] * (steps - 1) + [0.9] * (6 - steps)
    return [row("FLM", seed, [0.9] * 5), *(row(arm, seed, late, pace + 0.01 * seed) for arm in ("MLM-15", "MLM-40"))]


def test_an_arm_slower_than_the_budget_counts_by_its_first_point() -> None:
    row = {"seconds": [3.0, 5.0, 7.0], "accuracy": [0.1, 0.2, 0.3]}
    assert [flm.at(row, "seconds", most) for most in (9.0, 5.0, 4.0, 2.0)] == [0.3, 0.2, 0.1, 0.1]


@pytest.mark.parametrize(
    ("steps", "pace", "failed"),
    [(4, 1.0, 0), (4, 0.2, 2), (1, 0.5, 4)],  # sooner in both; sooner in steps alone; in neither
)
def test_the_rule_is_that_of_the_docstring(steps: int, pace: float, failed: int) -> None:
    rows = [one for seed in range(3) for one in arms(seed, steps, pace)]
    assert len(flm.failures(rows)) == failed
    gaps = {(arm, what): gap for arm, what, gap in flm.compared(rows)}
    assert gaps["MLM-40", "log2 of steps to the target"].mean == pytest.approx(np.log2(steps))
    told = flm.failures([one for seed in range(2) for one in arms(seed, steps, pace)])
    assert len(told) == 4 and told[0].startswith("not measured under three seeds: log2 of steps")


def test_an_flm_that_stays_below_fails() -> None:
    rows = [one for seed in range(3) for one in arms(seed, 4, 1.0)]
    rows[0]["accuracy"] = [0.1] * 5
    assert flm.failures(rows)[0] == "FLM stays below 0.810 under seed 0"


# Tasks


def test_scenes_are_compared_by_what_they_show() -> None:
    one, two, three = {0: 2, 1: 1}, {1: 1, 0: 2}, {0: 1, 4: 2}
    assert flm_tasks.same([one], [two, three]).tolist() == [[True, False]]
    assert flm_tasks.overlap([one], [two, three]).tolist() == [[1.0, pytest.approx(1 / 5)]]


@pytest.fixture
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty made-up emoji with names of a word, an eye of a few patches and codes of one size."""
    from bebr.models.data.emoji import STYLES, Emoji, EmojiSet
    from bebr.models.flm import config

    pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
    pytest.importorskip("tokenizers", reason="tokenizers is absent: pip install 'bebr[models]'")
    colours = RNG.integers(0, 256, (40, 4, 4, 4), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    colours[..., 3] = 255
    names = [chr(97 + i // 26) + chr(97 + i % 26) + "thing" for i in range(40)]
    emoji = tuple(Emoji(f"{i:04x}", name, (), "objects") for i, name in enumerate(names))
    monkeypatch.setattr(flm.emoji, "load", lambda: EmojiSet(emoji, dict.fromkeys(STYLES, colours), 16, "made up"))
    monkeypatch.setattr(flm_tasks, "BYTES", (8,))
    tiny = config.Config(64, 32, 16, 1, 2, 1, 1, 2, 400, 34, 32, 0.0, True, True)
    monkeypatch.setitem(config.SIZES, "tiny", tiny)


ROUNDS = "--steps 4 --every 2 --batch 8 --eyes 1 --ranking 1"
SIZES = "--scenes 160 --asked 6 --gallery 110 --queries 3"


def test_one_pass_through_all_of_it(small_world: None, tmp_path, capsys) -> None:
    found = []
    for name in ("a.json", "b.json"):
        assert (
            flm.main([*ROUNDS.split(), *SIZES.split(), "--seeds", "5", "--json", str(tmp_path / name)]) == 1
        )  # one seed decides nothing
        found.append(json.loads((tmp_path / name).read_text()))
    rows = found[0]["rows"]
    assert [row["arm"] for row in rows] == ["FLM", "MLM-15", "MLM-40"]
    assert rows[0]["steps"] == [2, 4] and all(row["seconds"][-1] >= rows[0]["seconds"][-1] for row in rows[1:])
    assert all(row["steps"][-1] >= 4 and 0 <= min(row["accuracy"]) <= 1 for row in rows)
    assert set(rows[0]["pairs"]) == {"floats", "chance", "ADC, 8", "SDC, 8"} == set(rows[0]["pairs_ranked"])
    assert rows[0]["pairs"]["floats"]["recall"] == 1 and 0 <= rows[0]["likelihood"]["r10_after"] <= 1
    again = found[1]["rows"]
    for figure in ("accuracy", "pairs", "pairs_ranked"):  # the same seed, the same figures
        assert rows[0][figure] == again[0][figure]
    assert rows[1]["accuracy"][:2] == again[1]["accuracy"][:2]
    told = capsys.readouterr().out
    assert "not measured under three seeds" in told and "not a reproduction" in told


def test_arms_that_hide_tokens_may_have_batches_and_a_rate_of_their_own(small_world: None, monkeypatch) -> None:
    from bebr.models.flm import training

    given = []

    def fit(*settings, watch, **_) -> None:
        given.append((settings[2], settings[4], settings[5]))
        watch(4, 1.0)

    monkeypatch.setattr(training, "fit", fit)
    own = "--seeds 5 --mlm-batch 16 --rate 0.001 --mlm-rate 0.002 --ranking 0"
    assert flm.main([*ROUNDS.split(), *SIZES.split(), *own.split()]) == 1
    assert given == [("flm", 8, 0.001), ("mlm", 16, 0.002), ("mlm", 16, 0.002)]
