"""Tags against debtags: packages as items with text fields, debtags as gold, what is right and what repeats itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bebr.models.data.debian import Described

__all__ = ["Packages", "gold_words", "is_right", "labels", "precision", "redundancy", "sample"]

DEPTH = 5
_ENDINGS = ("ings", "ing", "ors", "ers", "or", "er", "ies", "ed", "es", "s", "y")
_NO_CONTENT = {"todo"}


@dataclass(frozen=True)
class Packages:
    """Items and what Debian's people tagged them with, row by row."""

    text_fields: list[dict[str, str]]
    debtags: list[tuple[str, ...]]


def sample(packages: Sequence[Described], seed: int, build: int, held: int) -> tuple[Packages, Packages]:
    """Tagged packages of different descriptions, drawn by ``seed``: those that a vocabulary is built from, and others
    to be tagged. ValueError where there are too few."""
    distinct = list({one.description: one for one in packages if one.tags and one.description}.values())
    if len(distinct) < build + held:
        raise ValueError(f"packages: got {len(distinct):,} with debtags, wanted {build + held:,}")
    drawn = [distinct[row] for row in np.random.default_rng(seed).permutation(len(distinct))[: build + held]]

    def part(chosen: Sequence[Described]) -> Packages:
        text_fields = [{"synopsis": one.synopsis, "description": one.description} for one in chosen]
        return Packages(text_fields, [one.tags for one in chosen])

    return part(drawn[:build]), part(drawn[build:])


def labels(debtags: Sequence[str]) -> list[str]:
    """The values of debtags as words: ``works-with::image:raster`` is ``image raster``."""
    found = (" ".join(re.split(r"[:\s-]+", tag.partition("::")[2].casefold())).strip() for tag in debtags)
    return list(dict.fromkeys(label for label in found if label and label not in _NO_CONTENT))


def gold_words(debtags: Sequence[str]) -> set[str]:
    """Stems of all words in the values of an item's debtags."""
    return {_stem(word) for label in labels(debtags) for word in label.split()}


def is_right(tag: str, gold: set[str]) -> bool:
    """Whether at least half of a tag's words are among ``gold``. Words are the same if their stems are, or if one stem,
    of three letters or more, begins the other: ``devel`` and ``development``."""
    words = [_stem(word) for word in re.findall(r"[^\W_]+\+*", tag.casefold())]
    return bool(words) and 2 * sum(any(_same(word, one) for one in gold) for word in words) >= len(words)


def precision(
    chosen: Sequence[Sequence[str]], gold: Sequence[set[str]], depth: int = DEPTH, emitted: bool = False
) -> float:
    """Mean share of right tags among the first ``depth``. A place left empty is wrong, unless ``emitted``: then shares
    are of the tags that are there, over the items that have any."""
    shares = []
    for tags, words in zip(chosen, gold, strict=True):
        first = list(tags)[:depth]
        if first or not emitted:
            shares.append(sum(is_right(tag, words) for tag in first) / (len(first) if emitted else depth))
    return float(np.mean(shares)) if shares else 0.0


def redundancy(x: npt.NDArray[np.float32], block: int = 1024) -> float:
    """Mean over rows of unit length float32[n, d] of the greatest cosine with another row; 0 for fewer than two."""
    if len(x) < 2:
        return 0.0
    best = []
    for start in range(0, len(x), block):
        scores = x[start : start + block] @ x.T
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        best.append(scores.max(axis=1))
    return float(np.concatenate(best).mean())


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _same(a: str, b: str) -> bool:
    return a == b or (min(len(a), len(b)) >= 3 and (a.startswith(b) or b.startswith(a)))
