"""π-Tuning against one adapter, against the least alike experts and against a plain mean; and experts as versions.

python -m benchmarks.models.pi_tuning --seeds 0 1 2 3 4 --json pi_tuning.json

Hypothesis, fixed before the first run: a task of 16 examples a class gains from the experts of the tasks that Fisher
information finds most alike, more than from those of the least alike. A trunk is trained on emoji by contrast and
frozen. Twelve small tasks (a picture's group in each of four styles and the same of names and keywords; its style;
which of six frequent keywords it has, in each style and by its name) get an adapter each, of many examples. Eight of
them in turn are the target with 16 examples a class and the other eleven the sources. Accuracy is that on held-out
emoji. All arms begin with the target's own adapter and take the same further steps:

single  its own adapter alone
top     mixed with the two most alike, by Fisher information: π-Tuning
bottom  mixed with the two least alike
soup    the plain mean of the same three as top's, taken further as one adapter

Five seeds of eight targets are 40 paired runs. It passes if, by the paired 95% interval over the runs, top lies above
single and above bottom; and if, by the mean over seeds, queries of the version with the first target's merged expert
find at least .9 of what the trunk's own queries find (R@10 of the same emoji in another style) on the trunk's codes of
100 bytes, by a model trained with ``compatible_with=`` the trunk's. What fails is printed.

Steps are equal; seconds are printed. This is no reproduction: network, data, heads and settings are ours.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import bebr
from bebr.models.data import MissingSource, emoji
from bebr.models.data.emoji import STYLES, EmojiSet
from benchmarks import output
from benchmarks.models import experiment
from benchmarks.models.emoji_tasks import Floats, split
from benchmarks.models.kept import Kept, Row
from benchmarks.models.paired import Difference, difference, spread

ARMS = ("single", "top", "bottom", "soup")
TARGETS = tuple(f"{what}/{style}" for what in ("group", "keyword") for style in STYLES)
NEAR, SHOTS, KEYWORDS = 2, 16, 6
BYTES, LEAST, RUNS, DEPTH = 100, 0.9, 40, 10
VERSION = "version"


@dataclass(frozen=True)
class Task:
    """Items with their labels to train on, and held-out ones."""

    items: list[Any]
    labels: npt.NDArray[np.int64]
    asked: list[Any]
    right: npt.NDArray[np.int64]

    def few(self, seed: int) -> tuple[list[Any], npt.NDArray[np.int64]]:
        """``SHOTS`` items of each label to train on, or all where there are fewer."""
        random = np.random.default_rng(seed)
        rows = np.concatenate(
            [random.permutation(np.flatnonzero(self.labels == one))[:SHOTS] for one in np.unique(self.labels)]
        )
        return [self.items[row] for row in rows], self.labels[rows]


def tasks(data: EmojiSet, rows: Sequence[int], held: Sequence[int]) -> dict[str, Task]:
    """All twelve by name; ``rows`` are trained on, ``held`` asked."""
    groups = {one: number for number, one in enumerate(sorted({one.group for one in data.emoji}))}
    counts = Counter(word for row in rows for word in dict.fromkeys(data.emoji[row].keywords))
    words = sorted(counts, key=lambda word: (-counts[word], word))[:KEYWORDS]

    def group(row: int) -> int:
        return groups[data.emoji[row].group]

    def keyword(row: int) -> int:
        found = [number for number, word in enumerate(words) if word in data.emoji[row].keywords]
        return found[0] if len(found) == 1 else -1  # of several, none is the right one

    def made(item: Callable[[int], Any], label: Callable[[int], int]) -> Task:
        parts: list[Any] = []
        for some in (rows, held):
            chosen = [row for row in some if label(row) >= 0]
            parts += [[item(row) for row in chosen], np.array([label(row) for row in chosen], np.int64)]
        return Task(*parts)

    def drawn(style: str) -> Callable[[int], Any]:
        return lambda row: data.pictures[style][row]

    names = list(STYLES)
    found = {f"group/{style}": made(drawn(style), group) for style in names}
    found |= {f"keyword/{style}": made(drawn(style), keyword) for style in names}
    found["group/name"] = made(lambda row: data.emoji[row].name, group)
    found["group/keywords"] = made(lambda row: " ".join(data.emoji[row].keywords), group)
    found["keyword/name"] = made(lambda row: data.emoji[row].name, keyword)
    found["style"] = made(lambda row: data.pictures[names[row % len(names)]][row], lambda row: row % len(names))
    return found


def found_by(ids: Any) -> float:
    """Share of queries i that find row i."""
    return float((np.asarray(ids) == np.arange(len(ids))[:, None]).any(1).mean())


def versions(old: Any, new: Any, data: EmojiSet, rows: Sequence[int], held: Sequence[int], seed: int) -> Row:
    """R@10 of held-out emoji in another style on the old version's codes: its own queries, and the new version's."""

    def embedded(producer: Any, some: Sequence[int]) -> dict[str, Floats]:
        return {style: producer.embed(list(data.pictures[style][list(some)]), 256) for style in STYLES}

    known = [np.concatenate(list(embedded(one, rows).values())) for one in (old, new)]
    asked = [embedded(one, held) for one in (old, new)]
    before = bebr.train(known[0], bytes_per_vector=BYTES, metric="cosine", seed=seed)
    after = bebr.train(
        known[1], bytes_per_vector=BYTES, metric="cosine", compatible_with=before, old_vectors=known[0], seed=seed
    )
    at: dict[str, list[float]] = {"old_on_old": [], "new_on_old": []}
    for style in STYLES:
        index = bebr.FlatIndex(before)
        index.add(asked[0][style])
        for other in STYLES:
            if other != style:
                at["old_on_old"].append(found_by(index.search(asked[0][other], DEPTH).ids))
                at["new_on_old"].append(found_by(index.search(asked[1][other], DEPTH, binarizer=after).ids))
    return {name: float(np.mean(values)) for name, values in at.items()}


def run(
    data: EmojiSet, kept: Kept, options: argparse.Namespace, report: Callable[[str], Callable[[int, int], None]]
) -> None:
    """Every target under every seed that the file does not hold yet; a seed's trunk and sources are trained anew."""
    parts: Any = [
        importlib.import_module(f"bebr.models.pi_tuning.{name}") for name in ("training", "fisher", "mixture", "held")
    ]
    training, fisher, mixture, keeping = parts
    for seed in options.seeds:
        missing = [target for target in options.targets if any(not kept.find(arm, target, seed) for arm in ARMS)]
        if not missing and kept.find(VERSION, VERSION, seed):
            continue
        rows, held = split(data, seed)
        every = tasks(data, rows, held)
        trunk = pretrained(data, rows, options, seed, report(f"trunk, seed {seed}"))
        experts: dict[str, Any] = {}
        marks: dict[str, Any] = {}
        for name, task in every.items():
            items = keeping.Held(trunk, task.items)
            given = settings(options, items, options.steps, seed) | {"progress": report(f"{name}, seed {seed}")}
            trained = training.fit(trunk, items, task.labels, size=options.width, **given)
            experts[name] = trained.expert
            marks[name] = fisher.embedding(trunk, trained, items, task.labels, seed)
        for target in options.targets:
            task = every[target]
            chosen, labels = task.few(seed)
            few, asked = (keeping.Held(trunk, chosen), labels), keeping.Held(trunk, task.asked)
            own = training.fit(trunk, *few, size=options.width, **settings(options, few[0], options.few, seed))
            others = {name: one for name, one in marks.items() if name != target}
            order = [name for name, _ in fisher.nearest(fisher.embedding(trunk, own, *few, seed), others)]
            names: dict[str, list[str]] = {
                "single": [],
                "top": order[:NEAR],
                "bottom": order[-NEAR:],
                "soup": order[:NEAR],
            }
            for arm in ARMS:
                begin, sources = own, [experts[name] for name in names[arm]]
                if arm == "soup":
                    begin, sources = replace(own, expert=mixture.Mixture([own.expert, *sources]).merged()), []
                mixed = training.interpolate(
                    trunk, begin, sources, *few, **settings(options, few[0], options.further, seed)
                )
                if arm == "top" and target == options.targets[0] and not kept.find(VERSION, VERSION, seed):
                    new = trunk.with_expert(mixed.expert)
                    add(kept, VERSION, VERSION, seed, versions(trunk, new, data, rows, held, seed))
                if not kept.find(arm, target, seed):
                    accuracy = float((mixed.predict(trunk, asked) == task.right).mean())
                    figures = {"accuracy": accuracy, "sources": names[arm], "seconds": mixed.log.seconds}
                    add(kept, arm, target, seed, figures)


