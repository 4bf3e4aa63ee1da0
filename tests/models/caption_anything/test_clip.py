"""CLIP from its files, key by key; pictures against equations in float64. Its texts go RILS's way, tested there."""

from __future__ import annotations

import numpy as np
import pytest

from bebr import models
from bebr.models import weights
from bebr.models.caption_anything.clip_config import SIZES, Config, manifest

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
pytest.importorskip("tokenizers", reason="tokenizers is absent: pip install 'bebr[models]'")
image = pytest.importorskip("PIL.Image", reason="Pillow is absent: pip install 'bebr[models]'")

from bebr.models.caption_anything.clip import Clip, Network  # noqa: E402
from bebr.models.pixels import by_channel  # noqa: E402

SMALL = Config(24, 8, 16, 2, 2, 12, 1, 3, 10, 514 + 2, 8)
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def state():
    random = np.random.default_rng(0)
    made = {}
    for key, shape in manifest(SMALL).items():
        middle = 1.0 if ".ln_" in key and key.endswith("weight") else 0.0
        made[key] = torch.from_numpy(np.asarray(random.normal(middle, 0.2, shape), np.float32))
    return made


@pytest.fixture
def file(state, tmp_path, monkeypatch):
    """A file as open_clip's, its size published, its merges beside it."""
    monkeypatch.setitem(SIZES, "vit-b-32", SMALL)
    torch.save({**state, "context_length": torch.tensor(10)}, tmp_path / "open_clip_pytorch_model.bin")
    (tmp_path / "merges.txt").write_text("#version: 0.2\nd o\ndo g</w>\n")
    return tmp_path / "open_clip_pytorch_model.bin"


def test_the_manifest_is_the_network_at_every_size():
    for config in (SMALL, *SIZES.values()):
        with torch.device("meta"):
            found = Network(config).state_dict()
        assert {key: tuple(value.shape) for key, value in found.items()} == manifest(config)
    published = manifest(SIZES["vit-b-32"])
    assert published["visual.positional_embedding"] == (50, 768) and published["visual.proj"] == (768, 512)
    assert published["visual.transformer.resblocks.11.attn.in_proj_weight"] == (2304, 768)
    assert published["transformer.resblocks.11.mlp.c_fc.weight"] == (2048, 512)
    assert published["token_embedding.weight"] == (49408, 512)


def picture(pixels, state):
    """The class token's vector of pixels [3, side, side], by the equations."""
    state = {key.removeprefix("visual."): one.double().numpy() for key, one in state.items() if "visual" in key}

    def norm(x, name):
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    kernel = state["conv1.weight"]
    squares = [pixels[:, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8] for i in range(3) for j in range(3)]
    patches = [[(square * one).sum() for one in kernel] for square in squares]
    x = norm(np.vstack([state["class_embedding"], patches]) + state["positional_embedding"], "ln_pre")
    for i in range(2):
        name = f"transformer.resblocks.{i}"
        y = norm(x, f"{name}.ln_1")
        q, k, v = np.split(y @ state[f"{name}.attn.in_proj_weight"].T + state[f"{name}.attn.in_proj_bias"], 3, 1)
        out = []
        for part in (slice(0, 8), slice(8, 16)):
            scores = np.exp(q[:, part] @ k[:, part].T / np.sqrt(8))
            out.append(scores / scores.sum(1, keepdims=True) @ v[:, part])
        x = x + linear(np.hstack(out), f"{name}.attn.out_proj")
        y = linear(norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc")
        x = x + linear(y / (1 + np.exp(-1.702 * y)), f"{name}.mlp.c_proj")
    out = norm(x[:1], "ln_post")[0] @ state["proj"]
    return out / np.linalg.norm(out)


def test_pictures_and_texts_share_a_space(file, state):
    clip = models.load("clip", weights=file, size="vit-b-32")
    assert (clip.name, clip.dim, clip.metric, clip.modality) == ("clip", 8, "cosine", "image|text")
    shown = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    pixels = torch.from_numpy(shown).permute(2, 0, 1)[None].double() / 255
    wanted = picture(by_channel(pixels, MEAN, DEVIATION)[0].numpy(), state)
    assert np.abs(clip.embed([shown])[0] - wanted).max() < 1e-5
    texts = clip.embed(["dog", "a dog", ""])
    assert texts.shape == (3, 8) and np.allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)


def test_files_are_loaded_whole_or_refused(file, state, tmp_path):
    clip = models.load("clip", weights=file, size="vit-b-32")
    clip.save(tmp_path / "copy")
    assert models.load("clip", weights=tmp_path / "copy").version == clip.version
    with pytest.raises(ValueError, match=r"size: .* give vit-b-32 or vit-b-16 or vit-l-14"):
        models.load("clip", weights=file)
    weights.save(tmp_path / "less", {key: one for key, one in state.items() if key != "visual.proj"}, SMALL.to_json())
    with pytest.raises(ValueError, match=r"1 missing: visual\.proj"):
        Clip.load(tmp_path / "less")
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"vocabulary: .*: has none; wanted merges.txt"):
        models.load("clip", weights=file, size="vit-b-32")
