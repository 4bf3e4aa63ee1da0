"""What FLM is measured on: small scenes with captions, an eye taught to name what it sees, cloze, retrieval, pairs.

Scenes of three to five emoji out of 32 kinds, drawn in one style on 64 x 64 pixels. Everything is drawn by a seed;
parts of one seed have different scenes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import bebr
from bebr.models.data.emoji import EmojiSet
from bebr.models.data.scenes import compose

__all__ = ["KINDS", "World", "accuracy", "coded", "eyes", "same", "searched", "world"]

BYTES = (24, 48, 96)

KINDS, SIDE = 32, 64
GROUPS = ("animals & nature", "food & drink", "objects")
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """Pairs to train on, pairs for the curve of cloze accuracy, a gallery to search; ``kinds`` are rows of emoji."""

    kinds: list[int]
    train: Any
    asked: Any
    gallery: Any


def kinds_of(emoji: EmojiSet) -> list[int]:
    """32 emoji with names of one word, evenly spaced in the order of their code points."""
    rows = [
        row for row, one in enumerate(emoji.emoji) if one.group in GROUPS and " " not in one.name and one.name.isalpha()
    ]
    return rows[:: max(1, len(rows) // KINDS)][:KINDS]


def world(emoji: EmojiSet, seed: int, train: int, asked: int, gallery: int) -> World:
    """Scenes of one seed, numbered through."""
    composed = importlib.import_module("bebr.models.flm.data").composed
    kinds, parts, start = kinds_of(emoji), [], 0
    for count in (train, asked, gallery):
        parts.append(composed(emoji, kinds, range(start, start + count), seed, SIDE))
        start += count
    return World(kinds, *parts)


def eyes(
    emoji: EmojiSet, config: Any, scenes: int, steps: int, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Weights of a picture encoder that was taught on scenes of their own which kind each patch shows (ground counts a
    third of its pixels) and which are there at all: the stand-in for CLIP's, the same for every arm and seed."""
    torch: Any = importlib.import_module("torch")
    network = importlib.import_module("bebr.models.flm.network").Network(replace(config, vocab_size=5))
    producer: Any = importlib.import_module("bebr.models.flm.producer").Flm
    image: Any = importlib.import_module("PIL.Image")
    kinds = kinds_of(emoji)
    drawings, names = emoji.pictures["twemoji"][kinds], [emoji.emoji[row].name for row in kinds]
    size, across = config.patch_size, config.image_size // config.patch_size
    shown = [compose(drawings, names, number, 10_000, config.image_size, (3, 5)) for number in range(scenes)]
    patches, there = np.zeros((scenes, across**2), np.int64), np.zeros((scenes, len(kinds)), np.float32)
    for row, scene in enumerate(shown):
        named = np.array([0, *(label + 1 for label in scene.labels)])[scene.owners]
        for place in range(across**2):
            top, left = size * (place // across), size * (place % across)
            votes = np.bincount(named[top : top + size, left : left + size].ravel(), minlength=len(kinds) + 1)
            votes[0] //= 3
            patches[row, place] = votes.argmax()
        there[row, list(scene.labels)] = 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        heads = [torch.nn.Linear(config.width, len(kinds) + extra) for extra in (1, 0)]
    network.initialize(0)
    visual = network.vit_model["visual"]
    parameters = [one for part in (visual, *heads) for one in part.parameters()]
    adam = torch.optim.AdamW(parameters, 1e-3, betas=(0.9, 0.98))
    random, pixels = np.random.default_rng(0), producer.pixels
    holder = type("Holder", (), {"network": network, "device": "cpu"})()
    for step in range(steps):
        adam.param_groups[0]["lr"] = 1.5e-3 * min(1, (step + 1) / 50) * (1 - step / steps)
        rows = random.choice(scenes, 64, replace=False)
        y = visual(pixels(holder, [image.fromarray(shown[row].image) for row in rows]))
        named = torch.nn.functional.cross_entropy(
            heads[0](y[:, 1:]).flatten(0, 1), torch.from_numpy(patches[rows]).flatten()
        )
        seen = torch.nn.functional.binary_cross_entropy_with_logits(heads[1](y[:, 0]), torch.from_numpy(there[rows]))
        adam.zero_grad()
        (named + 10 * seen).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        if progress is not None:
            progress(step + 1, steps)
    return {key: value.detach().clone() for key, value in visual.state_dict().items()}


def accuracy(producer: Any, asked: Any, picture: Any, objective: str) -> float:
    """Share of tokens that are foretold from all others and the picture; ``picture`` is what the encoder made."""
    cloze = importlib.import_module("bebr.models.flm.cloze").cloze
    tokens = producer.ids(list(asked.captions))
    said, counted = cloze(producer.network, tokens, picture, producer.tokens.marks, objective)
    return float((said == tokens)[counted].float().mean())


def same(asked: Sequence[dict[int, int]], gallery: Sequence[dict[int, int]]) -> npt.NDArray[np.bool_]:
    """Which scenes of the gallery show exactly what is asked, bool [asked, gallery]: as many of each kind."""
    return np.array([[one == other for other in gallery] for one in asked])


def overlap(asked: Sequence[dict[int, int]], gallery: Sequence[dict[int, int]]) -> Floats:
    """Objects that two scenes have in common over those that either has, [asked, gallery]."""
    width = 1 + max(max(one) for one in (*asked, *gallery))
    a, b = (np.array([[one.get(kind, 0) for kind in range(width)] for one in some]) for some in (asked, gallery))
    both, either = np.minimum(a[:, None], b[None]).sum(2), np.maximum(a[:, None], b[None]).sum(2)
    return (both / either).astype(np.float32)


def searched(
    producer: Any, second: Any, known: Any, gallery: Any, queries: int, by: str, depth: int = 100
) -> dict[str, Any]:
    """Captions of the gallery's first scenes find pictures in an index of codes (48 bytes); then ``second`` looks at
    the first ``depth`` again, ``by`` head or likelihood. R@1 and R@10 before and after, the ceiling (R@depth), seconds,
    and what was put down."""
    reranker = importlib.import_module("bebr.models.flm.rerank").Reranker
    clock = importlib.import_module("time").process_time
    model = bebr.train(
        producer.embed(list(known.pictures)), bytes_per_vector=BYTES[len(BYTES) // 2], metric="cosine", seed=0
    )
    index = bebr.FlatIndex(model)
    index.add(producer.embed(list(gallery.pictures)))
    texts = list(gallery.captions[:queries])
    right = same(gallery.counts[:queries], gallery.counts)
    before = index.search(producer.embed(texts), depth)
    start = clock()
    after = reranker(second, lambda number: gallery.pictures[number], by)(texts, before)
    seconds = clock() - start
    hits = {name: np.take_along_axis(right, one.ids, 1) for name, one in (("before", before), ("after", after))}
    figures: dict[str, Any] = {
        f"r{k}_{name}": float(one[:, :k].any(1).mean()) for name, one in hits.items() for k in (1, 10)
    }
    figures |= {"ceiling": float(hits["before"].any(1).mean()), "rerank_seconds": seconds / queries}
    down = np.flatnonzero(hits["before"][:, 0] & ~hits["after"][:, 0])
    figures |= {
        "risen": int((~hits["before"][:, 0] & hits["after"][:, 0]).sum()),
        "fallen": [[texts[row], gallery.captions[int(after.ids[row, 0])]] for row in down],
    }
    return figures


def coded(producer: Any, known: Any, asked: Any, gallery: Any) -> dict[str, Any]:
    """Vectors of pairs: overlap of what a pair shows with its nearest pair and its nearest ten, by floats and by codes,
    and the share of the floats' nearest ten that codes find."""

    def pairs(of: Any) -> Floats:
        return np.asarray(producer.embed(list(zip(of.pictures, of.captions, strict=True))), np.float32)

    queries, rows, shares = pairs(asked), pairs(gallery), overlap(asked.counts, gallery.counts)
    exact = np.argsort(-(queries @ rows.T), 1, kind="stable")[:, :10]

    def figures(ids: npt.NDArray[np.int64]) -> dict[str, float]:
        got = np.take_along_axis(shares, ids, 1)
        kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids.tolist(), exact.tolist(), strict=True)])
        return {"overlap_1": float(got[:, 0].mean()), "overlap_10": float(got.mean()), "recall": float(kept)}

    out = {"floats": figures(exact), "chance": {"overlap_1": float(shares.mean())}}
    learned = pairs(known)
    for size in BYTES:
        index = bebr.FlatIndex(bebr.train(learned, bytes_per_vector=size, metric="cosine", seed=0))
        index.add(rows)
        out[f"ADC, {size}"] = figures(index.search(queries, 10).ids)
        out[f"SDC, {size}"] = figures(index.search(queries, 10, query="code").ids)
    return out
