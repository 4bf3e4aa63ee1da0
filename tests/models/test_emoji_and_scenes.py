"""Emoji from archives made here, and scenes composed of them: what they say is what their pixels show."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest

from bebr.models.data import emoji, scenes

SQUARE = '<path d="M0 0h{w}v{h}H0z" fill="{fill}"/>'


def icons(colour: str, names: list[str], width: int = 10) -> dict[str, object]:
    """Squares in a package laid out as Iconify's; the second one is half as high as wide."""
    drawn: dict[str, object] = {}
    for place, name in enumerate(names):
        height = width // 2 if place == 1 else width
        drawn[name] = {"body": SQUARE.format(w=width, h=height, fill=colour), "height": height}
    aliases = {"puppy": {"parent": names[0]}, "mirrored": {"parent": names[0], "hFlip": True}}
    return {"icons.json": {"icons": drawn, "aliases": aliases, "width": width, "height": width}}


RECORDS = [
    {"label": "dog face", "hexcode": "1F436", "tags": ["dog", "pet"], "group": 3},
    {"label": "red heart", "hexcode": "2764-FE0F", "tags": ["love"], "group": 0},
    {"label": "cat face", "hexcode": "1F431", "group": 3},
    {"label": "puppy", "hexcode": "1F415", "group": 3},
    {"label": "left hand", "hexcode": "1F91B", "group": 1},
    {"label": "flag", "hexcode": "1F3F4", "group": 9},
    {"label": "regional indicator A", "hexcode": "1F1E6"},
]
CODES = {"1f436": "dog", "2764": "heart", "1f431": "cat", "1f415": "puppy", "1f91b": "mirrored", "1f3f4": "flag"}


@pytest.fixture
def small(package):
    """Arguments of `emoji.load` for two styles: one lacks the cat."""
    one = icons("#ff0000", ["dog", "heart", "cat", "flag"])
    other = icons("#0000ff", ["dog", "heart", "flag"], width=20)
    styles = {
        "red": package("red", {**one, "chars.json": CODES}),
        "blue": package("blue", {**other, "chars.json": CODES}),
    }
    return {"styles": styles, "names": package("names", {"en/data.json": RECORDS})}


def test_the_same_emoji_in_every_style(small):
    pytest.importorskip("resvg_py", reason="resvg-py is absent: pip install 'bebr[data]'")
    with pytest.warns(UserWarning, match="emoji: the source here is not the one"):
        made = emoji.load(16, **small)
    assert [one.key for one in made.emoji] == ["1f415", "1f436", "2764"]
    assert made.emoji[1] == emoji.Emoji("1f436", "dog face", ("dog", "pet"), "animals & nature")
    for style, colour in (("red", [255, 0, 0, 255]), ("blue", [0, 0, 255, 255])):
        pictures = made.pictures[style]
        assert pictures.shape == (3, 16, 16, 4) and pictures.dtype == np.uint8
        assert (pictures[1] == colour).all() and (pictures[0] == pictures[1]).all()
        # twice as wide as high: in the middle, clear above and below
        assert (pictures[2][4:12] == colour).all() and not pictures[2][:4].any() and not pictures[2][12:].any()
    assert sum(map(len, made.split().values())) == 3


