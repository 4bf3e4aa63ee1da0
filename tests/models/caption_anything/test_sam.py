"""SAM from its files, key by key; each part against equations in float64; its prompts, and everything in a picture."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from bebr import models
from bebr.models import weights
from bebr.models.caption_anything import Prompt
from bebr.models.caption_anything.looks import Mapped
from bebr.models.caption_anything.sam.config import SIZES, Config, manifest

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
image = pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.caption_anything.sam.producer import Network, Sam, Seen  # noqa: E402
from bebr.models.caption_anything.sam.segmenter import BySam, apart, stability  # noqa: E402

SMALL = Config(20, 4, 8, 2, 2, 3, 2, 16, 2, 2, 12)  # five patches across, in windows of three


@pytest.fixture(scope="module")
def state():
    random = np.random.default_rng(0)
    made = {}
    for key, shape in manifest(SMALL).items():
        middle = 1.0 if len(shape) == 1 and key.endswith("weight") else 0.0
        made[key] = torch.from_numpy(np.asarray(random.normal(middle, 0.3, shape), np.float32))
    return made


@pytest.fixture
def file(state, tmp_path, monkeypatch):
    """A file as the published ones."""
    monkeypatch.setitem(SIZES, "vit-b", SMALL)
    torch.save(state, tmp_path / "sam_vit_b.pth")
    return tmp_path / "sam_vit_b.pth"


@pytest.fixture
def sam(file):
    return models.load("sam", weights=file, size="vit-b")


def test_the_manifest_is_the_network_at_every_size():
    for config in (SMALL, *SIZES.values()):
        with torch.device("meta"):
            found = Network(config).state_dict()
        assert {key: tuple(value.shape) for key, value in found.items()} == manifest(config)
    keys = {size: manifest(SIZES[size]) for size in ("vit-b", "vit-l", "vit-h")}
    assert [len(one) for one in keys.values()] == [314, 482, 594]
    learned = [sum(map(math.prod, one.values())) - 2 * 128 for one in keys.values()]  # places are drawn, not learned
    assert learned == [93_735_472, 312_342_832, 641_090_608]  # as published
    published = keys["vit-h"]
    assert published["image_encoder.blocks.0.attn.rel_pos_h"] == (27, 80)
    assert published["image_encoder.blocks.31.attn.rel_pos_w"] == (127, 80)
    assert published["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] == (2, 128)
    assert published["mask_decoder.transformer.layers.1.cross_attn_image_to_token.out_proj.weight"] == (256, 128)
    assert published["mask_decoder.output_hypernetworks_mlps.3.layers.2.weight"] == (32, 256)
    for wrong in ({"width": 9}, {"layers": 3}, {"channels": 20}, {"window": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Config(**{**SMALL.to_json(), **wrong})


class Equations:
    """The network once more, in float64 and by loops."""

    def __init__(self, state, part):
        prefix = f"{part}."
        self.w = {key.removeprefix(prefix): one.double().numpy() for key, one in state.items() if prefix in key}

    def linear(self, x, name):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, x, name, eps):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        return x * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def attention(self, q, k, v, name):
        q, k, v = self.linear(q, f"{name}.q_proj"), self.linear(k, f"{name}.k_proj"), self.linear(v, f"{name}.v_proj")
        heads = [(q[:, i], k[:, i], v[:, i]) for i in np.split(np.arange(q.shape[1]), 2)]
        return self.linear(np.hstack([soft(q @ k.T / k.shape[1] ** 0.5) @ v for q, k, v in heads]), f"{name}.out_proj")

    def square(self, x, name):
        """Attention of [side, side, d] with relative places."""
        side, _, d = x.shape
        q, k, v = np.split(self.linear(x.reshape(-1, d), f"{name}.qkv"), 3, 1)
        at = [(y, z) for y in range(side) for z in range(side)]
        out = []
        for part in np.split(np.arange(d), 2):
            scores = q[:, part] @ k[:, part].T / len(part) ** 0.5
            for i, (y, z) in enumerate(at):
                for j, (row, column) in enumerate(at):
                    scores[i, j] += q[i, part] @ self.w[f"{name}.rel_pos_h"][y - row + side - 1]
                    scores[i, j] += q[i, part] @ self.w[f"{name}.rel_pos_w"][z - column + side - 1]
            out.append(soft(scores) @ v[:, part])
        return self.linear(np.hstack(out), f"{name}.proj").reshape(x.shape)

    def three(self, x, name):
        x = np.maximum(self.linear(x, f"{name}.layers.0"), 0)
        return self.linear(np.maximum(self.linear(x, f"{name}.layers.1"), 0), f"{name}.layers.2")


def soft(scores):
    x = np.exp(scores - scores.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / 2**0.5)) / 2


def encoded(pixels, state):
    """The map [5, 5, 16] of normalised pixels [3, 20, 20]."""
    net = Equations(state, "image_encoder")
    kernel = net.w["patch_embed.proj.weight"]
    cells = [
        [(pixels[:, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] * kernel).sum((1, 2, 3)) for j in range(5)] for i in range(5)
    ]
    x = np.array(cells) + net.w["patch_embed.proj.bias"] + net.w["pos_embed"][0]
    for i in range(2):
        y = net.norm(x, f"blocks.{i}.norm1", 1e-6)
        if i == 0:
            wide = np.zeros((6, 6, 8))
            wide[:5, :5] = y
            for top in (0, 3):
                for left in (0, 3):
                    window = wide[top : top + 3, left : left + 3]
                    wide[top : top + 3, left : left + 3] = net.square(window, "blocks.0.attn")
            x = x + wide[:5, :5]
        else:
            x = x + net.square(y, "blocks.1.attn")
        x = x + net.linear(
            gelu(net.linear(net.norm(x, f"blocks.{i}.norm2", 1e-6), f"blocks.{i}.mlp.lin1")), f"blocks.{i}.mlp.lin2"
        )
    x = net.norm(x @ net.w["neck.0.weight"][:, :, 0, 0].T, "neck.1", 1e-6)
    wide = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    y = sum(wide[i : i + 5, j : j + 5] @ net.w["neck.2.weight"][:, :, i, j].T for i in range(3) for j in range(3))
    return net.norm(y, "neck.3", 1e-6)


def places(at, state):
    """Of places [n, 2] from 0 to 1."""
    angles = (
        2 * np.pi * (2 * at - 1) @ state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"].double().numpy()
    )
    return np.hstack([np.sin(angles), np.cos(angles)])


def decoded(features, tokens, mask, state):
    """Logits [4, 20, 20] and four qualities of a map [25, 16], tokens [p, 16] and a mask's map [25, 16]."""
    net = Equations(state, "mask_decoder")
    middles = (np.arange(5) + 0.5) / 5
    where = places(np.array([(x, y) for y in middles for x in middles]), state)
    prompt = np.vstack([net.w["iou_token.weight"], net.w["mask_tokens.weight"], tokens])
    x, picture = prompt, features + mask
    for i in range(2):
        name = f"transformer.layers.{i}"
        first = net.attention(x, x, x, f"{name}.self_attn") if i == 0 else None
        x = first if i == 0 else x + net.attention(x + prompt, x + prompt, x, f"{name}.self_attn")
        x = net.norm(x, f"{name}.norm1", 1e-5)
        y = net.attention(x + prompt, picture + where, picture, f"{name}.cross_attn_token_to_image")
        x = net.norm(x + y, f"{name}.norm2", 1e-5)
        y = net.linear(np.maximum(net.linear(x, f"{name}.mlp.lin1"), 0), f"{name}.mlp.lin2")
        x = net.norm(x + y, f"{name}.norm3", 1e-5)
        y = net.attention(picture + where, x + prompt, x, f"{name}.cross_attn_image_to_token")
        picture = net.norm(picture + y, f"{name}.norm4", 1e-5)
    x = x + net.attention(x + prompt, picture + where, picture, "transformer.final_attn_token_to_image")
    x = net.norm(x, "transformer.norm_final_attn", 1e-5)
    small = picture.reshape(5, 5, 16)
    for name, side in (("output_upscaling.0", 5), ("output_upscaling.3", 10)):
        kernel = net.w[f"{name}.weight"]
        large = np.zeros((2 * side, 2 * side, kernel.shape[1]))
        for i in range(2):
            for j in range(2):
                large[i::2, j::2] = small @ kernel[:, :, i, j] + net.w[f"{name}.bias"]
        small = gelu(net.norm(large, "output_upscaling.1", 1e-6) if side == 5 else large)
    hyper = [net.three(x[1 + i], f"output_hypernetworks_mlps.{i}") for i in range(4)]
    return np.array([small @ one for one in hyper]), net.three(x[0], "iou_prediction_head")


