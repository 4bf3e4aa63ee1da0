"""Debian's packages as apt describes them: a synopsis, a long description and debtags, which serve as topics."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bebr.models.data.sources import MissingSource
from bebr.models.data.splits import split

__all__ = ["HELPER", "LISTS", "Described", "load", "parts"]

LISTS = Path("/var/lib/apt/lists")
HELPER = Path("/usr/lib/apt/apt-helper")


@dataclass(frozen=True)
class Described:
    """One binary package. ``tags`` are as ``role::program``, sorted; empty where nobody gave any."""

    package: str
    synopsis: str
    description: str
    tags: tuple[str, ...]


def load(folder: Path = LISTS) -> list[Described]:
    """Every package with an English description, by name; of several versions the first that apt lists.

    The set changes whenever the archive does: it has no expected checksum. Raises MissingSource with the command that
    brings the descriptions.
    """
    described: dict[str, tuple[str, str]] = {}
    for path in sorted(folder.glob("*_Translation-en*")):
        for stanza in _stanzas(path):
            if "Description-en" in stanza and stanza.get("Package"):
                synopsis, _, long = stanza["Description-en"].partition("\n")
                described.setdefault(stanza["Package"], (synopsis.strip(), _prose(long)))
    if not described:
        raise MissingSource("debian: apt has no English descriptions: apt-get update -o Acquire::Languages=en")
    tags: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("*_Packages*")):
        for stanza in _stanzas(path):
            if "Tag" in stanza and stanza.get("Package"):
                found = sorted({tag for part in stanza["Tag"].split(",") if (tag := " ".join(part.split()))})
                tags.setdefault(stanza["Package"], tuple(found))
    return [Described(name, *texts, tags.get(name, ())) for name, texts in sorted(described.items())]


def parts(packages: list[Described], seed: int = 0) -> dict[str, list[int]]:
    """Rows of train, validation and test. Packages of one description go together (a library and its debug symbols)."""
    return split([one.description or one.package for one in packages], seed=seed)


def _stanzas(path: Path) -> Iterator[dict[str, str]]:
    """The fields of each stanza; the lines of a folded field keep their breaks. apt unpacks compressed lists."""
    if path.suffix in (".lz4", ".gz", ".xz", ".zst", ".bz2"):
        if not HELPER.is_file():
            raise MissingSource(f"debian: {HELPER} is absent: this set needs a system that uses apt")
        plain = subprocess.run([str(HELPER), "cat-file", str(path)], check=True, capture_output=True).stdout
    else:
        plain = path.read_bytes()
    for text in plain.decode("utf-8", errors="replace").split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in text.split("\n"):
            if line.startswith((" ", "\t")) and name:
                fields[name] += "\n" + line
            elif ":" in line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            yield fields


def _prose(folded: str) -> str:
    # A line that holds a full stop alone stands for an empty one.
    lines = ("" if line.strip() == "." else line.strip() for line in folded.split("\n"))
    return " ".join(" ".join(lines).split())
