"""Pictures on the producers' pages: each is drawn, small; things have names and colours."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
image = pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models import Producer  # noqa: E402
from benchmarks import producer_pictures, shapes, sheets  # noqa: E402


class Words(Producer):
    """Of texts; nothing here looks at them."""

    name, version, dim, metric, modality = "words", "1", 2, "cosine", "text"

    def encode(self, kind, batch):
        return np.ones((len(batch), 2), np.float32)


def test_things_are_drawn_in_their_colours():
    pictures, names = shapes.drawings(24)
    assert pictures.shape == (len(names), 24, 24, 4) and len(set(names)) == len(names)
    assert not (pictures[:, 0, 0, 3]).any() and pictures[:, 12, 12, 3].min() == 255  # things lie in the middle
    red, blue = (pictures[names.index(f"{colour} star"), 12, 12, :3].astype(int) for colour in ("red", "blue"))
    assert red[0] > red[2] + 100 and blue[2] > blue[0] + 100
    assert np.array_equal(pictures, shapes.drawings(24)[0]) and not np.array_equal(pictures, shapes.drawings(24, 1)[0])


def test_every_picture_is_drawn(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(producer_pictures, "load", lambda name: Words())
    monkeypatch.setattr(producer_pictures, "BOXED", 1)
    monkeypatch.setattr(producer_pictures, "NAMED", 1)
    monkeypatch.setattr("bebr.models.a2mc.training.fit", lambda *_, **__: None)  # has tests of its own
    assert producer_pictures.main(["--output", str(tmp_path), "--steps", "1", "--clips", "60"]) == 0
    assert "a2mc.png: " in capsys.readouterr().out
    sizes = {}
    for name in producer_pictures.PICTURES:
        with image.open(tmp_path / f"{name}.png") as drawn:
            sizes[name] = drawn.size
            assert len(drawn.getcolors()) > 2
        assert (tmp_path / f"{name}.png").stat().st_size < 200_000
    assert sizes == {"boxsnake": (4 * 328 + 8, 336), "caption-anything": (336, 336), "a2mc": (956, 376)}


def test_a_body_stands_upright_in_its_frame():
    clip = np.zeros((6, 20, 3))
    clip[:, :, 2] = np.linspace(1, -1, 20)
    for right, colour in ((True, sheets.RIGHT), (False, sheets.WRONG), (None, (0, 0, 0))):
        cell = np.asarray(producer_pictures.body(clip, right))
        assert tuple(cell[0, 0]) == colour
        lines = (cell[4:-4, 4:-4] == 0).all(2).any(0)
        assert lines.sum() == 5  # frames, a line each


def test_an_unknown_picture_is_named(capsys):
    with pytest.raises(SystemExit):
        producer_pictures.main(["dsu2"])
    assert "dsu2: wanted some of boxsnake, caption-anything, a2mc" in capsys.readouterr().err
