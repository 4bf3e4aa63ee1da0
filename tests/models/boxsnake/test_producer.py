"""BoxSnake as a producer: files key by key, pictures to objects, boxes of the detector, training on boxes alone."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from bebr import models
from bebr.models import weights

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
image = pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.boxsnake.config import SIZES, Config, manifest  # noqa: E402
from bebr.models.boxsnake.data import Boxed  # noqa: E402
from bebr.models.boxsnake.decoder import Places, logit, places, points  # noqa: E402
from bebr.models.boxsnake.detector import anchors, deltas, iou, kept, moved  # noqa: E402
from bebr.models.boxsnake.network import Network  # noqa: E402
from bebr.models.boxsnake.producer import BoxSnake, pooled, prepared  # noqa: E402
from bebr.models.boxsnake.training import fit  # noqa: E402

SMALL = Config(64, 96, 14, 4, True, 16, 16, 3, 12, 9, 2, 4, 2, 20)
HEAD = "roi_heads.mask_head."


@pytest.fixture(autouse=True)
def _quick(one_thread):
    pass


def generated(config, seed=0):
    """Seeded numbers under the manifest's keys; norms as trained ones have them."""
    random = np.random.default_rng(seed)
    state = {}
    for key, shape in manifest(config).items():
        values = random.normal(0, 0.1, shape)
        if key.endswith((".running_var", "norm.weight")) or (".norm" in key and key.endswith("weight")):
            values = 1 + abs(values)
        state[key] = torch.from_numpy(np.asarray(values, np.float32))
    return state


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("boxsnake") / "own"
    weights.save(path, generated(SMALL), {**SMALL.to_json(), "producer": "boxsnake"})
    return path


def pictures(count):
    random = np.random.default_rng(7)
    return [random.integers(0, 256, (70, 64 + 9 * i, 3), dtype=np.uint8) for i in range(count)]


# Files


def test_the_manifest_is_the_network_at_every_size():
    for config in (SMALL, replace(SMALL, classes=0), *SIZES.values()):
        with torch.device("meta"):
            state = Network(config).state_dict()
        assert {key: tuple(value.shape) for key, value in state.items()} == manifest(config)
    published = manifest(SIZES["r50"])
    assert published["roi_heads.box_head.fc1.weight"] == (1024, 12544)
    assert published["roi_heads.box_predictor.bbox_pred.weight"] == (320, 1024)
    assert published[f"{HEAD}decoder.layers.3.cross_attn.sampling_offsets.weight"] == (256, 256)
    assert published[f"{HEAD}decoder.layers.0.cross_attn.attention_weights.weight"] == (128, 256)
    assert published["backbone.bottom_up.res5.2.conv3.weight"] == (2048, 512, 1, 1)


def test_released_files_are_training_files(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "r50", SMALL)  # the published size, small: its files are large
    state = generated(SMALL)
    twice = {key.replace("mask_head.xy", "mask_head.decoder.xy"): one for key, one in state.items() if ".xy_" in key}
    more = {"pixel_mean": torch.zeros(3, 1, 1), f"{HEAD}rasterize_at": torch.full((8, 2), 64)}
    torch.save({"model": {**state, **twice, **more}, "iteration": 90000}, tmp_path / "released.pth")
    producer = models.load("boxsnake", weights=tmp_path / "released.pth", size="r50")
    assert producer.version == models.load("boxsnake", weights=folder).version
    producer.save(tmp_path / "copy")
    assert models.load("boxsnake", weights=tmp_path / "copy").version == producer.version
    with pytest.raises(ValueError, match=r"size: .* has no config.json: give r50 or r101"):
        models.load("boxsnake", weights=tmp_path / "released.pth")
    other = next(iter(twice))
    torch.save({"model": {**state, **twice, other: twice[other] + 1}}, tmp_path / "differs.pth")
    with pytest.raises(ValueError, match=r"differs from .*of which it should be a copy"):
        models.load("boxsnake", weights=tmp_path / "differs.pth", size="r50")
    state.pop("backbone.fpn_output2.bias")
    torch.save({"model": state}, tmp_path / "less.pth")
    with pytest.raises(ValueError, match=r"1 missing: backbone.fpn_output2.bias"):
        models.load("boxsnake", weights=tmp_path / "less.pth", size="r50")


# Parts of the network