def settings(options: argparse.Namespace, items: Sequence[Any], steps: int, seed: int) -> dict[str, Any]:
    """What every training of an expert has in common."""
    batch = min(options.batch, len(items))
    return {"batch_size": batch, "learning_rate": options.rate, "steps": steps, "seed": seed}


def add(kept: Kept, arm: str, target: str, seed: int, figures: Row) -> None:
    """Keep one row, and write the file."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    kept.rows.append({"arm": arm, "budget": target, "seed": seed, **figures, "time": now})
    kept.save()


def pretrained(
    data: EmojiSet, rows: Sequence[int], options: argparse.Namespace, seed: int, progress: Callable[[int, int], None]
) -> Any:
    """A trunk that has seen the training emoji in all styles, with their names."""
    pairs = importlib.import_module("bebr.models.rils.data").Pairs.of_emoji(data, rows, list(STYLES))
    producer = importlib.import_module("bebr.models.pi_tuning.producer").PiTuning.fresh(
        [text for some in pairs.texts for text in some], seed=seed
    )
    fit = importlib.import_module("bebr.models.pi_tuning.training").pretrain
    fit(producer, pairs, steps=options.trunk, batch_size=min(128, len(pairs)), seed=seed, progress=progress)
    return producer


def compared(kept: Kept, options: argparse.Namespace, rival: str) -> Difference | None:
    """Accuracy of top less the rival's, over the runs that have both; None where none has."""
    pairs = [
        (ours["accuracy"], theirs["accuracy"])
        for seed in options.seeds
        for target in options.targets
        if (ours := kept.find("top", target, seed)) and (theirs := kept.find(rival, target, seed))
    ]
    return difference(*zip(*pairs, strict=True)) if pairs else None


