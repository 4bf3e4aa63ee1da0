"""The BoxSnake benchmark's figures and rule, and one pass through both of its forms; the experiment takes minutes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import bebr
from bebr.models.data.emoji import Emoji, EmojiSet
from bebr.models.data.scenes import Scene

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
pytest.importorskip("PIL", reason="Pillow is absent: pip install 'bebr[models]'")

from benchmarks.models import boxsnake  # noqa: E402
from benchmarks.models.paired import difference  # noqa: E402


def scene(seed):
    """Two squares, one red and one green, on grey."""
    image = np.full((128, 128, 3), 128, np.uint8)
    image += np.random.default_rng(seed).integers(0, 3, image.shape).astype(np.uint8)
    owners = np.zeros((128, 128), np.uint8)
    for number, (at, colour) in enumerate(((20, [200, 0, 0]), (70, [0, 200, 0])), 1):
        owners[at : at + 30, at : at + 30] = number
        image[at : at + 30, at : at + 30] = colour
    return Scene(image, owners, (5, 6), "")


def untrained(x, bytes_per_vector, metric, seed=0):
    return bebr.untrained(x.shape[1], bytes_per_vector=bytes_per_vector, metric=metric, seed=seed)


@pytest.fixture(autouse=True)
def _small(monkeypatch, one_thread):
    monkeypatch.setattr(boxsnake, "BYTES", (16,))
    monkeypatch.setattr(boxsnake, "GRID", 8)
    monkeypatch.setattr(boxsnake.bebr, "train", untrained)  # training takes seconds each time


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_figures_are_what_they_say():
    objects = boxsnake.Objects([scene(0), scene(1)])
    assert objects.boxes[0].tolist() == [20, 20, 50, 50] and objects.of.tolist() == [0, 0, 1, 1]
    assert boxsnake.overlap(objects.boxed(), objects.masks) == boxsnake.outline_match(objects.masks, objects.masks) == 1
    moved = np.roll(objects.masks, 10, 1)
    assert boxsnake.overlap(moved, objects.masks) == pytest.approx(0.5)
    assert boxsnake.outline_match(moved, objects.masks) < 0.9
    vectors = boxsnake.colours(objects, objects.masks)
    found = boxsnake.retrieval(vectors, objects, 0)
    assert found["floats"] == 1  # the red one finds the red one of the other scene
    assert boxsnake.precision(-vectors @ vectors.T, objects) == 0.5  # ... or the green one first


def test_the_rule():
    better, same, worse = (
        difference([1, 1.1, 1.2], [0, 0, 0]),
        difference([1, 2, 3], [2, 2, 2]),
        difference([0] * 3, [1, 1.1, 1]),
    )
    assert boxsnake.failures({"a": better, "b": same, "c": better}) == []
    told = boxsnake.failures({"a": same, "b": worse, "c": worse})
    assert [line.rsplit(", ", 1)[1] for line in told] == ["wanted better", "wanted better", "wanted not worse"]
    assert boxsnake.failures(dict.fromkeys("abc", difference([2], [1])))[-1] == "1 seeds, wanted at least 3"


@pytest.mark.parametrize("form", ["direct", "network"])
def test_a_pass_through_all_of_it(form, monkeypatch, tmp_path):
    groups = ["animals & nature", "objects"]
    emoji = tuple(Emoji(f"{i:x}", f"thing {i}", (), groups[i % 2]) for i in range(120))
    random = np.random.default_rng(0)
    drawings = random.integers(0, 256, (120, 1, 1, 4), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    drawings[..., 3] = 255
    data = EmojiSet(emoji, dict.fromkeys(boxsnake.STYLES, drawings), 8, "none")
    monkeypatch.setattr(boxsnake, "emoji", SimpleNamespace(load=lambda: data))
    small = ["--seeds", "0", "--scenes", "6", "--known", "9", "--steps", "1", "--json", str(tmp_path / "a.json")]
    assert boxsnake.main(["--form", form, *small]) == 1  # one seed proves nothing
    assert (tmp_path / "a.json").is_file()
