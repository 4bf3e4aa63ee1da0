"""Tasks on scenes of a few emoji, for an encoder that stays as it is: what is there, how many, which scenes hold it.

Counting and identification are those that GVT is judged by (arXiv 2305.12223, section 4): how many of a named kind are
there, and whether one is. A small resampler asks the encoder's tokens, with the kind's own vector in its latents.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

import bebr
from bebr.models.data.emoji import EmojiSet
from bebr.models.data.scenes import compose

__all__ = ["COUNTS", "Floats", "Probe", "Scenes", "drawn", "holding", "kinds_of"]

Floats = npt.NDArray[np.float32]
COUNTS = 3
"""Counts told apart: one, two, three or more."""


@dataclass(frozen=True)
class Scenes:
    """``images`` uint8 [n, side, side, 3]; ``owners`` uint8 [n, side, side] as a scene's; ``counts`` int64 [n, kinds]:
    how many there are of each kind; ``captions`` say it."""

    images: npt.NDArray[np.uint8]
    owners: npt.NDArray[np.uint8]
    counts: npt.NDArray[np.int64]
    captions: tuple[str, ...]


def kinds_of(emoji: EmojiSet, rows: Sequence[int], per_group: int) -> list[int]:
    """Of ``rows`` so many emoji of each group, the same always."""
    random = np.random.default_rng(0)
    groups: dict[str, list[int]] = {}
    for row in rows:
        groups.setdefault(emoji.emoji[row].group, []).append(row)
    return [int(row) for name in sorted(groups) for row in random.choice(groups[name], per_group, False)]


def drawn(
    emoji: EmojiSet,
    kinds: Sequence[int],
    styles: Sequence[str],
    count: int,
    seed: int,
    side: int,
    **options: Any,
) -> Scenes:
    """``count`` scenes of ``kinds``, rows of the set; the styles take turns, one a scene. options: ``compose``'s."""
    names = [emoji.emoji[kind].name for kind in kinds]
    pictures = {style: np.asarray(emoji.pictures[style][list(kinds)]) for style in styles}
    made = [
        compose(pictures[styles[number % len(styles)]], names, number, seed, side, **options) for number in range(count)
    ]
    counts = np.array([np.bincount(one.labels, minlength=len(kinds)) for one in made])
    images, owners = np.stack([one.image for one in made]), np.stack([one.owners for one in made])
    return Scenes(images, owners, counts, tuple(one.caption for one in made))