def test_the_network_is_its_equations(sam, state):
    shown = np.random.default_rng(1).integers(0, 256, (20, 10, 3), dtype=np.uint8)  # half of the square is padding
    seen = sam.see(image.fromarray(shown))
    assert (seen.size, seen.scaled) == ((20, 10), (20, 10))
    pixels = np.zeros((3, 20, 20))
    mean, deviation = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    pixels[:, :, :10] = ((shown - mean) / deviation).transpose(2, 0, 1)
    features = encoded(pixels, state)
    assert np.abs(seen.features[0].permute(1, 2, 0).numpy() - features).max() < 1e-4

    kinds = [
        state[f"prompt_encoder.{name}.weight"].double().numpy()[0]
        for name in ("not_a_point_embed", *(f"point_embeddings.{i}" for i in range(4)))
    ]
    at = np.array([(3, 15), (7, 2), (1, 1), (9, 18), (0, 0)], float)
    tokens = places((at + 0.5) / 20, state)
    tokens[4] = 0  # a point that is none
    tokens += np.array([kinds[2], kinds[1], kinds[3], kinds[4], kinds[0]])
    none = state["prompt_encoder.no_mask_embed.weight"].double().numpy()
    logits, quality = sam.answer(seen, [at], [[1, 0, 2, 3, -1]])
    wanted, good = decoded(features.reshape(25, 16), tokens, none, state)
    assert np.abs(logits[0].numpy() - wanted).max() < 1e-3 and np.abs(quality[0] - good).max() < 1e-3

    again, _ = sam.answer(seen, [at], [[1, 0, 2, 3, -1]], logits[:, 2, None])
    net = Equations(state, "prompt_encoder")
    small = logits[0, 2].double().numpy()[..., None]
    for name, norm in (("mask_downscaling.0", "mask_downscaling.1"), ("mask_downscaling.3", "mask_downscaling.4")):
        kernel = net.w[f"{name}.weight"]
        small = (
            sum(small[i::2, j::2] @ kernel[:, :, i, j].T for i in range(2) for j in range(2)) + net.w[f"{name}.bias"]
        )
        small = gelu(net.norm(small, norm, 1e-6))
    dense = small @ net.w["mask_downscaling.6.weight"][:, :, 0, 0].T + net.w["mask_downscaling.6.bias"]
    wanted, _ = decoded(features.reshape(25, 16), tokens, dense.reshape(25, 16), state)
    assert np.abs(again[0].numpy() - wanted).max() < 1e-3


