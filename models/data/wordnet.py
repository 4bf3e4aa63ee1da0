"""WordNet 3.0 (Debian's ``wordnet-base``): what words mean, with examples, and which meanings are near each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bebr.models.data.sources import MissingSource, checksum, verified
from bebr.models.data.splits import split

__all__ = ["FOLDER", "Synset", "load", "parts"]

FOLDER = Path("/usr/share/wordnet")
_FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
_EXAMPLE = re.compile(r'"([^"]+)"')


@dataclass(frozen=True)
class Synset:
    """One meaning. ``key`` is its part of speech and offset, as ``n00001740``; ``pointers`` are (symbol, key): ``@`` is
    the more general meaning, ``~`` a more special one (wninput(5WN) lists the symbols)."""

    key: str
    words: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]
    pointers: tuple[tuple[str, str], ...]


def load(folder: Path = FOLDER) -> list[Synset]:
    """The 117,659 synsets in file order. Raises MissingSource naming the package, ValueError naming a damaged line."""
    synsets: list[Synset] = []
    found: list[bytes] = []
    for part in _FILES.values():
        path = folder / f"data.{part}"
        if not path.is_file():
            raise MissingSource(f"wordnet: {path} is absent: apt-get install wordnet-base")
        found.append(path.read_bytes())
        for number, line in enumerate(found[-1].decode("latin-1").splitlines(), 1):
            if line.startswith("  "):  # the licence, at the head of each file
                continue
            try:
                synsets.append(_synset(line))
            except (ValueError, IndexError) as error:
                raise ValueError(f"{path}: line {number}: not a synset as wndb(5WN) describes it") from error
    verified("wordnet", checksum(found))
    return synsets


def parts(synsets: list[Synset], seed: int = 0) -> dict[str, list[int]]:
    """Rows of train, validation and test; meanings of one definition go together."""
    return split([one.definition for one in synsets], seed=seed)


def _synset(line: str) -> Synset:
    data, bar, gloss = line.partition("|")
    fields = data.split()
    if not bar:
        raise ValueError("no gloss")
    kind = "a" if fields[2] == "s" else fields[2]  # a satellite lies among the adjectives
    count = int(fields[3], 16)
    words = tuple(fields[4 + 2 * i].partition("(")[0].replace("_", " ") for i in range(count))
    start = 5 + 2 * count
    pointers = []
    for i in range(int(fields[start - 1])):
        symbol, offset, to, _ = fields[start + 4 * i : start + 4 * i + 4]
        pointers.append((symbol, f"{to}{offset}"))
    examples = tuple(_EXAMPLE.findall(gloss))
    definition = _EXAMPLE.sub("", gloss).strip(" ;") if examples else gloss.strip()
    return Synset(f"{kind}{fields[0]}", words, " ".join(definition.split()).rstrip(" ;"), examples, tuple(pointers))