def test_rendered_pictures_are_kept_and_sizes_checked(small, monkeypatch):
    pytest.importorskip("resvg_py", reason="resvg-py is absent: pip install 'bebr[data]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = []
        first = emoji.load(16, progress=lambda done, total: seen.append((done, total)), **small)
        assert seen[-1] == (6, 6)
        monkeypatch.setattr(emoji, "render", None)  # a second rendering would fail
        again = emoji.load(16, **small)
    assert np.array_equal(first.pictures["red"], again.pictures["red"]) and first.checksum == again.checksum
    with pytest.raises(ValueError, match="size: got 4, wanted 8 to 512 pixels"):
        emoji.load(4, **small)


# Scenes

NAMES = ["dog face", "red heart", "tooth", "box with lid", "cherries"]


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Discs, each in one colour no ground has, with soft edges."""
    y, x = np.mgrid[:40, :40] - 19.5
    alpha = np.clip((18 - np.hypot(y, x)) * 60 + 128, 0, 255)
    drawn = np.zeros((5, 40, 40, 4), np.uint8)
    drawn[..., 3] = alpha
    drawn[..., :3] = np.array([[255, 0, i] for i in range(5)])[:, None, None]
    return drawn


@pytest.fixture(scope="module")
def made(pictures) -> list[scenes.Scene]:
    return [scenes.compose(pictures, NAMES, number, seed=3) for number in range(40)]


def test_masks_show_exactly_what_is_painted(made):
    for scene in made:
        masks = scene.masks
        assert len(masks) == len(scene.labels) and masks.sum(0).max() == 1  # no two overlap
        for mask, label in zip(masks, scene.labels, strict=True):
            assert (scene.image[mask] == [255, 0, label]).all()
        red = (scene.image[..., 0] == 255) & (scene.image[..., 1] == 0)
        assert np.array_equal(red, masks.any(0))  # and nothing of an object is outside its mask


def test_what_is_less_than_half_opaque_is_not_painted():
    faint = np.full((1, 30, 30, 4), 255, np.uint8)
    faint[0, :15, :, 3], faint[0, 15:, :, 3] = 127, 128
    scene = scenes.compose(faint, ["sheet"], 0, objects=(1, 1))
    left, top, right, bottom = scene.boxes[0]
    assert right - left in (2 * (bottom - top) - 1, 2 * (bottom - top), 2 * (bottom - top) + 1)
    assert (scene.image[scene.masks[0]] == 255).all() and scene.caption == "one sheet"


def test_counts_caption_and_boxes_agree_with_the_masks(made):
    for scene in made:
        assert 3 <= len(scene.labels) <= 6 and scene.masks.any((1, 2)).all()
        assert scene.counts == dict(Counter(scene.labels)) and sum(scene.counts.values()) == len(scene.masks)
        assert set(scene.caption.replace(" and ", ", ").split(", ")) == {
            scenes.counted(count, NAMES[label]) for label, count in scene.counts.items()
        }
        for mask, (left, top, right, bottom) in zip(scene.masks, scene.boxes, strict=True):
            assert mask[top:bottom, left:right].sum() == mask.sum()
            assert mask[top].any() and mask[bottom - 1].any() and mask[:, left].any() and mask[:, right - 1].any()
    assert {len(scene.labels) for scene in made} == {3, 4, 5, 6}
    assert max(max(scene.counts.values()) for scene in made) >= 3


def test_objects_stay_visible(made, pictures):
    shares = []
    for scene in made:
        for mask, (left, top, right, bottom) in zip(scene.masks, scene.boxes, strict=True):
            # a disc that nothing covers fills pi / 4 of its box
            shares.append(mask.sum() / ((right - left) * (bottom - top) * np.pi / 4))
    assert min(shares) > 0.5 and np.mean(np.array(shares) > 0.95) > 0.5


def test_a_scene_is_a_function_of_its_seed_and_number(pictures, made):
    again = scenes.compose(pictures, NAMES, 5, seed=3)
    assert np.array_equal(again.image, made[5].image) and np.array_equal(again.owners, made[5].owners)
    for other in (scenes.compose(pictures, NAMES, 5, seed=4), scenes.compose(pictures, NAMES, 6, seed=3)):
        assert not np.array_equal(other.image, made[5].image)


def test_objects_are_as_large_as_asked(pictures):
    for number in range(20):
        one = scenes.compose(pictures, NAMES, number, objects=(1, 1), sizes=(60, 64)).boxes[0]
        assert 50 <= max(one[2] - one[0], one[3] - one[1]) <= 64  # drawings leave a margin
    assert np.array_equal(
        scenes.compose(pictures, NAMES, 5, sizes=(128 // 5, 128 // 3)).image, scenes.compose(pictures, NAMES, 5).image
    )


@pytest.mark.parametrize(
    ("count", "name", "words"),
    [
        (1, "dog face", "one dog face"),
        (2, "box with lid", "two boxes with lid"),
        (3, "tooth", "three teeth"),
        (2, "man: bald", "two men: bald"),
        (4, "cherries", "four cherries"),
        (2, "bus", "two buses"),
        (2, "glass of milk", "two glasses of milk"),
        (2, "fairy", "two fairies"),
        (2, "monkey", "two monkeys"),
        (13, "fish", "13 fish"),
    ],
)
def test_counting_in_words(count, name, words):
    assert scenes.counted(count, name) == words


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["a"]}, "names: got 1, wanted one for each of 5 pictures"),
        ({"objects": (4, 3)}, r"objects: got \(4, 3\), wanted 1 <= fewest <= most <= 100"),
        ({"kinds": 0}, "kinds, visible, side: got 0"),
        ({"sizes": (9, 129)}, r"sizes: got \(9, 129\), wanted 1 <= least <= most <= side, 128"),
        ({"visible": 0}, "kinds, visible, side: got 3, 0"),
        ({"objects": (90, 90), "visible": 1.0}, "objects: 90 of them find no room on 128 x 128 pixels"),
        ({"pictures": np.zeros((5, 4, 4, 3), np.uint8)}, r"pictures: got uint8 \[5, 4, 4, 3\], wanted uint8"),
    ],
)
def test_bad_arguments_are_named(pictures, change, message):
    with pytest.raises(ValueError, match=message):
        scenes.compose(**{"pictures": pictures, "names": NAMES, "number": 0, **change})


def test_a_set_of_scenes_keeps_to_its_part(cache, pictures):
    named = tuple(emoji.Emoji(f"{i:x}", f"thing {i}", (), "objects") for i in range(60))
    drawn = np.repeat(pictures[:1], 60, axis=0)
    drawn[..., 2] = np.arange(60)[:, None, None]
    styles = {"plain": drawn, "green": drawn.copy()}
    styles["green"][..., 1] = 7
    whole = emoji.EmojiSet(named, styles, 40, "sum")
    made = scenes.load("test", 20, emoji=whole)
    rows = whole.split()["test"]
    assert len(made) == 20 and set(np.unique(made.labels)) - {-1} <= set(rows)
    for number in range(20):
        scene = made[number]
        for mask, label in zip(scene.masks, scene.labels, strict=True):
            assert (scene.image[mask] == [255, 7 * (number % 2), label]).all()
            assert f"thing {label}" in scene.caption or f"thing {label}s" in scene.caption
    assert np.array_equal(scenes.load("test", 20, emoji=whole).images, made.images)
    with pytest.raises(ValueError, match="part: got 'all', wanted one of train, validation, test"):
        scenes.load("all", emoji=whole)
    with pytest.raises(ValueError, match="style: got 'noto', wanted one of plain, green"):
        scenes.load("test", style="noto", emoji=whole)
