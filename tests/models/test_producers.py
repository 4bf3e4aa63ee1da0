"""Producers by name, a plug-in installed by a package of three files, and what an item may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bebr import models
from bebr.models import items, registry

PLUGIN = '''
import numpy as np
from bebr.models import Producer

class Letters(Producer):
    """How often each letter of the alphabet occurs: seeded by nothing, so exact in tests."""

    name, version, dim, metric, modality = "letters", "1", 26, "cosine", "text"

    def __init__(self, size="small"):
        self.size = size

    def encode(self, kind, batch):
        return np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in batch], np.float32)

class Narrow(Letters):
    def encode(self, kind, batch):
        return super().encode(kind, batch)[:, :25]

class Odd(Letters):
    metric = "hamming"

thing = 7
'''
POINTS = """[bebr.producers]
letters = letters_package:Letters
narrow = letters_package:Narrow
odd = letters_package:Odd
thing = letters_package:thing
gone = letters_package:Gone
minilm = letters_package:Letters
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with an entry point, laid out as an installer leaves it."""
    (tmp_path / "letters_package.py").write_text(PLUGIN)
    facts = tmp_path / "letters_package-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: letters-package\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "letters_package", raising=False)
    return tmp_path


def test_an_installed_package_adds_its_producer(plugin):
    assert {"letters", "minilm", "timm", "torchvision", "sentence-transformers"} <= set(models.names())
    producer = models.load("letters", size="large")
    assert producer.size == "large"
    x = producer.embed(["abba", "Cab", ""], batch_size=2)
    assert x.dtype == np.float32 and x[:, :3].tolist() == [[2, 2, 0], [1, 1, 1], [0, 0, 0]]


def test_batches_cover_all_items_and_progress_counts_them(plugin):
    seen = []
    texts = ["a" * n for n in range(7)]
    x = models.load("letters").embed(texts, batch_size=3, progress=lambda done, total: seen.append((done, total)))
    assert x[:, 0].tolist() == list(range(7)) and seen == [(3, 7), (6, 7), (7, 7)]
    assert models.load("letters").embed([]).shape == (0, 26)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("nothing", {}, KeyError, r"no producer is called 'nothing'; known: .*gone, .*letters, .*minilm, narrow, odd"),
        (
            "letters",
            {"weights": "x"},
            ValueError,
            "weights: the producer 'letters' takes no such option; it takes: size",
        ),
        ("letters", {"device": "cuda"}, ValueError, "device: the producer 'letters' takes no such option"),
        ("timm", {}, ValueError, "size: the producer 'timm' needs it; it takes: size, weights, device"),
        ("odd", {}, ValueError, "'odd': dim 26 and metric 'hamming', wanted at least 1 and cosine, ip or l2"),
        ("thing", {}, ValueError, "'thing': letters_package:thing is int, wanted a class"),
        ("gone", {}, ImportError, "'gone' is offered as letters_package:Gone, which fails"),
        (
            "minilm",
            {},
            ValueError,
            "2 packages offer a producer 'minilm': bebr.models.minilm:MiniLM, letters_package:Le",
        ),
    ],
)
def test_what_cannot_be_loaded_says_why(plugin, name, options, error, message):
    with pytest.raises(error, match=message):
        models.load(name, **options)


def test_a_wrong_shape_is_told_and_not_stored(plugin):
    with pytest.raises(ValueError, match=r"letters: got vectors \[1, 25\], wanted \[1, 26\]"):
        models.load("narrow").embed(["a"])


@pytest.mark.parametrize("fact", ["name", "version", "dim", "metric", "modality"])
def test_each_fact_is_asked_for(plugin, fact):
    producer = models.load("letters")
    setattr(producer, fact, None)
    with pytest.raises(ValueError, match=f"'letters': {fact} is None, wanted (str|int)"):
        registry.checked(producer, "letters")


def test_importing_loads_neither_torch_nor_pillow():
    code = (
        "import bebr.models, bebr.models.data, sys; bebr.models.names();"
        "print({'torch', 'PIL', 'transformers', 'resvg_py', 'pyarrow'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_producers_use_the_public_names_of_bebr_only():
    folder = Path(models.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                found = [node.module or ""]
            for name in found:
                inner = name.startswith("bebr.") and not name.startswith("bebr.models")
                assert not inner and name.split(".")[0] != "benchmarks", f"{path} imports {name}"


# Items

PIXELS = np.full((4, 5, 3), 7, np.uint8)


@pytest.mark.parametrize(
    ("given", "modality", "kind"),
    [
        (["a", "b"], "text", "text"),
        ([Path("a.png"), PIXELS], "image", "image"),
        ([(PIXELS, "a")], "image+text", "image+text"),
        (["a"], "image|text", "text"),
        ([PIXELS], "image|text", "image"),
        ([], "image|text", "image"),
        (np.zeros((2, 4, 5, 3), np.uint8), "image", "image"),
    ],
)
def test_the_kind_of_items_is_found(given, modality, kind):
    assert items.check(given, modality) == kind


@pytest.mark.parametrize(
    ("given", "modality", "message"),
    [
        ("a", "text", "items: got one str, wanted a sequence of str"),
        (Path("a"), "image", "items: got one PosixPath, wanted a sequence of a pathlib.Path"),
        (iter("a"), "text", "items: got one str_.*iterator, wanted a sequence"),
        (["a", 3], "text", r"items\[1\]: got int, wanted str"),
        (["a"], "image", r"items\[0\]: got str, wanted a pathlib.Path, a PIL image or uint8 \[height, width, 3 or 4\]"),
        ([PIXELS.astype(float)], "image", r"items\[0\]: got an array float64 \[4, 5, 3\], wanted"),
        ([(PIXELS, 3)], "image+text", r"items\[0\]: got a tuple \(ndarray, int\), wanted a tuple \(image, str\)"),
        (["a", PIXELS], "image|text", r"items\[1\]: got a pathlib.Path.*, wanted str as items\[0\]"),
        ([], "smell", "modality: got 'smell', wanted text, image, image.text"),
    ],
)
def test_a_wrong_item_is_named(given, modality, message):
    with pytest.raises(ValueError, match=message):
        items.check(given, modality)


def test_pictures_are_laid_on_white(tmp_path):
    image = pytest.importorskip("PIL.Image")
    half = np.zeros((2, 2, 4), np.uint8)
    half[0] = [200, 100, 0, 255]
    expected = [[200, 100, 0]] * 2 + [[255, 255, 255]] * 2
    image.fromarray(half).save(tmp_path / "a.png")
    for given in (half, tmp_path / "a.png", (tmp_path / "a.png").read_bytes(), image.open(tmp_path / "a.png")):
        assert np.asarray(items.picture(given, "x")).reshape(-1, 3).tolist() == expected
    image.fromarray(half).convert("P").save(tmp_path / "p.png")
    assert items.picture(tmp_path / "p.png", "x").mode == "RGB"
    image.fromarray(np.full((3, 3), 40_000, np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(items.picture(tmp_path / "deep.png", "x")).max() == 40_000 >> 8


def test_bad_pictures_are_named(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "no.png").write_bytes(b"not a picture")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    for name in ("no.png", "cut.png"):
        with pytest.raises(ValueError, match=rf"items\[3\]: .*{name}: not a readable picture"):
            items.picture(tmp_path / name, "items[3]")
    with pytest.raises(FileNotFoundError, match=r"x: .*gone.png: no such file"):
        items.picture(tmp_path / "gone.png", "x")
    with pytest.raises(ValueError, match="got a folder, wanted a picture"):
        items.picture(tmp_path, "x")
    monkeypatch.setattr(items, "PIXELS", 100)
    with pytest.raises(ValueError, match="got 64 x 64 pixels, wanted at most 100"):
        items.picture(tmp_path / "whole.png", "x")
