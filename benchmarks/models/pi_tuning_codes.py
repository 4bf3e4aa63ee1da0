"""What codes keep of π-Tuning's trunk, of an expert's version, and of that version's queries on the trunk's codes.

python -m benchmarks.models.pi_tuning_codes --seeds 0 1 2 --json codes.json

The trunk is that of ``pi_tuning`` under the same seed; the expert is its first task's adapter, of many examples.
Held-out emoji find themselves in another style: R@10, the mean over all twelve ordered pairs of styles, by floats and
by codes of 24, 48 and 96 bytes. ADC asks with floats, SDC with codes. There is no rule: it is printed. This is no
reproduction.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import bebr
from bebr.models.data import MissingSource, emoji
from bebr.models.data.emoji import STYLES, EmojiSet
from benchmarks import output
from benchmarks.models import experiment
from benchmarks.models.emoji_tasks import Floats, split
from benchmarks.models.kept import Kept, Row
from benchmarks.models.paired import spread
from benchmarks.models.pi_tuning import DEPTH, TARGETS, add, found_by, pretrained, settings, tasks

BYTES = (24, 48, 96)
ARMS = {
    "trunk": "the trunk's queries on its own vectors",
    "expert": "the expert's queries on its own vectors",
    "expert on trunk": "the expert's queries on the trunk's codes",
}
_MODES: dict[str, Any] = {"ADC": "float", "SDC": "code"}
_PAIRS = [(one, other) for one in STYLES for other in STYLES if one != other]


def by_floats(asked: dict[str, Floats]) -> float:
    """R@10 of unit vectors by style."""
    found = []
    for shown, asking in _PAIRS:
        scores = asked[asking] @ asked[shown].T
        found.append(found_by(np.argsort(-scores, 1, kind="stable")[:, :DEPTH]))
    return float(np.mean(found))


def by_codes(model: Any, rows: dict[str, Floats], asked: dict[str, Floats], binarizer: Any = None) -> Row:
    """R@10 of an index of ``rows`` by ``model``, asked by floats and by codes, of ``binarizer`` if that is another."""
    found: dict[str, list[float]] = {mode: [] for mode in _MODES}
    for shown in STYLES:
        index = bebr.FlatIndex(model)
        index.add(rows[shown])
        for asking in STYLES:
            if asking != shown:
                for mode, query in _MODES.items():
                    hits = index.search(asked[asking], DEPTH, query=query, binarizer=binarizer)
                    found[mode].append(found_by(hits.ids))
    return {mode: float(np.mean(values)) for mode, values in found.items()}


def measured(producers: dict[str, Any], data: EmojiSet, rows: Sequence[int], held: Sequence[int], seed: int) -> Row:
    """R@10 by arm, of floats and of codes; no floats of an expert's queries on the trunk's vectors: two spaces."""
    known, asked = {}, {}
    for name, producer in producers.items():
        shown = {style: producer.embed(list(data.pictures[style][list(rows)]), 256) for style in STYLES}
        known[name] = np.concatenate(list(shown.values()))
        asked[name] = {style: producer.embed(list(data.pictures[style][list(held)]), 256) for style in STYLES}
    out: Row = {arm: {"floats": by_floats(asked[arm])} for arm in producers} | {"expert on trunk": {}}
    for size in BYTES:
        own = {name: bebr.train(x, bytes_per_vector=size, metric="cosine", seed=seed) for name, x in known.items()}
        bridge = bebr.train(
            known["expert"],
            bytes_per_vector=size,
            metric="cosine",
            compatible_with=own["trunk"],
            old_vectors=known["trunk"],
            seed=seed,
        )
        for name, model in own.items():
            out[name][str(size)] = by_codes(model, asked[name], asked[name])
        out["expert on trunk"][str(size)] = by_codes(own["trunk"], asked["trunk"], asked["expert"], bridge)
    return out


def run(data: EmojiSet, kept: Kept, options: argparse.Namespace, report: experiment.Report) -> None:
    """Every seed that the file does not hold yet."""
    training = importlib.import_module("bebr.models.pi_tuning.training")
    keeping = importlib.import_module("bebr.models.pi_tuning.held")
    for seed in options.seeds:
        if kept.find("codes", TARGETS[0], seed):
            continue
        rows, held = split(data, seed)
        trunk = pretrained(data, rows, options, seed, report(f"trunk, seed {seed}"))
        task = tasks(data, rows, held)[TARGETS[0]]
        items = keeping.Held(trunk, task.items)
        given = settings(options, items, options.steps, seed) | {"progress": report(f"{TARGETS[0]}, seed {seed}")}
        expert = training.fit(trunk, items, task.labels, size=options.width, **given).expert
        producers = {"trunk": trunk, "expert": trunk.with_expert(expert)}
        add(kept, "codes", TARGETS[0], seed, measured(producers, data, rows, held, seed))


def show(kept: Kept, console: Console, seeds: Sequence[int]) -> None:
    """A line for each arm and way of asking."""
    rows = [row for seed in seeds if (row := kept.find("codes", TARGETS[0], seed))]
    if not rows:
        return
    table = Table(f"R@{DEPTH} in another style", "asked by", "floats", *(f"{size} bytes" for size in BYTES))
    for arm, text in ARMS.items():
        floats = [row[arm]["floats"] for row in rows if "floats" in row[arm]]
        for mode in _MODES:
            cells = [spread([row[arm][str(size)][mode] for row in rows]) for size in BYTES]
            table.add_row(text, mode, spread(floats) if floats else "-", *cells)
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.models.pi_tuning_codes``; 1 where a source is absent."""
    parser = experiment.parser("pi_tuning_codes", __doc__, [0, 1, 2], "split, start and batches", goes_on=True)
    parser.add_argument("--trunk", type=int, default=600, help="steps of the trunk, of 128 pairs")
    parser.add_argument("--steps", type=int, default=200, help="of the expert")
    parser.add_argument("--batch", type=int, default=32, help="items a step")
    parser.add_argument("--width", type=int, default=32, help="inner width of adapters")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of adapters at its height")
    options = parser.parse_args(arguments)
    console = output.console()
    try:
        data = emoji.load()
        code = experiment.code(__file__, "pi_tuning", tasks=["pi_tuning.py", "emoji_tasks.py"])
        kept = Kept.of(options, ("trunk", "steps", "batch", "width", "rate"), data.checksum, code)
    except (MissingSource, ImportError, ValueError) as error:
        console.print(str(error))
        return 1
    with experiment.progress(console, options.threads) as report:
        run(data, kept, options, report)
    show(kept, console, options.seeds)
    console.print("not a reproduction: a network, data and heads of our own, small")
    return 0


if __name__ == "__main__":
    sys.exit(main())
