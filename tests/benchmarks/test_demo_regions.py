"""The demonstration of regions, with made-up emoji and a made-up producer of texts."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr.models import Producer

pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
image = pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.data.emoji import Emoji, EmojiSet  # noqa: E402
from benchmarks import demo_regions, sheets  # noqa: E402
from benchmarks.models.emoji_tasks import SEEN, UNSEEN  # noqa: E402


class Codes(Producer):
    """A vector of its own for each text."""

    name, version, dim, metric, modality = "codes", "1", 16, "cosine", "text"

    def encode(self, kind, batch):
        seeds = [sum(text.encode()) for text in batch]
        return np.stack([np.random.default_rng(seed).standard_normal(16) for seed in seeds]).astype(np.float32)


@pytest.fixture
def small(monkeypatch):
    """Discs with a bar across, of two bright colours each, in all styles the same."""
    emoji = tuple(Emoji(f"{i:x}", f"thing {i}", (), ("animals & nature", "objects")[i % 2]) for i in range(8))
    drawings = np.zeros((8, 32, 32, 4), np.uint8)
    y, x = np.mgrid[:32, :32] - 15.5
    for i, drawing in enumerate(drawings):
        drawing[..., :3] = 255 * np.array([i & 1, i >> 1 & 1, i >> 2], np.uint8)
        drawing[8 : 10 + i, :, :3] = 255 - drawing[0, 0, :3]
        drawing[..., 3] = 255 * (np.hypot(x, y) < 15)
    data = EmojiSet(emoji, dict.fromkeys((*SEEN, UNSEEN), drawings), 32, "made up")
    monkeypatch.setattr(demo_regions.emoji, "load", lambda: data)
    monkeypatch.setattr(demo_regions, "load", lambda name: Codes())


def test_words_and_looks_find_regions(small, tmp_path, capsys):
    command = ["--output", str(tmp_path), "--scenes", "3", "--kinds", "4", "--query", "thing 3", "other"]
    assert demo_regions.main(command) == 0
    out = capsys.readouterr().out
    assert "a click at" in out and "thing 3 → thing" in out and "a drawing of: thing" in out
    with image.open(tmp_path / "found.png") as found, image.open(tmp_path / "scenes.png") as scenes:
        assert found.width > 900 and found.height > 2 * 128 and scenes.width == 3 * 328 + 8
    assert 8 < len(bebr.open_index(tmp_path / "regions.bebr")) <= 21
    assert f"{len(bebr.open_index(tmp_path / 'regions.bebr'))} regions at" in out


def test_absent_data_are_named(monkeypatch, tmp_path, capsys):
    def gone():
        raise demo_regions.MissingSource("emoji: npm has no registry")

    monkeypatch.setattr(demo_regions.emoji, "load", gone)
    assert demo_regions.main(["--output", str(tmp_path)]) == 1
    assert "emoji: npm has no registry" in capsys.readouterr().out


def test_edges_and_close_ups():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 3:8] = True
    assert sheets.edge(mask).sum() == 16 and not sheets.edge(mask)[3:6, 4:7].any()
    mask[:, :] = True
    assert sheets.edge(mask).sum() == 32
    scene, corner = np.full((60, 60, 3), 128, np.uint8), np.zeros((60, 60), bool)
    corner[:10, 50:] = True
    shown = np.asarray(sheets.close_up(scene, corner, True))
    assert shown.shape == (104, 104, 3) and (shown == sheets.RIGHT).all(2).any() and (shown[-1, 0] == 128).all()
    words = np.asarray(sheets.outlined(scene, [(corner, "a thing", False)]))
    assert words.shape == (120, 120, 3) and (words == sheets.WRONG).all(2).any()