def test_files_are_loaded_whole_or_refused(file, sam, state, tmp_path):
    assert (sam.name, sam.dim, sam.metric, sam.modality) == ("sam", 16, "cosine", "image")
    sam.save(tmp_path / "copy")
    assert models.load("sam", weights=tmp_path / "copy").version == sam.version
    with pytest.raises(ValueError, match=r"size: .* give vit-b or vit-l or vit-h"):
        models.load("sam", weights=file)
    less = {key: one for key, one in state.items() if key != "mask_decoder.iou_token.weight"}
    weights.save(tmp_path / "less", {**less, "pixel_mean": torch.zeros(3)}, SMALL.to_json())
    with pytest.raises(ValueError, match=r"1 missing: mask_decoder\.iou_token\.weight; 1 unexpected: pixel_mean"):
        Sam.load(tmp_path / "less")


def test_it_keeps_the_port_of_segmenters(sam):
    picture = image.fromarray(np.random.default_rng(2).integers(0, 256, (30, 44, 3), dtype=np.uint8))
    segmenter = BySam(sam, grid=3, quality=-99, stable=0, overlap=1)
    prompts = (Prompt([(9, 20)]), Prompt(box=(2, 3, 30, 20)), Prompt([(9, 20), (40, 2)], [True, False]))
    for prompt in prompts:
        found = segmenter(picture, prompt)
        assert found.dtype == bool and found.shape == (1, 30, 44) and found.any()
    everything = segmenter(picture, Prompt())
    assert everything.dtype == bool and everything.shape[1:] == (30, 44) and everything.any((1, 2)).all()
    assert (np.diff(everything.sum((1, 2))) <= 0).all()
    with pytest.raises(ValueError, match=r"points\[0\]"):
        segmenter(picture, Prompt([(44, 3)]))
    with pytest.raises(ValueError, match="grid, stable, overlap: got"):
        BySam(sam, grid=0)
    assert len(BySam(sam, grid=2, quality=1e9)(picture, Prompt())) == 0

    look = Mapped(sam)(picture, everything)
    assert look.shape == (len(everything), 16) and np.allclose(np.linalg.norm(look, axis=1), 1, atol=1e-6)
    seen = sam.see(picture)  # 14 x 20 of the network's pixels: three and a half rows of cells
    mask = np.zeros((1, 30, 44), bool)
    mask[0, :8, :8] = True  # within the first cell
    first = seen.features[0, :, 0, 0].numpy()
    assert seen.scaled == (14, 20) and np.allclose(
        Mapped(sam)(picture, mask)[0], first / np.linalg.norm(first), atol=1e-5
    )
    assert np.allclose(np.linalg.norm(sam.embed([picture])), 1)


