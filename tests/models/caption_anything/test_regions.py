"""Caption AnyThing: every port over every adapter, a click to words, regions as rows found by look and by words."""

from __future__ import annotations

import json
import sys
from functools import cache
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import bebr
from bebr.models import Producer

image = pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.caption_anything import (  # noqa: E402
    ByModel,
    ByRules,
    CaptionAnything,
    Controls,
    Figures,
    Flood,
    Line,
    Nearest,
    Outlined,
    Prompt,
)
from bebr.models.caption_anything.looks import Crops, Patches  # noqa: E402
from bebr.models.caption_anything.refiners import keeps_length  # noqa: E402
from bebr.models.caption_anything.regions import box_of, crop, packed, smoothed, unpacked  # noqa: E402
from bebr.models.caption_anything.text import Rapid  # noqa: E402

COLOURS = {"red square": (220, 30, 30), "green square": (30, 200, 40), "blue square": (30, 60, 230)}
PLACES = [(6, 8), (34, 6), (22, 36)]  # left, top; each 20 pixels across


def scene(ground=(128, 128, 128)):
    """Three squares on grey, with a little grain: the picture and their masks."""
    pixels = np.full((64, 64, 3), ground, np.int16) + np.random.default_rng(0).integers(0, 5, (64, 64, 1))
    masks = np.zeros((3, 64, 64), bool)
    for mask, (left, top), colour in zip(masks, PLACES, COLOURS.values(), strict=True):
        mask[top : top + 20, left : left + 20] = True
        pixels[mask] = colour
    return image.fromarray(pixels.astype(np.uint8)), masks


class Means(Producer):
    """The mean colour without white, and how much of the picture is not white."""

    name, version, dim, metric, modality = "means", "1", 4, "cosine", "image"

    def encode(self, kind, batch):
        out = []
        for picture in batch:
            pixels = np.asarray(picture, np.float32).reshape(-1, 3)
            shown = pixels[pixels.min(1) < 250]
            out.append(np.r_[shown.mean(0) - 100 if len(shown) else np.zeros(3), 10])
        return np.array(out, np.float32)


class Letters(Producer):
    """Counts of letters."""

    name, version, dim, metric, modality = "letters", "1", 26, "cosine", "text"

    def encode(self, kind, batch):
        return np.array([[text.count(chr(97 + i)) + 0.01 for i in range(26)] for text in batch], np.float32)


@cache  # to train a binarizer takes seconds
def captioner():
    shown = [np.full((9, 9, 3), colour, np.uint8) for colour in COLOURS.values()]
    return Nearest.of(Means(), shown * 4, list(COLOURS) * 4, 4)


def assembled(**options):
    return CaptionAnything(Flood(), captioner(), Crops(Means()), Letters(), **options)


# Segmenters


def segmenters():
    return [Flood(), Outlined(Flood(), steps=40), Figures()]


@pytest.fixture(params=[0, 1, 2], ids=["flood", "outlined", "figures"])
def segmenter(request):
    if request.param == 1:
        torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
        torch.set_num_threads(1)
    return segmenters()[request.param]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_segmenters_keep_their_port(segmenter):
    picture, masks = scene()
    for prompt in (Prompt([(16, 18)]), Prompt(box=(6, 8, 26, 28)), Prompt([(16, 18), (45, 16)], [True, False])):
        found = segmenter(picture, prompt)
        assert found.dtype == bool and found.shape == (1, 64, 64) and iou(found[0], masks[0]) > 0.75
    everything = segmenter(picture, Prompt())
    assert len(everything) == 3 and everything.any((1, 2)).all()
    assert sorted(int(np.argmax([iou(one, mask) for mask in masks])) for one in everything) == [0, 1, 2]
    for prompt in (Prompt([(64, 3)]), Prompt(box=(70, 0, 90, 5))):
        with pytest.raises(ValueError, match=r"points\[0\]|box"):
            segmenter(picture, prompt)
    assert segmenter.name and len({one.name for one in segmenters()}) == 3
    assert len(segmenter(image.new("RGB", (30, 20), "white"), Prompt())) == 0  # nothing is there


