"""DSU against plain training, MixStyle and noise of fixed size: emoji in a drawing style that training never shows.

python -m benchmarks.models.dsu --seeds 0 1 2 --json dsu.json

Hypothesis, fixed before the first run: statistics drawn as far apart as the batch's own make an encoder that fits a new
style better. Of each of the four styles in turn the other three are trained on, and a held-out emoji in the style left
out asks for itself among held-out emoji in each of the three (mAP). DSU passes if, by the paired 95% interval over
seeds of the mean over the four styles, its mAP lies above plain training's, MixStyle's and the noise's, and if codes of
48 bytes keep at least .9 of its gain over plain training. What fails is printed.

Four fifths of the emoji are identities to train on, by the re-identification recipe; another fifth is held out under
each seed. Steps are equal; seconds are printed. Test-time adaptation, a stand-in of ours, is printed and not judged.
This is no reproduction: network, data and settings are ours.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import bebr
from bebr.models.data import MissingSource, emoji
from bebr.models.data.emoji import STYLES, EmojiSet
from bebr.models.items import picture
from benchmarks import output
from benchmarks.models import experiment
from benchmarks.models.emoji_tasks import Floats, HeldOut, cross_style, split
from benchmarks.models.kept import Kept, Row
from benchmarks.models.paired import Difference, difference, spread

ARMS = {"dsu": "dsu", "plain": None, "mixstyle": "mixstyle", "noise": "noise"}
"""Arm, and the perturbation it trains with."""
BYTES = (24, 48, 96)
CODED = ("dsu", "plain")
"""The arms whose codes are searched: the rule asks for no other's."""
JUDGED, KEEPS = 48, 0.9
FIGURES = {
    "unseen": "mAP, the style left out asks",
    "seen": "mAP, trained styles ask",
    "adapted": "the style left out asks, statistics drawn back",
}


Pictures = Mapping[str, npt.NDArray[np.uint8]]
"""By style, [emoji, height, width, 3]."""
Sizes = Sequence[int]


def small(data: EmojiSet) -> Pictures:
    """All emoji on white and of the size that the network reads: made once, not for every arm."""
    producers = importlib.import_module("bebr.models.dsu.producer")
    config, resampling = producers.SIZES["tiny"], producers.Dsu.fresh().resampling
    squeezed = importlib.import_module("bebr.models.pixels").squeezed_bytes
    return {
        style: squeezed([picture(one, style) for one in shown], (config.height, config.width), resampling)
        for style, shown in data.pictures.items()
    }


def embedded(producer: Any, pictures: Pictures, rows: Sequence[int]) -> HeldOut:
    """Vectors of emoji in all styles."""
    shown = {style: producer.embed(list(pictures[style][rows]), batch_size=256) for style in STYLES}
    return HeldOut(shown, None, np.zeros(len(rows), np.int64))


def coded_map(model: bebr.Binarizer, held: HeldOut, query: str, styles: Sequence[str]) -> float:
    """As ``cross_style`` of one style's queries, with galleries as codes and float queries."""
    order = np.random.default_rng(0).permutation(len(held.groups))  # ties must not favour any row
    found = []
    for style in styles:
        index = bebr.FlatIndex(model)
        index.add(held.pictures[style][order])
        ids: Any = index.search(held.pictures[query], len(order)).ids
        place = (order[ids] == np.arange(len(order))[:, None]).argmax(1)
        found.append(float((1 / (1 + place)).mean()))
    return float(np.mean(found))


def measured(
    producer: Any, pictures: Pictures, rows: Sequence[int], held: Sequence[int], seed: int, left_out: str, sizes: Sizes
) -> Row:
    """All figures of a producer trained on ``rows``, asked for ``held``; by codes of ``sizes`` bytes."""
    seen = [style for style in STYLES if style != left_out]
    plain = embedded(producer, pictures, held)
    known: Floats = np.concatenate([producer.embed(list(pictures[style][rows]), 256) for style in seen])
    drawn_back = producer.adapted(np.concatenate([pictures[style][rows[::4]] for style in seen]))
    row: Row = {
        "unseen": cross_style(plain, [left_out], seen),
        "seen": cross_style(plain, seen, seen),
        "adapted": cross_style(embedded(drawn_back, pictures, held), [left_out], seen),
    }
    for size in sizes:
        model = bebr.train(known, bytes_per_vector=size, metric="cosine", seed=seed)
        row[f"bytes_{size}"] = coded_map(model, plain, left_out, seen)
    return row


