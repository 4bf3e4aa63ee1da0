"""`bebr embed` over every kind of input, by tiny seeded producers that an installed package offers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

import bebr
from bebr.vectors import VectorWriter, read_vectors
from tests.commands import done, refused, run

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
Image = pytest.importorskip("PIL.Image")

PACKAGE = '''
import hashlib
import numpy as np
from bebr.models import Producer
from bebr.models.objects import ObjectProducer

def seeded(item):
    raw = item if isinstance(item, bytes) else item.encode()
    return np.random.default_rng(list(hashlib.sha256(raw).digest())).standard_normal(16).astype(np.float32)

class Words(Producer):
    """A vector seeded by the text, so that equal texts alone are near."""
    name, version, dim, metric, modality = "words", "1", 16, "cosine", "text"
    largest = 0

    def __init__(self, scale=1, sign="plus"):
        self.scale = {"plus": 1, "minus": -1}[sign] * scale

    def embed(self, items, batch_size=64, progress=None):
        Words.largest = max(Words.largest, len(items))
        return super().embed(items, batch_size, progress)

    def encode(self, kind, batch):
        return self.scale * np.stack([seeded(item) if item != "bad" else np.full(16, np.nan) for item in batch])

class Colours(Words):
    """The mean colour and the size of a picture."""
    name, modality = "colours", "image"

    def encode(self, kind, batch):
        return np.stack([np.r_[np.asarray(p).mean((0, 1)), p.size, np.zeros(11)] for p in batch])

class Pairs(Words):
    name, modality = "pairs", "image+text"

    def encode(self, kind, batch):
        return np.stack([seeded(np.asarray(p).tobytes() + t.encode()) for p, t in batch])

class Halves(ObjectProducer):
    """The mean colour of each bright half of a picture."""
    name, version, dim, metric, modality = "halves", "1", 3, "l2", "image"

    def find(self, batch):
        out = []
        for p in batch:
            x = np.asarray(p, np.float32)
            sides = {"left": x[:, : p.width // 2], "right": x[:, p.width // 2 :]}
            bright = {name: half.mean((0, 1)) for name, half in sides.items() if half.mean() > 50}
            facts = [{"side": name, "polygon": [[0.5, 1.0], [2.0, 3.0]]} for name in bright]
            out.append((np.stack(list(bright.values())) if bright else np.zeros((0, 3), np.float32), facts))
        return out

class Either(Words):
    name, modality = "either", "image|text"

    def encode(self, kind, batch):
        return Words.encode(self, kind, batch) if kind == "text" else Colours.encode(self, kind, batch)
'''


@pytest.fixture(autouse=True)
def package(tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("package")
    (folder / "tiny_producers.py").write_text(PACKAGE)
    facts = folder / "tiny_producers-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-producers\nVersion: 1\n")
    points = [f"{name.lower()} = tiny_producers:{name}" for name in ("Words", "Colours", "Pairs", "Halves", "Either")]
    (facts / "entry_points.txt").write_text("\n".join(["[bebr.producers]", *points]))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "tiny_producers", raising=False)


def embed(producer: str, *arguments: object) -> Result:
    return run("embed", "--producer", producer, *arguments)


def embedded(producer: str, source: Path, *arguments: object) -> tuple[np.ndarray, list[str]]:
    """The vectors and the column `item`."""
    out = source.parent / "out.parquet"
    result = embed(producer, source, "-o", out, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == "" and f" 16 dims, cosine, {producer} 1" in result.stderr
    return read_vectors(out), pq.read_table(out)["item"].to_pylist()


def words(texts: list[str]) -> np.ndarray:
    from bebr import models

    return models.load("words").embed(texts)


TEXTS = ["one", "", "three, naïve 猫", "one"]


def test_lines_keep_their_places(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    x, items = embedded("words", tmp_path / "a.txt")
    assert items == TEXTS and np.array_equal(x, words(TEXTS))
    assert embed("words", tmp_path / "a.txt", "-o", tmp_path / "a.npy", "--limit", 3).exit_code == 0
    assert np.array_equal(np.load(tmp_path / "a.npy"), words(TEXTS[:3]))


def test_json_lines_and_their_keys(tmp_path):
    lines = [json.dumps({"text": text, "title": text * 2}) for text in TEXTS]
    (tmp_path / "a.jsonl").write_text("\n\n".join(lines))
    x, items = embedded("words", tmp_path / "a.jsonl")
    assert items == TEXTS and np.array_equal(x, words(TEXTS))
    assert embedded("words", tmp_path / "a.jsonl", "--text-column", "title")[1] == [text * 2 for text in TEXTS]
    (tmp_path / "windows.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert embedded("words", tmp_path / "windows.jsonl")[1] == TEXTS


def test_parquet_texts(tmp_path):
    pq.write_table(pa.table({"n": range(4), "t": TEXTS}), tmp_path / "a.parquet")
    x, items = embedded("words", tmp_path / "a.parquet")
    assert items == TEXTS and np.array_equal(x, words(TEXTS))


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    for name, colour, size in (("z.png", (10, 20, 30), (3, 4)), ("b/a.JPG", (200, 200, 200), (8, 8))):
        Image.new("RGB", size, colour).save(folder / name)
    (folder / "notes.md").write_text("not a picture")
    return folder


COLOURS = [[200, 200, 200, 8, 8], [10, 20, 30, 3, 4]]


def test_a_folder_of_pictures_by_path(photos):
    x, items = embedded("colours", photos)
    assert items == ["b/a.JPG", "z.png"] and x[:, :5].tolist() == COLOURS


def test_objects_have_a_row_each_and_load_with_their_facts(photos):
    Image.fromarray(np.repeat([[[90, 90, 90], [0, 0, 0]]], 4, 0).astype(np.uint8)).save(photos / "half.png")
    out = photos.parent / "objects.parquet"
    result = embed("halves", photos, "-o", out, "--batch-size", 1)
    assert result.exit_code == 0 and "3 objects of 3 pictures (1 without any), 3 dims, l2, halves 1" in result.stderr
    table = pq.read_table(out).to_pydict()
    assert table["id"] == ["b/a.JPG#0", "b/a.JPG#1", "half.png#0"] and table["side"] == ["left", "right", "left"]
    assert read_vectors(out).tolist() == [[200] * 3, [200] * 3, [90] * 3]  # the one column of vectors
    assert table["polygon"] == [[[0.5, 1.0], [2.0, 3.0]]] * 3
    with bebr.open(photos.parent / "db") as db:
        db.create_collection("objects", bebr.untrained(3, bytes_per_vector=4))
    done("db", "load", photos.parent / "db", "objects", out, "--id-column", "id", "--payload-columns", "item,polygon")
    with bebr.open(photos.parent / "db") as db:
        row = db.collection("objects").get(["half.png#0"])[0]
    assert row.payload == {"item": "half.png", "polygon": [[0.5, 1.0], [2.0, 3.0]]}


def test_objects_need_parquet_and_pictures_that_show_some(photos):
    assert "wanted one of .parquet" in refused("embed", "-p", "halves", photos, "-o", photos / "a.npy")
    (photos / "b/a.JPG").unlink()
    out = photos.parent / "none.parquet"
    assert "got no row" in refused("embed", "-p", "halves", photos, "-o", out) and not out.exists()


def test_pictures_in_json_lines_and_parquet(photos):
    names = ["b/a.JPG", "z.png"]
    (photos / "a.jsonl").write_text("\n".join(json.dumps({"image": name}) for name in names))
    assert embedded("colours", photos / "a.jsonl")[0][:, :5].tolist() == COLOURS
    raw = [(photos / name).read_bytes() for name in names]
    for cells, labels in (
        (names, names),
        (raw, ["row 0", "row 1"]),
        ([{"bytes": one, "path": name} for one, name in zip(raw, names, strict=True)], names),
        ([{"bytes": None, "path": name} for name in names], names),
    ):
        pq.write_table(pa.table({"p": cells}), photos / "a.parquet")
        x, items = embedded("colours", photos / "a.parquet", "--batch-size", 1)
        assert items == labels and x[:, :5].tolist() == COLOURS


def test_pairs(photos):
    from bebr import models

    names = ["z.png", "z.png"]
    expected = models.load("pairs").embed([(photos / "z.png", "a"), (photos / "z.png", "b")])
    records = [{"image": name, "text": text} for name, text in zip(names, "ab", strict=True)]
    (photos / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert np.array_equal(embedded("pairs", photos / "a.jsonl")[0], expected)
    raw = [(photos / name).read_bytes() for name in names]
    pq.write_table(pa.table({"image": raw, "text": ["a", "b"]}), photos / "a.parquet")
    assert np.array_equal(embedded("pairs", photos / "a.parquet", "--image-column", "image")[0], expected)


def test_a_producer_of_both_kinds(photos):
    assert embedded("either", photos)[0][:, :5].tolist() == COLOURS
    (photos / "a.jsonl").write_text(json.dumps({"image": "z.png", "text": "one"}))
    assert np.array_equal(embedded("either", photos / "a.jsonl", "--modality", "text")[0], words(["one"]))
    assert embedded("either", photos / "a.jsonl", "--modality", "image")[0][:, :5].tolist() == COLOURS[1:]
    assert (
        "takes text or image: name one with --modality"
        in embed("either", photos / "a.jsonl", "-o", photos / "o.npy").stderr
    )


def test_options_of_the_producer(tmp_path):
    (tmp_path / "a.txt").write_text("one\n")
    x, _ = embedded("words", tmp_path / "a.txt", "--option", "scale=3", "--option", "sign=minus")
    assert np.array_equal(x, -3 * words(["one"]))


def test_memory_holds_one_chunk(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(map(str, range(1000))))
    x, _ = embedded("words", tmp_path / "a.txt", "--batch-size", 5)
    assert sys.modules["tiny_producers"].Words.largest == 40
    assert np.array_equal(x, words([str(i) for i in range(1000)]))


def test_the_output_goes_into_train_build_and_search(tmp_path):
    texts = [f"text {i}" for i in range(400)]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    embedded("words", tmp_path / "a.txt")
    vectors, model, index = tmp_path / "out.parquet", tmp_path / "m.safetensors", tmp_path / "i.bebr"
    for arguments in (
        ("train", vectors, "-o", model, "--bytes", 8),
        ("build", model, vectors, "-o", index),
        ("encode", model, vectors, "-o", tmp_path / "c.npy"),
    ):
        done(*arguments)
    hits = bebr.open_index(index).search(words(["text 7", "text 211"]), 5)
    assert 7 in hits.ids[0] and 211 in hits.ids[1]


def test_what_is_wrong_is_one_line_and_leaves_no_file(tmp_path, photos):
    (tmp_path / "a.txt").write_text("one\nbad\n")
    (tmp_path / "latin.txt").write_bytes(b"one\n\xe9t\xe9\n")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "list.jsonl").write_text('{"text": "a"}\n[1]')
    (tmp_path / "cut.jsonl").write_text('{"text": "a"}\n{"text"')
    (tmp_path / "key.jsonl").write_text('{"title": "a"}')
    (tmp_path / "number.jsonl").write_text('{"text": 3}')
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    pq.write_table(pa.table({"a": ["x", None], "b": ["x", "y"]}), tmp_path / "two.parquet")
    (tmp_path / "none").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "gone.jsonl").write_text('{"image": "gone.png"}')
    for producer, source, *options, message in [
        ("smell", "a.txt", "no producer is called 'smell'; known: "),
        ("timm", photos, "size: the producer 'timm' needs it; it takes: size, weights, device"),
        ("words", "a.txt", "--weights", "w", "weights: the producer 'words' takes no such option"),
        ("words", photos, "photos: got a folder, but words takes text (text: .txt, .jsonl or .parquet)"),
        (
            "colours",
            "a.txt",
            "a.txt: got a .txt of text, but colours takes image (image: a folder, .jsonl or .parquet)",
        ),
        ("pairs", photos, "got a folder, but pairs takes image+text (image+text: .jsonl or .parquet)"),
        ("words", "a.txt", "--modality", "image", "--modality: got 'image', but words takes text"),
        ("words", "a.txt", "--text-column", "t", "--text-column and --image-column are for .jsonl and .parquet"),
        ("words", "none.txt", "none.txt: no such file or folder"),
        ("words", "a.csv", "got suffix '.csv', wanted .txt, .jsonl, .parquet or a folder of pictures"),
        ("words", "empty.txt", "empty.txt: got no row, wanted at least one"),
        ("words", "latin.txt", "latin.txt: after line 0: not UTF-8 text"),
        ("words", "a.txt", "words gave a vector that is not finite for row 1: 'bad'"),
        ("words", "list.jsonl", "list.jsonl: line 2: got list, wanted an object"),
        ("words", "cut.jsonl", "cut.jsonl: line 2: not JSON"),
        ("words", "key.jsonl", "key.jsonl: line 1: no key 'text'; keys: title"),
        ("words", "number.jsonl", "number.jsonl: line 1: 'text' is int, wanted a string"),
        ("words", "cut.parquet", "cut.parquet: not a readable Parquet file"),
        ("words", "two.parquet", "name one with --text-column; columns that can hold text: a, b"),
        ("words", "two.parquet", "--text-column", "c", "column 'c' is absent; columns that can hold text: a, b"),
        ("words", "two.parquet", "--text-column", "a", "column 'a' is null in row 1"),
        ("colours", "none", "none: got no picture, wanted files named .bmp"),
        ("colours", "broken", "broken/a.png: not a readable picture"),
        ("colours", "gone.jsonl", "gone.png: no such file"),
        ("words", "a.txt", "--option", "depth=3", "depth: the producer 'words' takes no such option"),
        ("words", "a.txt", "--option", "depth", "--option: got 'depth', wanted NAME=VALUE"),
        ("words", "a.txt", "--option", "device=cuda", "--option: got 'device=cuda', wanted NAME=VALUE"),
        ("words", "a.txt", "--batch-size", 0, "--batch-size: got 0"),
        ("words", "a.txt", "--limit", 0, "--limit: got 0"),
    ]:
        for name in ("o.npy", "o.parquet"):
            result = embed(producer, tmp_path / source, "-o", tmp_path / name, *options)
            assert result.exit_code == 2 and result.stdout == "", (source, result.output)
            assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
            assert message in result.stderr
            assert not list(tmp_path.glob("o.*"))
    assert "'.csv', wanted one of .parquet, .npy, .fvecs" in embed("words", tmp_path / "a.txt", "-o", "o.csv").stderr


def test_missing_weights_and_packages_are_named(photos, monkeypatch):
    arguments = ("torchvision", photos, "-o", photos / "o.npy", "--size", "resnet18")
    pytest.importorskip("torchvision")
    assert "weights: got none, but torchvision brings none of its own" in embed(*arguments).stderr
    assert "weights: w.pth: no such file or folder" in embed(*arguments, "--weights", "w.pth").stderr
    monkeypatch.setitem(sys.modules, "torchvision", None)
    result = embed(*arguments)
    assert result.exit_code == 2 and "needs torchvision" in result.stderr
    assert result.stderr.endswith("pip install 'bebr[vision]'\n")


def test_labels_are_counted(tmp_path):
    with pytest.raises(ValueError, match="only Parquet files have named columns"):
        VectorWriter(tmp_path / "a.npy", 1, 2, np.float32, labels="item")
    for labels in (None, ["a", "b"]):
        with (
            pytest.raises(ValueError, match="labels, wanted 1"),
            VectorWriter(tmp_path / "a.parquet", 1, 2, np.float32, labels="item") as writer,
        ):
            writer.append(np.zeros((1, 2), np.float32), labels)
    with (
        pytest.raises(ValueError, match="got 1 labels, wanted none"),
        VectorWriter(tmp_path / "a.parquet", 1, 2, np.float32) as writer,
    ):
        writer.append(np.zeros((1, 2), np.float32), ["a"])