def test_boxes_move_there_and_back():
    (first, second) = anchors([(2, 3), (1, 2)], 16, torch.zeros(1))
    assert first.shape == (18, 4) and second.shape == (6, 4)
    assert first[1].tolist() == [-8, -8, 8, 8] and first[4].tolist() == [-4, -8, 12, 8]  # 4 pixels further right
    assert second[1].tolist() == [-16, -16, 16, 16]
    wide = first[0, 2:] - first[0, :2]
    assert wide.prod() == pytest.approx(256) and wide[1] / wide[0] == pytest.approx(0.5)
    to = first + torch.tensor([1.0, -2.0, 5.0, 3.0])
    assert torch.allclose(moved(first, deltas(first, to)), to, atol=1e-4)
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3], [4, 4, 8, 8], [0, 0, 2, 4]])
    assert iou(boxes, boxes)[0].tolist() == [1, 0.75, 0, 0.5]
    assert kept(boxes, torch.tensor([0.5, 0.9, 0.1, 0.6]), 0.5).tolist() == [1, 3, 2]


def test_attention_reads_the_places_it_says():
    torch.manual_seed(1)
    attention = Places(8, 2, 3).double()
    maps = [torch.randn(2, side, side + 1, 8, dtype=torch.float64) for side in (6, 4, 3, 2)]
    query, at = torch.randn(3, 2, 8, dtype=torch.float64), torch.rand(3, 2, 2, dtype=torch.float64)
    of = torch.tensor([1, 0, 1])
    with torch.no_grad():
        found = attention(query, at, maps, of)
        for i, j in np.ndindex(3, 2):
            offsets = attention.sampling_offsets(query[i, j]).view(2, 4, 3, 2)
            share = attention.attention_weights(query[i, j]).view(2, 12).softmax(1).view(2, 4, 3)
            total = np.zeros(8)
            for head, level, point in np.ndindex(2, 4, 3):
                value = attention.value_proj(maps[level][of[i]])[..., 4 * head : 4 * head + 4].numpy()
                rows, columns, _ = value.shape
                x = float(at[i, j, 0]) * columns + float(offsets[head, level, point, 0]) - 0.5
                y = float(at[i, j, 1]) * rows + float(offsets[head, level, point, 1]) - 0.5
                for r in (math.floor(y), math.floor(y) + 1):
                    for c in (math.floor(x), math.floor(x) + 1):
                        if 0 <= r < rows and 0 <= c < columns:
                            part = (1 - abs(y - r)) * (1 - abs(x - c)) * float(share[head, level, point])
                            total[4 * head : 4 * head + 4] += part * value[r, c]
            wanted = attention.output_proj(torch.from_numpy(total))
            assert torch.allclose(found[i, j], wanted, atol=1e-9)


def test_numbers_and_places_are_waves():
    assert points(3, 4)[2].tolist() == pytest.approx([math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)])
    found = places(4, 5, 8, torch.zeros(1, dtype=torch.float64))
    assert found.shape == (8, 4, 5)
    row, column = 1.5 / 4 * 2 * math.pi, 3.5 / 5 * 2 * math.pi
    assert found[:4, 1, 3].tolist() == pytest.approx(
        [math.sin(row), math.cos(row), math.sin(row / 100), math.cos(row / 100)], abs=1e-5
    )
    assert found[4, 1, 3].item() == pytest.approx(math.sin(column), abs=1e-5)
    x = torch.tensor([0.0, 0.2, 1.0])
    assert logit(x).sigmoid().tolist() == pytest.approx([1e-5, 0.2, 1 - 1e-5], abs=1e-6)


# The producer


def test_a_picture_has_objects_with_polygons(folder):
    producer = models.load("boxsnake", weights=folder, least="0.05", most=4)
    assert (producer.name, producer.dim, producer.metric, producer.modality) == ("boxsnake", 16, "cosine", "image")
    shown, counted = pictures(3), []
    found = producer.objects(shown, batch_size=2, progress=lambda done, total: counted.append((done, total)))
    assert counted == [(2, 3), (3, 3)] and 3 <= len(found) <= 12
    assert found.vectors.shape == (len(found), 16) and np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert found.of.tolist() == sorted(found.of) and json.loads(json.dumps(found.facts)) == list(found.facts)
    for row, fact in zip(found.of, found.facts, strict=True):
        assert set(fact) == {"polygon", "box", "score", "class"}
        polygon, (left, top, right, bottom) = np.array(fact["polygon"]), fact["box"].values()
        assert polygon.shape == (9, 2) and 0.05 < fact["score"] <= 1 and fact["class"] in range(3)
        assert 0 <= left < right <= 64 + 9 * row and 0 <= top < bottom <= 70
    again = producer.objects(shown[1:2])
    assert np.allclose(again.vectors, found.vectors[found.of == 1], atol=1e-5)
    whole = producer.embed(shown)
    assert whole.shape == (3, 16) and np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)