def run(
    data: EmojiSet, kept: Kept, options: argparse.Namespace, report: Callable[[str], Callable[[int, int], None]]
) -> None:
    """Every arm with each style left out under every seed that the file does not hold yet."""
    fit = importlib.import_module("bebr.models.dsu.training").fit
    producers = importlib.import_module("bebr.models.dsu.producer")
    pictures = small(data)
    for seed in options.seeds:
        rows, held = split(data, seed)
        for left_out in options.styles:
            seen = [style for style in STYLES if style != left_out]
            labels = np.tile(rows, len(seen))
            for arm, perturbation in ARMS.items():
                if kept.find(arm, f"without {left_out}", seed):
                    continue
                producer = producers.Dsu.fresh(seed=seed)
                shown = np.concatenate([pictures[style][rows] for style in seen])
                log = fit(
                    *(producer, shown, labels, "reid", perturbation),
                    steps=options.steps,
                    batch_size=options.batch,
                    learning_rate=options.rate,
                    seed=seed,
                    progress=report(f"{arm}, without {left_out}, seed {seed}"),
                )
                row = {"arm": arm, "budget": f"without {left_out}", "seed": seed, "steps": options.steps}
                row |= {"seconds": log.seconds, "loss": float(np.mean(log.loss[-20:]))}
                row |= measured(producer, pictures, rows, held, seed, left_out, BYTES if arm in CODED else ())
                row["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                kept.rows.append(row)
                kept.save()


def by_seed(kept: Kept, arm: str, options: argparse.Namespace, figure: str) -> dict[int, float]:
    """The mean over the styles left out, of each seed that has them all."""
    out = {}
    for seed in options.seeds:
        rows = [kept.find(arm, f"without {style}", seed) for style in options.styles]
        if all(rows):
            out[seed] = float(np.mean([row[figure] for row in rows if row is not None]))
    return out


def compared(kept: Kept, options: argparse.Namespace) -> Iterator[tuple[str, str, Difference]]:
    """Rival, figure, and DSU less it, under the seeds that both have."""
    for arm in ARMS:
        for figure in FIGURES if arm != "dsu" else ():
            ours, theirs = (by_seed(kept, one, options, figure) for one in ("dsu", arm))
            seeds = [seed for seed in ours if seed in theirs]
            if seeds:
                yield arm, figure, difference([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])


def kept_gain(kept: Kept, options: argparse.Namespace, size: int) -> float:
    """Which share of DSU's gain over plain training is left where galleries are codes; not a number without gain."""

    def gain(figure: str) -> float:
        ours, theirs = (by_seed(kept, arm, options, figure) for arm in ("dsu", "plain"))
        return float(np.mean([ours[seed] - theirs[seed] for seed in ours if seed in theirs] or [np.nan]))

    floats = gain("unseen")
    return gain(f"bytes_{size}") / floats if floats > 0 else float("nan")


def failures(kept: Kept, options: argparse.Namespace) -> list[str]:
    """The parts of the rule above that do not hold, or that nothing was measured for."""
    by = {(arm, figure): gap for arm, figure, gap in compared(kept, options)}
    out = []
    if set(options.styles) != set(STYLES):
        out.append(f"not measured with each of the four styles left out, but {', '.join(options.styles)}")
    for arm in ("plain", "mixstyle", "noise"):
        gap = by.get((arm, "unseen"))
        if gap is None or gap.pairs < 3:
            out.append(f"not measured under three seeds: against {arm}")
        elif gap.verdict != "better":
            out.append(f"{FIGURES['unseen']}, against {arm}: {gap}, wanted better")
    share = kept_gain(kept, options, JUDGED)
    if not share >= KEEPS:
        out.append(f"codes of {JUDGED} bytes keep {share:.2f} of the gain, wanted {KEEPS}")
    return out


def show(kept: Kept, console: Console, options: argparse.Namespace) -> None:
    """Figures by arm and style, differences, and what codes keep."""
    table = Table("figure", "left out", *ARMS)
    for figure, text in FIGURES.items():
        for style in (*options.styles, "mean"):
            cells = []
            for arm in ARMS:
                if style == "mean":
                    values = list(by_seed(kept, arm, options, figure).values())
                else:
                    rows = [kept.find(arm, f"without {style}", seed) for seed in options.seeds]
                    values = [float(row[figure]) for row in rows if row]
                cells.append(spread(values) if values else "-")
            table.add_row(text, style, *cells)
    for size in BYTES:
        coded = [list(by_seed(kept, arm, options, f"bytes_{size}").values()) if arm in CODED else [] for arm in ARMS]
        table.add_row(f"the same, {size} bytes, ADC", "mean", *(spread(one) if one else "-" for one in coded))
    seconds = [[row["seconds"] for row in kept.rows if row["arm"] == arm] for arm in ARMS]
    table.add_row("CPU seconds", "", *(f"{np.mean(some):.0f}" if some else "-" for some in seconds))
    console.print(table)
    table = Table("DSU less", "figure", "mean and paired 95% interval")
    for arm, figure, gap in compared(kept, options):
        table.add_row(arm, FIGURES[figure], str(gap))
    console.print(table)
    shares = ", ".join(f"{size} bytes {kept_gain(kept, options, size):.2f}" for size in BYTES)
    console.print(f"share of the gain over plain training that codes keep: {shares}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.models.dsu``; 1 where a part of the rule fails or a source is absent."""
    parser = experiment.parser("dsu", __doc__, [0, 1, 2], "split, start, batches and noise", goes_on=True)
    parser.add_argument("--styles", nargs="+", choices=list(STYLES), default=list(STYLES), help="to leave out in turn")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=64, help="pictures a step, four of each identity")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate at its height")
    options = parser.parse_args(arguments)
    console = output.console()
    try:
        data = emoji.load()
        code = experiment.code(__file__, "dsu", tasks=["emoji_tasks.py"])
        kept = Kept.of(options, ("steps", "batch", "rate"), data.checksum, code)
    except (MissingSource, ImportError, ValueError) as error:
        console.print(str(error))
        return 1
    with experiment.progress(console, options.threads) as report:
        run(data, kept, options, report)
    show(kept, console, options)
    return experiment.verdict(console, failures(kept, options), "a network and data of our own, small")


if __name__ == "__main__":
    sys.exit(main())