def reached(kept: Kept, options: argparse.Namespace) -> float:
    """What new queries find on old codes, as a share of what old ones find; not a number where nothing was measured."""
    rows = [row for seed in options.seeds if (row := kept.find(VERSION, VERSION, seed))]
    old, new = (float(np.mean([row[name] for row in rows] or [np.nan])) for name in ("old_on_old", "new_on_old"))
    return new / old if old > 0 else float("nan")


def failures(kept: Kept, options: argparse.Namespace) -> list[str]:
    """The parts of the rule above that do not hold, or that nothing was measured for."""
    out = []
    for rival in ("single", "bottom"):
        gap = compared(kept, options, rival)
        if gap is None or gap.pairs < RUNS:
            out.append(f"not measured in {RUNS} paired runs: against {rival} ({gap.pairs if gap else 0})")
        elif gap.verdict != "better":
            out.append(f"accuracy of {SHOTS} examples a class, against {rival}: {gap}, wanted better")
    share = reached(kept, options)
    if not share >= LEAST:
        out.append(f"new queries on old codes of {BYTES} bytes reach {share:.3f} of the old ones, wanted {LEAST}")
    return out


def show(kept: Kept, console: Console, options: argparse.Namespace) -> None:
    """Accuracy by arm and target, differences, and what versions find."""
    table = Table("accuracy", *ARMS)
    for target in (*options.targets, "all"):
        cells = []
        for arm in ARMS:
            some = options.targets if target == "all" else (target,)
            rows = [row for one in some for seed in options.seeds if (row := kept.find(arm, one, seed))]
            cells.append(spread([float(row["accuracy"]) for row in rows]) if rows else "-")
        table.add_row(target, *cells)
    seconds = [[row["seconds"] for row in kept.rows if row["arm"] == arm] for arm in ARMS]
    table.add_row("CPU seconds of the further steps", *(f"{np.mean(one):.1f}" if one else "-" for one in seconds))
    console.print(table)
    for rival in ARMS:
        gap = compared(kept, options, rival) if rival != "top" else None
        if gap is not None:
            console.print(f"top less {rival}, {gap.pairs} paired runs: {gap}")
    for seed in options.seeds:
        row = kept.find(VERSION, VERSION, seed)
        if row:
            old, new = row["old_on_old"], row["new_on_old"]
            console.print(f"seed {seed}, R@10 on old codes of {BYTES} bytes: old queries {old:.3f}, new {new:.3f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.models.pi_tuning``; 1 where a part of the rule fails or a source is absent."""
    seeds = [0, 1, 2, 3, 4]
    parser = experiment.parser("pi_tuning", __doc__, seeds, "split, start, batches and examples", goes_on=True)
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--trunk", type=int, default=600, help="steps of the trunk, of 128 pairs")
    parser.add_argument("--steps", type=int, default=200, help="of each source's adapter")
    parser.add_argument("--few", type=int, default=100, help="steps of the target's own adapter")
    parser.add_argument("--further", type=int, default=60, help="steps of every arm after that")
    parser.add_argument("--batch", type=int, default=32, help="items a step")
    parser.add_argument("--width", type=int, default=32, help="inner width of adapters")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of adapters at its height")
    options = parser.parse_args(arguments)
    console = output.console()
    try:
        data = emoji.load()
        told = ("trunk", "steps", "few", "further", "batch", "width", "rate")
        code = experiment.code(__file__, "pi_tuning", tasks=["emoji_tasks.py"])
        kept = Kept.of(options, told, data.checksum, code)
    except (MissingSource, ImportError, ValueError) as error:
        console.print(str(error))
        return 1
    with experiment.progress(console, options.threads) as report:
        run(data, kept, options, report)
    show(kept, console, options)
    return experiment.verdict(console, failures(kept, options), "a network, data and heads of our own, small")


if __name__ == "__main__":
    sys.exit(main())
