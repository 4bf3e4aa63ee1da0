"""The arithmetic of the RILS benchmark, its file, and one pass through all of it; the experiment itself takes hours."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

import bebr
from benchmarks.models import emoji_tasks, rils
from benchmarks.models.emoji_tasks import SEEN, UNSEEN, HeldOut
from benchmarks.models.paired import difference, spread

RNG = np.random.default_rng(0)


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def held(noise: float, count: int = 60, dims: int = 32) -> HeldOut:
    """Vectors of a common content each, off it by ``noise`` in each style and in the name; groups share a part."""
    groups = np.arange(count) % 3
    content = RNG.standard_normal((count, dims)) + 2 * RNG.standard_normal((3, dims))[groups]
    drawn = {style: unit(content + noise * RNG.standard_normal(content.shape)) for style in (*SEEN, UNSEEN)}
    return HeldOut(drawn, unit(content + noise * RNG.standard_normal(content.shape)), groups)


# Tasks


def test_ranks_count_ties_as_lost() -> None:
    same = np.ones((4, 2), np.float32)
    assert emoji_tasks.ranks(same, same).tolist() == [4] * 4
    own = np.eye(4, dtype=np.float32)
    assert emoji_tasks.ranks(own, own).tolist() == [1] * 4
    assert emoji_tasks.ranks(own, own[::-1]).tolist() == [4] * 4  # three zeros score as high as the right one's


def test_near_vectors_are_found_and_random_ones_are_not() -> None:
    near, far = held(0.1), held(1e3)
    assert emoji_tasks.found(near, SEEN, 1) == 1 and emoji_tasks.cross_style(near, SEEN, SEEN) == 1
    assert 0.05 < emoji_tasks.found(far, SEEN, 10) < 0.35  # by chance 1 / 6
    assert emoji_tasks.cross_style(far, [UNSEEN], SEEN) < 0.2
    assert np.isnan(emoji_tasks.found(HeldOut(near.pictures, None, near.groups), SEEN, 1))


def test_few_shots_name_groups() -> None:
    assert emoji_tasks.few_shot(held(0.1), SEEN, 0) > 0.9
    assert 0.25 < emoji_tasks.few_shot(held(1e3), [UNSEEN], 0) < 0.42  # by chance 1 / 3
    assert emoji_tasks.few_shot(near := held(0.5), SEEN, 1) == emoji_tasks.few_shot(near, SEEN, 1)
    with pytest.raises(ValueError, match="one has 5 emoji or fewer held out"):
        emoji_tasks.few_shot(held(0.1, count=15), SEEN, 0)


@pytest.mark.parametrize("query", ["float", "code"])
def test_codes_are_measured_on_shuffled_galleries(query: str) -> None:
    near = held(0.1)
    model = bebr.train(np.concatenate(list(near.pictures.values())), bytes_per_vector=24, metric="cosine")
    figures = emoji_tasks.coded(near, model, query)
    assert figures["r10"] == 1 and min(figures.values()) > 0.9
    assert emoji_tasks.coded(held(1e3), model, query)["r1"] < 0.1


# Intervals


def test_an_interval_is_students() -> None:
    found = difference([0.5, 0.6, 0.7], [0.4, 0.4, 0.4])
    half = 4.303 * 0.1 / np.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    assert found.verdict == "undecided" and difference([1, 1.1, 1.2], [0, 0, 0]).verdict == "better"
    assert difference([0, 0, 0], [1, 1.1, 1.2]).verdict == "worse"
    assert difference([1], [0]).verdict == "undecided"  # one pair says nothing
    assert spread([0.1, 0.2]) == "0.1500 ± 0.0707" and spread([0.1]) == "0.1000"
    with pytest.raises(ValueError, match="got 2 and 1 figures"):
        difference([1, 2], [1])


# The rule and the file


def rows(seed: int, **gains: float) -> list[dict[str, object]]:
    """RILS at .5 in everything, CLIP and MAE less what ``gains`` says; a little more with each seed."""
    out = []
    for arm, budget in (
        ("rils", "steps"),
        *((arm, budget) for arm in ("clip", "mae") for budget in ("steps", "seconds")),
    ):
        figures = {name: 0.5 + 0.01 * seed for name in rils.FIGURES}
        if arm != "rils":
            figures = {name: value - gains[arm] - 0.001 * seed for name, value in figures.items()}
        out.append({"arm": arm, "budget": budget, "seed": seed, "steps": 5, "seconds": 1.0, **figures})
    return out


@pytest.mark.parametrize(
    ("gains", "failed"),
    [
        ({"clip": 0.05, "mae": 0.1}, 0),
        ({"clip": -0.001, "mae": 0.1}, 0),  # not worse is enough against CLIP
        ({"clip": -0.05, "mae": 0.1}, 6),
        ({"clip": 0.05, "mae": -0.001}, 4),  # undecided is not better
    ],
)
def test_the_rule_is_that_of_the_docstring(gains: dict[str, float], failed: int) -> None:
    kept = rils.Kept(None, {}, {}, fresh=False)
    kept.rows = [row for seed in range(3) for row in rows(seed, **gains)]
    assert len(rils.failures(list(rils.compared(kept, [0, 1, 2])))) == failed
    told = rils.failures(list(rils.compared(kept, [0, 1])))
    assert len(told) == 10 and told[0].startswith("not measured under three seeds: 5-shot groups")


@pytest.fixture
def emoji_of(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Ninety made-up emoji of three groups in four styles; a tiny network; codes of one size."""
    from bebr.models.data.emoji import Emoji, EmojiSet
    from bebr.models.rils import config, producer

    pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
    colours = RNG.integers(0, 256, (90, 4, 4, 4), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    colours[..., 3] = 255
    emoji = tuple(Emoji(f"{i:04x}", f"thing {i}", ("word",), f"group {i % 3}") for i in range(90))
    data = EmojiSet(emoji, {style: colours for style in (*SEEN, UNSEEN)}, 16, "made up")
    monkeypatch.setattr(rils.emoji, "load", lambda: data)
    # a fifth of ninety would leave five of a group
    monkeypatch.setattr(emoji_tasks, "split", split := lambda data, seed: (list(range(45)), list(range(45, 90))))
    monkeypatch.setattr(rils, "split", split)
    monkeypatch.setattr(rils, "BYTES", (8,))
    tiny = config.Config(16, 4, 16, 1, 2, 16, 1, 16, 1, 2, 10, 560, 16)
    fresh = producer.Rils.fresh
    monkeypatch.setattr(producer.Rils, "fresh", lambda texts, seed, device: fresh(texts, tiny, seed, device))
    return SimpleNamespace(data=data)


def test_a_run_goes_on_from_its_file(emoji_of: SimpleNamespace, tmp_path, capsys, monkeypatch) -> None:
    path = tmp_path / "rils.json"
    command = ["--steps", "2", "--batch", "8", "--json", str(path)]
    assert rils.main([*command, "--seeds", "0"]) == 1  # one seed decides nothing
    first = json.loads(path.read_text())
    assert [(row["arm"], row["budget"]) for row in first["rows"]] == [
        *(("rils", "steps"), ("clip", "steps"), ("clip", "seconds"), ("mae", "steps"), ("mae", "seconds"))
    ]
    for row in first["rows"]:
        assert 0 <= row["probe"] <= 1 and ("r10" in row) == ("codes" in row) == (row["arm"] != "mae")
    speeds = first["seconds_per_step"]
    assert first["rows"][4]["steps"] == max(1, round(2 * speeds["rils"] / speeds["mae"]))
    assert rils.main([*command, "--seeds", "0", "1"]) == 1
    second = json.loads(path.read_text())
    assert second["rows"][:5] == first["rows"] and [row["seed"] for row in second["rows"][5:]] == [1] * 5
    assert rils.main([*command, "--arms", "rils", "mae+clip", "--seeds", "0"]) == 1  # an arm that comes later
    third = json.loads(path.read_text())
    assert third["rows"][:10] == second["rows"] and [row["arm"] for row in third["rows"][10:]] == ["mae+clip"] * 2
    assert {arm: third["seconds_per_step"][arm] for arm in speeds} == speeds
    assert "not a reproduction" in capsys.readouterr().out
    assert rils.main([*command[:1], "3", *command[2:]]) == 1
    assert "measured under other conditions" in capsys.readouterr().out
    assert json.loads(path.read_text()) == third
    assert rils.main([*command[:1], "3", *command[2:], "--seeds", "5", "--budgets", "steps", "--fresh"]) == 1
    assert [row["seed"] for row in json.loads(path.read_text())["rows"]] == [5] * 3


def test_the_same_seed_gives_the_same_figures(emoji_of: SimpleNamespace, tmp_path) -> None:
    found = []
    for name in ("a.json", "b.json"):
        rils.main(
            [
                *("--steps", "2", "--batch", "8", "--seeds", "3", "--budgets", "steps", "--start", "0.5"),
                *("--arms", "rils", "mae", "--json", str(tmp_path / name)),
            ]
        )
        kept = json.loads((tmp_path / name).read_text())
        held, speeds = kept["rows"], kept["seconds_per_step"]
        assert rils.rils_speed(SimpleNamespace(speeds=speeds), 0.5) == (speeds["rils"] + speeds["clip"]) / 2
        found.append([{k: v for k, v in row.items() if "seconds" not in k and k != "time"} for row in held])
    assert found[0] == found[1]
