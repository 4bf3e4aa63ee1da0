"""The method in the plainest float64 loops, for the tests to compare with."""

from __future__ import annotations

import numpy as np


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def groups(x: np.ndarray, radius: float) -> list[list[int]]:
    """Each row, in order, takes every later one near to it that is still free."""
    free = list(range(len(x)))
    out = []
    while free:
        first, *others = free
        near = [row for row in others if cosine(x[first], x[row]) >= radius]
        out.append([first, *near])
        free = [row for row in others if row not in near]
    return out


def late(
    votes: dict[str, int], vectors: dict[str, np.ndarray], tags: list[str], radius: float
) -> list[tuple[str, int]]:
    """Every vocabulary tag near to a named one gets its votes."""
    total = {}
    for tag in tags:
        near = [count for named, count in votes.items() if cosine(vectors[named], vectors[tag]) >= radius]
        if near:
            total[tag] = sum(near)
    return sorted(total.items(), key=lambda one: (-one[1], tags.index(one[0])))


def early(text_fields: dict[str, str], vectors: dict[str, np.ndarray], tags: list[str], k: int) -> set[str]:
    """The k nearest tags of each text field, together."""
    found: set[str] = set()
    for text in text_fields.values():
        if text.strip():
            found |= set(sorted(tags, key=lambda tag: -cosine(vectors[text], vectors[tag]))[:k])
    return found
