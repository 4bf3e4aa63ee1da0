"""The Caption AnyThing benchmark's figures and rule, and one pass through all of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import bebr
from bebr.models import Producer
from bebr.models.data.emoji import Emoji, EmojiSet

pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
pytest.importorskip("PIL", reason="Pillow is absent: pip install 'bebr[models]'")

from benchmarks.models import caption_anything


class Codes(Producer):
    """A vector of its own for each text."""

    name, version, dim, metric, modality = "codes", "1", 16, "cosine", "text"

    def encode(self, kind, batch):
        seeds = [sum(text.encode()) for text in batch]
        return np.stack([np.random.default_rng(seed).standard_normal(16) for seed in seeds]).astype(np.float32)


def untrained(x, bytes_per_vector, metric, rounds=1, seed=0):
    return bebr.untrained(x.shape[1], bytes_per_vector=bytes_per_vector, metric=metric, seed=seed)


@pytest.fixture
def data():
    """Discs of one colour each, in all styles the same."""
    groups = ["animals & nature", "objects"]
    emoji = tuple(Emoji(f"{i:x}", f"thing {i}", (), groups[i % 2]) for i in range(120))
    random = np.random.default_rng(0)
    drawings = np.zeros((120, 16, 16, 4), np.uint8)
    drawings[..., :3] = random.integers(0, 256, (120, 1, 1, 3), dtype=np.uint8)
    y, x = np.mgrid[:16, :16] - 7.5
    drawings[:, np.hypot(x, y) < 8, 3] = 255
    return EmojiSet(emoji, dict.fromkeys(caption_anything.STYLES, drawings), 16, "none")


def test_a_pass_through_all_of_it(data, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(caption_anything, "emoji", SimpleNamespace(load=lambda: data))
    monkeypatch.setattr(caption_anything, "load", lambda name: Codes())
    monkeypatch.setattr(caption_anything, "Outlined", lambda first: first)
    monkeypatch.setattr(caption_anything, "BYTES", (16,))
    monkeypatch.setattr(caption_anything.bebr, "train", untrained)  # training takes seconds each time
    out = tmp_path / "a.json"
    asked = ["--seeds", "0", "--scenes", "3", "--outlined", "1", "--json", str(out)]
    assert caption_anything.main(asked) == 1
    told = capsys.readouterr().out
    assert "1 seeds, wanted at least 3" in told
    monkeypatch.setattr(caption_anything, "kinds_of", lambda *_: pytest.fail("what the file holds is measured again"))
    assert caption_anything.main(asked) == 1
    assert capsys.readouterr().out.endswith(told[told.index("figure") :])


def row(mask, box, whole, found, chance=0.1, kept=1.0):
    arms = dict(zip(caption_anything.ARMS, (mask, box, whole), strict=True))
    return {**arms, "length kept": kept, "search": {"chance": chance, "words": {"floats": found}}}


def test_the_rule():
    right = [row(0.9, 0.5, 0.1, 0.8), row(0.91, 0.52, 0.1, 0.8), row(0.92, 0.51, 0.1, 0.81)]
    assert caption_anything.failures(right) == []
    wrong = [row(0.5, 0.9, 0.95, 0.1, kept=0.9)] * 2
    told = caption_anything.failures(wrong)
    assert len(told) == 5 and told[-2:] == ["a refined caption misses its length", "2 seeds, wanted at least 3"]


def test_a_click_lies_far_inside():
    mask = np.zeros((9, 9), bool)
    mask[1:8, 2:7] = True
    column, row_ = caption_anything._deepest(mask)
    assert column == 4 and 3 <= row_ <= 5
