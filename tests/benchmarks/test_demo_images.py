"""The demonstration of pictures by phrases, with a tiny network on made-up emoji."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from benchmarks import demo_images
from benchmarks.models.emoji_tasks import SEEN, UNSEEN

pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
image = pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")


@pytest.fixture
def small(monkeypatch):
    from bebr.models.data.emoji import Emoji, EmojiSet
    from bebr.models.rils import config, producer

    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (60, 4, 4, 4), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    emoji = tuple(Emoji(f"{i:04x}", f"thing {i}", (), "things") for i in range(60))
    data = EmojiSet(emoji, {style: pictures for style in (*SEEN, UNSEEN)}, 16, "made up")
    monkeypatch.setattr(demo_images.emoji, "load", lambda: data)
    monkeypatch.setattr(demo_images, "BYTES", 8)
    tiny = config.Config(16, 4, 16, 1, 2, 16, 1, 16, 1, 2, 10, 560, 16)
    fresh = producer.Rils.fresh
    monkeypatch.setattr(producer.Rils, "fresh", lambda texts, seed, device: fresh(texts, tiny, seed, device))
    return data


def test_a_phrase_leaves_a_sheet_of_pictures(small, tmp_path, capsys):
    command = ["--output", str(tmp_path), "--steps", "2", "--query", "thing 3", "Où ?/../x"]
    assert demo_images.main(command) == 0
    out = capsys.readouterr().out
    assert "240 pictures at 8 bytes" in out and "R@10" in out and "train RILS" in out
    for name in ("thing-3.png", "o-x.png"):
        with image.open(tmp_path / name) as sheet:
            assert sheet.size == (8 * 96, 44 + 3 * 110)
    assert len(bebr.open_index(tmp_path / "emoji.bebr")) == 240
    before = (tmp_path / "thing-3.png").read_bytes()
    assert demo_images.main(command) == 0  # the model is kept
    assert "train RILS" not in capsys.readouterr().out and (tmp_path / "thing-3.png").read_bytes() == before


def test_pictures_that_were_not_trained_on_are_framed():
    picture = np.full((16, 16, 4), 255, np.uint8)
    sheet = np.asarray(demo_images.sheet("q", [picture] * 9, ["name"] * 9, [False, True] + [False] * 7))
    orange = (sheet == (255, 140, 0)).all(2)
    assert orange[:, 96:192].any() and not orange[:, :96].any() and not orange[:, 192:].any()
    assert len(sheet) == 44 + 2 * 110


def test_absent_data_are_named(monkeypatch, tmp_path, capsys):
    def gone():
        raise demo_images.MissingSource("emoji: npm has no registry")

    monkeypatch.setattr(demo_images.emoji, "load", gone)
    assert demo_images.main(["--output", str(tmp_path)]) == 1
    assert "emoji: npm has no registry" in capsys.readouterr().out
