"""Tasks on emoji that an encoder has not seen: a name finds its picture, a drawing another drawing, a few name a group.

All figures lie between 0 and 1. Galleries hold the held-out emoji in one style, each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import bebr
from bebr.models.data.emoji import EmojiSet

__all__ = ["SEEN", "UNSEEN", "Floats", "HeldOut", "coded", "cross_style", "few_shot", "found", "ranked_first", "split"]

Floats = npt.NDArray[np.float32]
SEEN, UNSEEN = ("noto", "twemoji", "openmoji"), "fluent"
SHOTS, DRAWS, RIDGE = 5, 20, 0.1


def split(emoji: EmojiSet, seed: int) -> tuple[list[int], list[int]]:
    """Rows to train on and rows held out (the validation and test parts: a fifth), another choice for each seed."""
    parts = emoji.split(seed)
    return parts["train"], sorted(parts["validation"] + parts["test"])


@dataclass(frozen=True)
class HeldOut:
    """Unit vectors of the held-out emoji: pictures by style, names, and each one's group by number."""

    pictures: dict[str, Floats]
    names: Floats | None
    groups: npt.NDArray[np.int64]


def ranks(queries: Floats, gallery: Floats) -> npt.NDArray[np.int64]:
    """At which place, from 1 on, query i finds row i of the gallery; behind all rows that score as high."""
    scores = queries @ gallery.T
    return (scores >= np.diag(scores)[:, None]).sum(1)


def found(held: HeldOut, styles: Sequence[str], depth: int) -> float:
    """Share of names whose picture is among the first ``depth``; the mean over galleries of ``styles``."""
    if held.names is None:
        return float("nan")
    return float(np.mean([(ranks(held.names, held.pictures[style]) <= depth).mean() for style in styles]))


def cross_style(held: HeldOut, queries: Sequence[str], galleries: Sequence[str]) -> float:
    """Mean average precision of the same emoji in another style (of one right answer: 1 / rank), over all pairs of
    different styles."""
    pairs = [(a, b) for a in queries for b in galleries if a != b]
    return float(np.mean([(1 / ranks(held.pictures[a], held.pictures[b])).mean() for a, b in pairs]))


def few_shot(held: HeldOut, styles: Sequence[str], seed: int) -> float:
    """Accuracy of naming an emoji's group, the mean over groups, after five examples of each: a ridge regression on
    centred features, the mean of 20 draws. Examples are of ``SEEN`` styles; the pictures asked are of ``styles``, of
    other emoji."""
    random = np.random.default_rng(seed)
    kinds = np.unique(held.groups)
    if min((held.groups == kind).sum() for kind in kinds) <= SHOTS:
        raise ValueError(f"groups: one has {SHOTS} emoji or fewer held out: nothing would be left to ask")
    scores = []
    for _ in range(DRAWS):
        shots = np.concatenate([random.choice(np.flatnonzero(held.groups == kind), SHOTS, False) for kind in kinds])
        drawn = random.integers(0, len(SEEN), len(shots))
        x = np.stack([held.pictures[SEEN[style]][row] for style, row in zip(drawn, shots, strict=True)])
        middle = x.mean(0)
        x = x - middle
        wanted = np.where(held.groups[shots][:, None] == kinds, 1.0, -1.0)
        weights = x.T @ np.linalg.solve(x @ x.T + RIDGE * np.eye(len(x)), wanted)
        asked = np.setdiff1d(np.arange(len(held.groups)), shots)
        for style in styles:
            named = kinds[((held.pictures[style][asked] - middle) @ weights).argmax(1)]
            right = named == held.groups[asked]
            scores.append(np.mean([right[held.groups[asked] == kind].mean() for kind in kinds]))
    return float(np.mean(scores))


def ranked_first(held: HeldOut, a: str, b: str) -> float:
    """Share of drawings in style ``a`` whose nearest in style ``b`` is the same emoji: what codes are set against."""
    return float(((held.pictures[a] @ held.pictures[b].T).argmax(1) == np.arange(len(held.groups))).mean())


def coded(held: HeldOut, model: bebr.Binarizer, query: str) -> dict[str, float]:
    """R@1 and R@10 of names, where there are some, and cross-style R@1, all among ``SEEN`` styles, with galleries as
    codes; ``query`` is ``"float"`` (ADC) or ``"code"`` (SDC). Ties go to the lower row, which here is as good as
    chance."""
    own = np.arange(len(held.groups))[:, None]
    order = np.random.default_rng(0).permutation(len(own))  # ties must not favour any row
    at: dict[str, list[float]] = {"r1": [], "r10": [], "cross_r1": []}
    for style in SEEN:
        index = bebr.FlatIndex(model)
        index.add(held.pictures[style][order])

        def rows(x: Floats, k: int, index: bebr.FlatIndex = index) -> npt.NDArray[np.int64]:
            return np.asarray(order[index.search(x, k, query=query).ids])  # type: ignore[arg-type]

        if held.names is not None:
            hits = rows(held.names, 10) == own
            at["r1"].append(float(hits[:, 0].mean()))
            at["r10"].append(float(hits.any(1).mean()))
        for other in SEEN:
            if other != style:
                at["cross_r1"].append(float((rows(held.pictures[other], 1) == own).mean()))
    return {name: float(np.mean(values)) for name, values in at.items() if values}
