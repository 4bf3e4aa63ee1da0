"""CLIP's byte pair encoding (Radford et al. 2021, section 2.4; Sennrich et al. 2016), of its vocabulary or one learned.

A vocabulary is its list of merges: before them come the 256 bytes, and these again as ends of words; behind them the
marks for beginning and end, so that the end is the largest id. Differs from CLIP's own tokenizer in one thing: web
page entities and mangled Unicode are not repaired first. Texts longer than the context keep their end mark.
"""

from __future__ import annotations

import gzip
import heapq
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers

__all__ = ["BASE", "FILES", "Merge", "Tokens", "learn", "vocabulary_of"]

Merge = tuple[str, str]
BASE = 2 * 256 + 2  # ids that are no merges
FILES = ("merges.txt", "bpe_simple_vocab_16e6.txt.gz")
_BEGIN, _END, _STOP = "<|startoftext|>", "<|endoftext|>", "</w>"
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class Tokens:
    """Texts to ids, begin and end marks included, padded with 0 to the longest of a batch."""

    def __init__(self, merges: Sequence[Merge], context: int) -> None:
        if context < 2:
            raise ValueError(f"context: got {context}, wanted at least 2 tokens")
        self.merges, self.size = tuple(merges), BASE + len(merges)
        letters = _letters()
        words = [*letters, *(letter + _STOP for letter in letters), *map("".join, merges), _BEGIN, _END]
        vocabulary = {word: place for place, word in enumerate(words)}
        if len(vocabulary) != len(words):
            twice = next(word for word, count in Counter(words).items() if count > 1)
            raise ValueError(f"vocabulary: {twice!r} comes out twice: not CLIP's kind of merges")
        known: set[str] = set()
        for pair in merges:
            for half in pair:
                if half not in vocabulary or (len(half.removesuffix(_STOP)) > 1 and half not in known):
                    raise ValueError(f"vocabulary: the merge {' '.join(pair)!r} comes before {half!r} is made")
            known.add("".join(pair))
        made = tokenizers.Tokenizer(
            tokenizers.models.BPE(vocabulary, list(merges), unk_token=_END, end_of_word_suffix=_STOP)
        )
        made.normalizer = tokenizers.normalizers.Sequence(
            [
                tokenizers.normalizers.NFC(),
                tokenizers.normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
                tokenizers.normalizers.Lowercase(),
            ]
        )
        made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
            [
                tokenizers.pre_tokenizers.Split(tokenizers.Regex(_PIECES), "removed", invert=True),
                tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        marks = [(mark, vocabulary[mark]) for mark in (_BEGIN, _END)]
        made.post_processor = tokenizers.processors.TemplateProcessing(f"{_BEGIN} $A {_END}", special_tokens=marks)
        made.enable_truncation(context)
        made.enable_padding(pad_id=0, pad_token=words[0])
        self._tokenizer = made

    @classmethod
    def read(cls, path: Path, size: int, context: int) -> Tokens:
        """From ``merges.txt``, or ``bpe_simple_vocab_16e6.txt.gz`` as CLIP and SLIP bring it: the first line is a
        heading, each other a merge; as many are taken as a vocabulary of ``size`` has.

        Raises FileNotFoundError, ValueError naming the file where it is too short or no list of merges.
        """
        if not path.is_file():
            raise FileNotFoundError(f"vocabulary: {path}: no such file; wanted {' or '.join(FILES)}")
        try:
            raw = path.read_bytes()
            lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8").splitlines()[1:]
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise ValueError(f"vocabulary: {path}: not readable: {error}") from error
        if len(lines) < size - BASE:
            raise ValueError(f"vocabulary: {path}: has {len(lines):,} merges, wanted {size - BASE:,}")
        merges = []
        for number, line in enumerate(lines[: size - BASE], 2):
            pair = line.split()
            if len(pair) != 2:
                raise ValueError(f"vocabulary: {path}: line {number}: got {line!r}, wanted two parts of a word")
            merges.append((pair[0], pair[1]))
        return cls(merges, context)

    def save(self, path: Path) -> None:
        """Write ``merges.txt``."""
        path.write_text("\n".join(["#version: 0.2", *map(" ".join, self.merges)]) + "\n", encoding="utf-8")

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """int64 [n, t]."""
        return np.array([one.ids for one in self._tokenizer.encode_batch(list(texts))], dtype=np.int64)


def vocabulary_of(folder: Path, given: str | Path | None) -> Path:
    """``given``, or the list of merges in ``folder``; FileNotFoundError naming what would do where there is none."""
    if given is not None:
        return Path(given).expanduser()
    found = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"vocabulary: {folder}: has none; wanted {' or '.join(FILES)}, or its path")
    return found


def learn(texts: Iterable[str], count: int) -> list[Merge]:
    """The ``count`` merges that join the most frequent neighbours within words, one after the other; ties go to the
    pair first in code point order, so the same texts give the same list everywhere. Fewer where the words run out.

    Words are those of letters and digits: marks of punctuation stay single bytes.
    """
    if count < 0:
        raise ValueError(f"count: got {count}, wanted at least 0")
    letters = _by_byte()
    found = Counter(word for text in texts for word in re.findall(r"[^\W\d_]+", " ".join(text.split()).lower()))
    words = []
    for word, times in sorted(found.items()):
        parts = [letters[byte] for byte in word.encode()]
        words.append(([*parts[:-1], parts[-1] + _STOP], times))
    pairs: Counter[Merge] = Counter()
    where: dict[Merge, set[int]] = {}
    for place, (parts, times) in enumerate(words):
        for pair in pairwise(parts):
            pairs[pair] += times
            where.setdefault(pair, set()).add(place)
    waiting = [(-times, pair) for pair, times in pairs.items()]
    heapq.heapify(waiting)
    merges: list[Merge] = []
    made: set[str] = set()
    while len(merges) < count and waiting:
        negative, best = heapq.heappop(waiting)
        if pairs[best] != -negative or not pairs[best]:
            continue  # counted anew since: it is in the heap again
        if "".join(best) in made:  # two ways to one word would be two ids for it
            continue
        merges.append(best)
        made.add("".join(best))
        for place in sorted(where.pop(best)):
            parts, times = words[place]
            changed = set()
            for pair in pairwise(parts):
                pairs[pair] -= times
                changed.add(pair)
            joined = _joined(parts, best)
            words[place] = (joined, times)
            for pair in pairwise(joined):
                pairs[pair] += times
                where.setdefault(pair, set()).add(place)
                changed.add(pair)
            for pair in changed:
                heapq.heappush(waiting, (-pairs[pair], pair))
    return merges


def _joined(parts: list[str], pair: Merge) -> list[str]:
    out: list[str] = []
    at = 0
    while at < len(parts):
        if at + 1 < len(parts) and (parts[at], parts[at + 1]) == pair:
            out.append(parts[at] + parts[at + 1])
            at += 2
        else:
            out.append(parts[at])
            at += 1
    return out


def _letters() -> list[str]:
    """A printable character for each byte, in the order of ids: those that are printable first, then the others."""
    by_byte = _by_byte()
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [by_byte[byte] for byte in [*printable, *(byte for byte in range(256) if byte not in printable)]]


def _by_byte() -> list[str]:
    """A byte's character: itself where that is printable in Latin-1, else one from 256 on, in order."""
    characters, free = [], 256
    for byte in range(256):
        if 33 <= byte < 127 or 161 <= byte < 173 or byte >= 174:
            characters.append(chr(byte))
        else:
            characters.append(chr(free))
            free += 1
    return characters