def test_a_click_takes_what_hangs_together():
    picture, masks = scene()
    pixels = np.array(picture)
    pixels[40:60, 2:12] = COLOURS["red square"]  # another red thing, apart
    found = Flood(brush=1)(image.fromarray(pixels), Prompt([(16, 18)]))[0]
    assert np.array_equal(found, masks[0])
    two = Flood(brush=1)(image.fromarray(pixels), Prompt([(16, 18), (5, 50)]))[0]
    assert two.sum() == found.sum() + 200
    beside = Prompt([(50, 50)], [False], box=(30, 2, 64, 30))
    assert iou(Flood(brush=1)(picture, beside)[0], masks[1]) > 0.9


def test_figures_are_whole_before_any_slow_ground():
    y, x = np.mgrid[:60, :80]
    pixels = np.stack([60 + x, 60 + 2 * y, 200 - x - y], 2) + np.random.default_rng(0).normal(0, 5, (60, 80, 1))
    gold = np.zeros((2, 60, 80), bool)
    gold[0, 10:30, 8:30], gold[1, 30:52, 40:70] = True, True
    pixels[gold[0]], pixels[gold[1]] = (250, 20, 20), (20, 20, 20)
    pixels[14:20, 12:20], pixels[40:52, 55:70] = (20, 250, 20), (250, 250, 250)  # objects of two colours
    picture = image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    figures = Figures()
    found = figures(picture, Prompt())
    assert len(found) == 2 and iou(found[0], gold[1]) > 0.95 and iou(found[1], gold[0]) > 0.95
    assert np.array_equal(figures(picture, Prompt([(15, 16)]))[0], found[1])
    assert np.array_equal(figures(picture, Prompt([(15, 16), (60, 45)]))[0], found.any(0))
    ground = figures(picture, Prompt([(2, 2)]))[0]
    assert iou(ground, ~gold.any(0)) > 0.95
    half = figures(picture, Prompt([(10, 20), (28, 20)], [True, False]))[0]
    assert half[20, 10:19].all() and not half[20, 21:].any()
    assert np.array_equal(figures(picture, Prompt(box=(30, 20, 80, 60)))[0], found[0])
    assert figures(picture, Prompt([(60, 45)], [False], box=(30, 20, 80, 60)))[0].sum() == 50 * 40  # nothing is left
    with pytest.raises(ValueError, match="tolerance, brush, knots, least_area: got"):
        Figures(knots=1)


def test_prompts_say_what_they_lack():
    assert Prompt().everything and Prompt([(1, 1)]).labels == (True,)
    for options, told in (
        ({"points": [(1, 1)], "labels": [True, True]}, "labels: got 2, wanted one for each of 1"),
        ({"points": [(1, 1)], "labels": [False]}, "labels: all points lie off the object"),
        ({"box": (3, 3, 3, 8)}, "box: got"),
    ):
        with pytest.raises(ValueError, match=told):
            Prompt(**options)


# Masks


def test_masks_are_packed_as_coco_counts():
    mask = np.array([[0, 1, 1], [0, 0, 1]], bool)
    assert packed(mask) == {"size": [2, 3], "counts": [2, 1, 1, 2]}
    random = np.random.default_rng(1)
    for shape in ((1, 1), (5, 4), (3, 9)):
        for one in (random.random(shape) > 0.5, np.ones(shape, bool), np.zeros(shape, bool)):
            assert np.array_equal(unpacked(json.loads(json.dumps(packed(one)))), one)
    with pytest.raises(ValueError, match="rle: counts 3 pixels"):
        unpacked({"size": [2, 2], "counts": [3]})


