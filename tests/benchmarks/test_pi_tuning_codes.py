"""What the command about π-Tuning's codes measures and shows, on vectors of our own: no network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rich.console import Console

import bebr
from bebr.models.data.emoji import STYLES, EmojiSet
from benchmarks.models import pi_tuning_codes
from benchmarks.models.kept import Kept

RNG = np.random.default_rng(0)
ITEMS = RNG.standard_normal((260, 32)).astype(np.float32)


class Turned:
    """A producer of made-up vectors: a picture holds an item's number; ``noise`` sets its styles apart."""

    def __init__(self, noise: float, turn: np.ndarray) -> None:
        self.noise, self.turn = noise, turn

    def embed(self, pictures: list[np.ndarray], batch_size: int) -> np.ndarray:
        numbers = [int(one[0, 0]) for one in pictures]
        x = (ITEMS[numbers] + self.noise * RNG.standard_normal((len(numbers), 32))) @ self.turn
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def data() -> EmojiSet:
    return EmojiSet((), {style: np.arange(260)[:, None, None] for style in STYLES}, 1, "made up")


def test_codes_stand_beside_the_floats_of_both_versions(data: EmojiSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(x: np.ndarray, compatible_with: Any = None, old_vectors: Any = None, **settings: Any) -> Any:
        """A compatible model takes a minute: the old one stands in for it, and finds little by other vectors."""
        assert compatible_with is None or (len(old_vectors) == len(x) == 800 and x is not old_vectors)
        return compatible_with or trained(x, **settings)

    trained = bebr.train
    monkeypatch.setattr(bebr, "train", train)
    monkeypatch.setattr(pi_tuning_codes, "BYTES", (8,))
    turn = np.linalg.qr(RNG.standard_normal((32, 32)))[0]
    producers = {"trunk": Turned(0.1, np.eye(32)), "expert": Turned(3.0, turn)}
    found = pi_tuning_codes.measured(producers, data, range(200), range(200, 260), 0)
    assert found["trunk"]["floats"] > 0.99 > 0.9 > found["expert"]["floats"] > 10 / 60  # noise costs, chance is less
    assert found["trunk"]["8"]["ADC"] > 0.9 and 0 < found["expert"]["8"]["SDC"] < found["trunk"]["8"]["SDC"]
    assert set(found["expert on trunk"]) == {"8"} and found["expert on trunk"]["8"]["ADC"] < 0.4  # by chance .17


def test_what_is_shown_names_every_arm_and_way_of_asking(capsys: pytest.CaptureFixture[str]) -> None:
    kept = Kept(None, {}, {}, False)
    codes = {str(size): {"ADC": 0.25, "SDC": 0.125} for size in pi_tuning_codes.BYTES}
    row = {"trunk": {"floats": 0.5} | codes, "expert": {"floats": 0.5} | codes, "expert on trunk": codes}
    kept.rows.append({"arm": "codes", "budget": pi_tuning_codes.TARGETS[0], "seed": 0, **row})
    pi_tuning_codes.show(kept, Console(width=200), [0, 1])
    told = capsys.readouterr().out
    assert told.count("ADC") == told.count("SDC") == 3 and told.count("0.5000") == 4 and told.count("0.1250") == 9