class Told:
    """Answers with masks given for each prompt, on a square of 8 pixels; keeps what it was asked."""

    version = "told"

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def see(self, picture):
        return Seen(None, (8, 8), (8, 8))

    def answer(self, seen, points, labels, first=None):
        self.asked.append((np.asarray(points).tolist(), np.asarray(labels).tolist(), first))
        logits, quality = self.answers(len(labels))
        return torch.from_numpy(logits), quality

    def enlarged(self, seen, logits):
        return logits.numpy()


def answers(count):
    """A left half, a right half less sharp, a left half nearly, and nothing, of falling quality."""
    logits = np.full((count, 4, 8, 8), -9, np.float32)
    logits[:, 1, :, :4], logits[:, 2, :, 4:], logits[:, 2, :, 6:], logits[:, 3, :7, :4] = 9, 0.5, 9, 9
    return logits, np.tile(np.array([0.99, 0.97, 0.95, 0.9], np.float32), (count, 1))


def test_prompts_choose_their_answer():
    picture = SimpleNamespace(width=8, height=8)
    told = Told(answers)
    assert BySam(told)(picture, Prompt([(2, 3)]))[0, :, :4].all()  # the best of three
    assert told.asked == [([[[2, 3], [0, 0]]], [[1, -1]], None)]
    box = BySam(told)(picture, Prompt([(2, 3)], box=(1, 1, 5, 6)))
    assert told.asked[1][:2] == ([[[2, 3], [1, 1], [5, 6]]], [[1, 2, 3]])
    assert box.sum() == 1 and box[0, 3, 2]  # one meaning; and it says that nothing is there
    BySam(told)(picture, Prompt([(2, 3), (7, 7)], [True, False]))
    assert [first is None for *_, first in told.asked[2:]] == [True, False]
    assert BySam(told)(picture, Prompt(box=(1, 1, 5, 6))).sum() == 20


def test_everything_is_what_is_sure_sharp_and_apart():
    picture = SimpleNamespace(width=8, height=8)
    told = Told(answers)
    found = BySam(told, grid=10)(picture, Prompt())
    assert len(found) == 1 and found[0, :, :4].all() and found.sum() == 32
    assert [len(labels) for _, labels, _ in told.asked] == [64, 36]
    assert np.allclose(told.asked[0][0][1], [[1.2, 0.4], [0, 0]])
    both = BySam(told, grid=1, stable=0.5)(picture, Prompt())
    assert len(both) == 2 and both[1, :, 4:].all()
    assert len(BySam(told, grid=1, overlap=0.9)(picture, Prompt())) == 2  # 28 pixels are not 32
    assert len(BySam(told, grid=1, quality=0.98)(picture, Prompt())) == 0
    assert stability(answers(1)[0][0]).tolist() == [0, 1, 0.5, 1]
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 3], [5, 5, 6, 6]])
    assert apart(boxes, np.array([0.5, 0.9, 0.1]), 0.7).tolist() == [1, 2]
    assert apart(boxes, np.array([0.5, 0.9, 0.1]), 0.75).tolist() == [1, 0, 2]