def test_smoothing_takes_specks_and_holes():
    mask = np.zeros((20, 20), bool)
    mask[4:16, 4:16] = True
    rough = mask.copy()
    rough[9, 9], rough[1, 1] = False, True
    for side in (2, 3):
        assert np.array_equal(smoothed(rough, side), mask)
    assert np.array_equal(smoothed(rough, 1), rough)
    speck = np.zeros((9, 9), bool)
    speck[4, 4] = True
    assert np.array_equal(smoothed(speck), speck)  # better than nothing


def test_crops_are_painted_or_kept():
    picture, masks = scene()
    mask = masks[0].copy()
    mask[8:10, 6:8] = False
    white, inside = crop(picture, mask)
    kept, _ = crop(picture, mask, "kept")
    assert white.size == kept.size == (20, 20) and box_of(mask) == (6, 8, 26, 28)
    assert np.asarray(white)[0, 0].tolist() == [255] * 3 and np.asarray(kept)[0, 0].tolist() == [220, 30, 30]
    assert inside.shape == (20, 20) and not inside[0, 0]
    with pytest.raises(ValueError, match="background: got 'black'"):
        crop(picture, mask, "black")
    with pytest.raises(ValueError, match="mask: is empty"):
        crop(picture, mask & False)


# Captioners, refiners, readers of text


def test_the_nearest_captioned_picture_has_the_words():
    named = captioner()
    picture, masks = scene()
    for mask, name in zip(masks, COLOURS, strict=True):
        text, score = named(*crop(picture, mask))
        assert text == name and 0.5 < score <= 1.01
    with pytest.raises(ValueError, match="captions: got 2"):
        Nearest.of(Means(), [np.zeros((4, 4, 3), np.uint8)], ["a", "b"], 4)


class Model:
    """Answers in turns, and keeps what it was asked."""

    name = "model"

    def __init__(self, *replies):
        self.replies, self.asked = list(replies), []

    def complete(self, prompt, n=1):
        self.asked.append(prompt)
        return [self.replies.pop(0)]


def refiners():
    return [ByRules(), ByModel(Model(*["one two three four five six"] * 9))]


@pytest.mark.parametrize("refiner", refiners(), ids=["rules", "model"])
def test_refiners_keep_their_port(refiner):
    for length in (5, 6, 7):
        text = refiner("a red square", Controls(length=length))
        assert keeps_length(text, length) and "\n" not in text
    assert isinstance(refiner("a red square", Controls()), str)


def test_rules_keep_each_control_or_refuse():
    rules = ByRules()
    assert rules("a red square", Controls()) == "a red square"
    assert rules("a red square", Controls(length=2)) == "a red"
    assert len(rules("square", Controls(length=50)).split()) == 50
    assert rules("red square", Controls(sentiment="positive")) != rules("red square", Controls(sentiment="negative"))
    for options in ({"language": "French"}, {"imagination": True}, {"factuality": True}):
        with pytest.raises(ValueError, match="it takes a language model"):
            rules("red square", Controls(**options))
    for options in ({"length": 0}, {"sentiment": "angry"}):
        with pytest.raises(ValueError, match=r"(length|sentiment): got"):
            Controls(**options)


def test_a_model_is_told_each_control_and_asked_again():
    model = Model('"Un carré\n rouge"', "x", "one two three four")
    refiner = ByModel(model)
    controls = Controls(sentiment="positive", language="French", factuality=True)
    assert refiner("red square", controls) == "Un carré rouge"
    (asked,) = model.asked
    assert all(word in asked for word in ("red square", "French", "positive", "Invent no details", "generally known"))
    assert refiner("red square", Controls(length=4)) == "one two three four"
    assert "has 1 words" in model.asked[-1] and "Use 4 words" in model.asked[-1]
    never = ByModel(Model("a", "a b c", "a b"), tries=3)
    assert never("red square", Controls(length=9)) == "a b c"  # the nearest