def test_a_vector_is_of_look_shape_or_both(folder):
    shown = pictures(2)
    look, shape, both = (
        models.load("boxsnake", weights=folder, vector=vector, most=3) for vector in ("look", "shape", "look+shape")
    )
    assert (look.dim, shape.dim, both.dim) == (16, 64, 80)
    assert len({look.version, shape.version, both.version}) == 3
    joined = np.concatenate([look.embed(shown), shape.embed(shown)], 1) / np.sqrt(2)
    assert np.allclose(both.embed(shown), joined, atol=1e-6)
    both.least = 1.0  # which no score passes
    assert both.objects(shown).vectors.shape == (0, 80)
    for option, value in (("vector", "colour"), ("least", 1), ("most", 0)):
        with pytest.raises(ValueError, match=rf"{option}.*: got"):
            models.load("boxsnake", weights=folder, **{option: value})


def test_what_lies_inside_is_pooled():
    finest = torch.arange(24.0).view(1, 4, 6)
    square = torch.tensor([[[4.0, 4.0], [12.0, 4.0], [12.0, 12.0], [4.0, 12.0]]])
    assert pooled(finest, square).tolist() == [[(7 + 8 + 13 + 14) / 4]]
    assert pooled(finest, square[:0]).shape == (0, 1)


def test_a_picture_is_resized_and_filled_up():
    picture = image.fromarray(np.full((50, 100, 3), [10, 20, 30], np.uint8))
    pixels, size = prepared(picture, 64, 96)
    assert size == (48, 96) and pixels.shape == (1, 3, 64, 96)  # the long side decides
    assert pixels[0, :, 0, 0].tolist() == pytest.approx([30 - 103.53, 20 - 116.28, 10 - 123.675], abs=1e-3)
    assert not pixels[0, :, 48:].any()


# Training


def scenes(count, side=64):
    """A bright disc or square on a dark ground, and its box."""
    random = np.random.default_rng(3)
    shown, boxes = np.empty((count, side, side, 3), np.uint8), []
    y, x = np.mgrid[:side, :side] + 0.5
    for row in range(count):
        left, top = random.integers(4, side - 34, 2)
        size = int(random.integers(20, 30))
        across, down = x - left - size / 2, y - top - size / 2
        inside = np.hypot(across, down) < size / 2 if row % 2 else np.maximum(abs(across), abs(down)) < size / 2
        shown[row] = np.where(inside[..., None], [220, 180, 40], [30, 50, 90]) + random.integers(0, 9, (side, side, 3))
        boxes.append(np.array([[left, top, left + size, top + size]], np.float64))
    return Boxed(shown, boxes)


def test_boxes_alone_train_it():
    producer = BoxSnake.fresh(Config(64, 96, 14, 8, False, 16, 16, 0, 8, 12, 1, 2, 2, 16))
    before = producer.version
    data = scenes(8)
    log = fit(producer, data, steps=12, batch_size=4, learning_rate=3e-3, side=16)
    assert len(log.polygons) == len(log.proposals) == 12 and producer.version != before
    assert np.isfinite(log.polygons).all() and np.mean(log.proposals[-3:]) < log.proposals[0]
    assert all(one.grad.abs().sum() > 0 for one in producer.network.parameters())  # every part learns from boxes
    again = BoxSnake.fresh(Config(64, 96, 14, 8, False, 16, 16, 0, 8, 12, 1, 2, 2, 16))
    fit(again, data, steps=2, batch_size=4, side=16)
    once = BoxSnake.fresh(again.network.config)
    fit(once, data, steps=2, batch_size=4, side=16)
    assert once.version == again.version != producer.version  # a seed is a result


def test_training_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"producer: tells 3 classes apart"):
        fit(BoxSnake.fresh(SMALL), scenes(2))
    fresh = BoxSnake.fresh(replace(SMALL, classes=0))
    for option, value in (("batch_size", 3), ("steps", 0), ("weights", (1, 0))):
        with pytest.raises(ValueError, match=f"{option}.*: got"):
            fit(fresh, scenes(2), **{"batch_size": 2, option: value})
    shown = np.zeros((1, 8, 8, 3), np.uint8)
    for box in ([0, 0, 9, 8], [2, 0, 2, 4], [-1, 0, 4, 4]):
        with pytest.raises(ValueError, match=r"boxes\[0\]: "):
            Boxed(shown, [np.array([box], np.float64)])