class Probe:
    """Trained once on the tokens [n, t, d] of some scenes and their counts, then asked about others.

    Tokens are brought to mean 0 and variance 1 a channel, go through one linear map to 64 dimensions and a resampler of
    two layers and eight latents, to which the vector of the kind asked about is added; the mean latent answers. Half
    the questions are about a kind that is there, each count as often; half about another.
    """

    def __init__(self, tokens: Floats, counts: npt.NDArray[np.int64], seed: int, steps: int, batch: int = 128) -> None:
        torch: Any = importlib.import_module("torch")
        perceiver = importlib.import_module("bebr.models.gvt.perceiver").Perceiver
        initialize = importlib.import_module("bebr.models.gvt.network").initialize
        training: Any = importlib.import_module("bebr.models.training")
        self.middle, self.spread = tokens.mean((0, 1)), tokens.std((0, 1)) + 1e-6
        nn = torch.nn
        with torch.random.fork_rng(devices=[]):
            self.net = nn.ModuleDict(
                {
                    "enter": nn.Linear(tokens.shape[2], 64),
                    "kinds": nn.Embedding(counts.shape[1], 64),
                    "resampler": perceiver(64, 8, 2, 4, 16),
                    "there": nn.Linear(64, 2),
                    "count": nn.Linear(64, COUNTS),
                }
            )
        initialize(self.net, seed)
        self.net["kinds"].weight.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(seed))
        self.net["resampler"].latents.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(seed + 1))
        random, entropy = np.random.default_rng(seed), nn.functional.cross_entropy
        present, absent = _present(counts), np.argwhere(counts == 0)
        optimizer = torch.optim.AdamW(training.parameter_groups(self.net, 0.05), 3e-3)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * training.rate(step, steps, 0.1)
            sizes = random.integers(0, COUNTS, batch // 2)
            there_are = [present[size][random.integers(len(present[size]))] for size in sizes]
            asked = np.concatenate([there_are, absent[random.integers(0, len(absent), batch - batch // 2)]])
            there, count = self._answers(tokens, asked)
            is_there = torch.from_numpy(np.arange(batch) < batch // 2).long()
            loss = entropy(there, is_there) + entropy(count[: batch // 2], torch.from_numpy(sizes))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        self.loss = float(loss.detach())

    def _answers(self, tokens: Floats, asked: npt.NDArray[np.int64]) -> tuple[Any, Any]:
        torch: Any = importlib.import_module("torch")
        x = torch.from_numpy((tokens[asked[:, 0]] - self.middle) / self.spread)
        kinds = self.net["kinds"](torch.from_numpy(asked[:, 1]))
        resampler = self.net["resampler"]
        out = resampler(self.net["enter"](x), resampler.latents + kinds[:, None]).mean(1)
        return self.net["there"](out), self.net["count"](out)

    def judge(self, tokens: Floats, counts: npt.NDArray[np.int64], seed: int) -> dict[str, float]:
        """``oc``: how often the count of a kind that is there is told, the mean over counts (by chance 1/3). ``mci``:
        how often it is told whether a kind is there, of all that are and as many that are not (by chance 1/2)."""
        torch: Any = importlib.import_module("torch")
        present = _present(counts)
        absent = np.argwhere(counts == 0)
        asked = np.concatenate(present)
        absent = absent[np.random.default_rng(seed).permutation(len(absent))[: len(asked)]]
        with torch.inference_mode():
            yes, count = self._answered(tokens, asked)
            no, _ = self._answered(tokens, absent)
        ends = np.cumsum([0, *map(len, present)])
        told = [float((count[a:b] == size).mean()) for size, (a, b) in enumerate(pairwise(ends))]
        return {"oc": float(np.mean(told)), "mci": float((yes == 1).mean() / 2 + (no == 0).mean() / 2)}

    def _answered(self, tokens: Floats, asked: npt.NDArray[np.int64]) -> tuple[Any, Any]:
        parts = [self._answers(tokens, asked[at : at + 512]) for at in range(0, len(asked), 512)]
        return tuple(np.concatenate([part[i].argmax(1).numpy() for part in parts]) for i in range(2))  # type: ignore[return-value]


def _present(counts: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """(scene, kind) of every kind that is there once, twice, thrice or more."""
    found = [np.argwhere(counts == size) for size in range(1, COUNTS)]
    return [*found, np.argwhere(counts >= COUNTS)]


def holding(
    queries: Sequence[Floats],
    kinds: npt.NDArray[np.int64],
    tokens: Floats,
    counts: npt.NDArray[np.int64],
    known: Floats,
    sizes: Sequence[int],
    seed: int,
) -> dict[str, Any]:
    """Share of a query's ten nearest scenes that hold its kind, by MaxSim of unit vectors: as floats, as codes of each
    of ``sizes`` bytes (ADC, ``bebr.MaxSimIndex`` with its default candidates), and as one mean vector of floats each.

    queries  for each the vectors [v, d] of the patches that one object of ``kinds[i]`` covers, alone on another ground
    known    float32 [m, d], what the binarizers are trained on
    """
    right = counts[:, kinds].T > 0

    def first(ids: npt.NDArray[np.int64]) -> float:
        return float(np.take_along_axis(right, ids, 1).mean())

    exact = np.stack(
        [
            (query @ tokens.reshape(-1, tokens.shape[2]).T).reshape(len(query), *tokens.shape[:2]).max(2).sum(0)
            for query in queries
        ]
    )
    middle = np.stack([query.mean(0) for query in queries]) @ tokens.mean(1).T / np.linalg.norm(tokens.mean(1), axis=1)
    out: dict[str, Any] = {"chance": float(right.mean()), "codes": {}}
    for name, scores in (("maxsim", exact), ("mean", middle)):
        out[name] = first(np.argsort(-scores, axis=1, kind="stable")[:, :10])
    for size in sizes:
        index = bebr.MaxSimIndex(bebr.FlatIndex(bebr.train(known, bytes_per_vector=size, metric="cosine", seed=seed)))
        index.add(tokens)
        out["codes"][str(size)] = first(index.search(queries, 10).ids)
    return out