def test_text_is_read_by_a_package(monkeypatch):
    class RapidOCR:
        def __call__(self, pixels):
            assert pixels.shape == (64, 64, 3)
            corners = [[4, 30], [20, 30], [20, 36], [4, 36]]
            return [
                (corners, "below", 0.9),
                ([[y, x] for x, y in corners], "above", 0.8),
                (corners, "doubtful", 0.1),
            ], 0

    package = ModuleType("rapidocr_onnxruntime")
    package.RapidOCR = RapidOCR
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", package)
    lines = Rapid()(scene()[0])
    assert [line.text for line in lines] == ["above", "below"] and lines[1].box == (4, 30, 20, 36)
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)
    with pytest.raises(ImportError, match="pip install rapidocr-onnxruntime"):
        Rapid()


# All of it


def test_click_get_words():
    cat = assembled(reader=lambda picture: [Line("here", (8, 9, 12, 11), 0.9), Line("there", (40, 8, 44, 12), 0.9)])
    picture, masks = scene()
    (region,) = cat.say(picture, Prompt([(16, 18)]), Controls(sentiment="positive"))
    assert (region.caption, region.text) == ("red square", "lovely red square")
    assert [line.text for line in region.lines] == ["here"] and np.array_equal(region.mask, masks[0])
    assert region.box == (6, 8, 26, 28)


def test_regions_are_rows_found_by_look_and_by_words():
    pictures = [np.asarray(scene(ground)[0]) for ground in ((128, 128, 128), (90, 110, 100))]
    cats = {vector: assembled(vector=vector) for vector in ("look", "words", "look+words")}
    assert {name: cat.dim for name, cat in cats.items()} == {"look": 4, "words": 26, "look+words": 30}
    assert len({cat.version for cat in cats.values()}) == 3
    for name, cat in cats.items():
        found = cat.objects(pictures)
        assert found.of.tolist() == [0, 0, 0, 1, 1, 1] and np.allclose(np.linalg.norm(found.vectors, axis=1), 1)
        assert json.loads(json.dumps(found.facts)) == list(found.facts)
        index = bebr.FlatIndex(bebr.untrained(cat.dim, bytes_per_vector=cat.dim + 2, metric="cosine"))
        index.add(found.vectors)
        for colour, text in zip(COLOURS.values(), COLOURS, strict=True):
            asked = np.full((8, 8, 3), colour, np.uint8)
            query = Letters().embed([text]) if name == "words" else cat.embed([asked])
            ids = index.search(query, 2).ids[0]
            assert [found.facts[i]["caption"] for i in ids] == [text, text]
            assert unpacked(found.facts[ids[0]]["mask"]).sum() > 300


def test_parts_that_do_not_fit_are_refused():
    picture, _ = scene()
    assert len(assembled(most=2).objects([picture])) == 2 and len(assembled(least_area=900).objects([picture])) == 0
    for options, told in (({"vector": "smell"}, "vector: got"), ({"most": 0}, "least_area, most: got")):
        with pytest.raises(ValueError, match=told):
            assembled(**options)
    with pytest.raises(ValueError, match="words: means takes image"):
        CaptionAnything(Flood(), captioner(), Crops(Means()), Means())
    cat = assembled()
    wrong = type("Wrong", (), {"name": "wrong", "__call__": lambda self, picture, prompt: np.ones((1, 3, 3), bool)})()
    cat.segmenter = wrong
    with pytest.raises(ValueError, match=r"wrong: got bool \[1, 3, 3\], wanted bool \[n, 64, 64\]"):
        cat.objects([picture])


def test_patches_are_pooled_under_the_mask():
    tokens = np.arange(32, dtype=np.float32).reshape(1, 16, 2)
    look = Patches(SimpleNamespace(name="gvt", version="1", dim=2, tokens=lambda pictures: tokens))
    mask = np.zeros((1, 8, 8), bool)
    mask[0, :2, :4] = True  # the first two of four by four patches
    mask[0, 2, 0] = True  # and a quarter of one below
    wanted = (4 * tokens[0, 0] + 4 * tokens[0, 1] + tokens[0, 4]) / 9
    assert np.allclose(look(scene()[0], mask)[0], wanted / np.linalg.norm(wanted))
    assert look(scene()[0], mask[:0]).shape == (0, 2)
