"""RILS against contrast alone (CLIP) and masked pictures alone (MAE), trained from nothing on emoji; floats and codes.

python -m benchmarks.models.rils --seeds 0 1 2 --json rils.json

Hypothesis, fixed before the first run: at this size too, reconstruction in language space adds to contrast. RILS passes
if, at equal steps and at equal seconds, the paired 95% interval of its few-shot accuracy and of its cross-style
precision lies above MAE's, and that of these and of text-to-picture R@10 does not lie below CLIP's. What fails is
printed.

Three styles and four fifths of the emoji are trained on, another fifth held out under each seed; the fourth style is
never seen. This is no reproduction: model, data and settings are ours, a thousandth of the paper's.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import bebr
from bebr.models.data import MissingSource, emoji
from bebr.models.data.emoji import EmojiSet
from benchmarks import output
from benchmarks.models import experiment
from benchmarks.models.emoji_tasks import (
    SEEN,
    UNSEEN,
    HeldOut,
    coded,
    cross_style,
    few_shot,
    found,
    ranked_first,
    split,
)
from benchmarks.models.kept import Kept, Row
from benchmarks.models.paired import Difference, difference, spread

ARMS = ("rils", "clip", "mae")
MORE = ("mae+clip", "rils-random")
BYTES = (24, 48, 96)
# Figure, arms it is compared in, and what it is.
FIGURES = {
    "r10": "text to picture R@10, seen styles",
    "r10_unseen": "the same, unseen style",
    "r1": "text to picture R@1, seen styles",
    "cross": "cross-style mAP, seen styles",
    "cross_unseen": "the same, unseen style asks",
    "cross_features": "cross-style mAP before the projection",
    "probe": "5-shot groups, seen styles",
    "probe_unseen": "the same, unseen style asked",
}


def untrained(data: EmojiSet, rows: Sequence[int], seed: int, device: str) -> tuple[Any, Any]:
    """A producer whose vocabulary comes from the training texts, and the training pairs."""
    pairs = importlib.import_module("bebr.models.rils.data").Pairs.of_emoji(data, rows, SEEN)
    rils = importlib.import_module("bebr.models.rils.producer").Rils
    return rils.fresh([text for texts in pairs.texts for text in texts], seed=seed, device=device), pairs


def rils_speed(kept: Kept, start: float) -> float:
    """Seconds a step of RILS on the mean of all steps, of which the share ``start`` is contrast alone."""
    return start * kept.speeds["clip"] + (1 - start) * kept.speeds["rils"] if start else kept.speeds["rils"]


def speeds(data: EmojiSet, arms: Sequence[str], options: argparse.Namespace) -> dict[str, float]:
    """Seconds a step of each arm: the median of five short runs in turns, after one to warm up."""
    fit = importlib.import_module("bebr.models.rils.training").fit
    producer, pairs = untrained(data, split(data, 0)[0], 0, options.device)
    taken: dict[str, list[float]] = {arm: [] for arm in arms}
    for round_ in range(6):
        for arm in arms:
            log = fit(producer, pairs, arm, steps=2, batch_size=options.batch, seed=round_)
            if round_:
                taken[arm].append(log.seconds / 2)
    return {arm: statistics.median(values) for arm, values in taken.items()}


def features(producer: Any, pictures: np.ndarray) -> np.ndarray:
    """The mean of a picture's patches before the projection, to unit length: what an arm without texts has too."""
    torch: Any = importlib.import_module("torch")
    items: Any = importlib.import_module("bebr.models.items")
    out = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 256):
            opened = [items.picture(one, "picture") for one in pictures[start : start + 256]]
            x = producer.network.patches(producer.pixels(opened)).mean(1)
            out.append(torch.nn.functional.normalize(x, dim=1).cpu().numpy())
    return np.concatenate(out)


def measured(producer: Any, data: EmojiSet, seed: int, texts: bool) -> Row:
    """All figures of a trained producer; those with codes only where it has texts."""
    rows, held = split(data, seed)
    groups = np.unique([data.emoji[row].group for row in held], return_inverse=True)[1]
    shown = {style: data.pictures[style][held] for style in (*SEEN, UNSEEN)}
    plain = HeldOut({style: features(producer, x) for style, x in shown.items()}, None, groups)
    row: Row = {
        "probe": few_shot(plain, SEEN, seed),
        "probe_unseen": few_shot(plain, [UNSEEN], seed),
        "cross_features": cross_style(plain, SEEN, SEEN),
    }
    indexed = plain
    if texts:
        names = producer.embed([data.emoji[one].name for one in held])
        indexed = HeldOut({style: producer.embed(list(x)) for style, x in shown.items()}, names, groups)
        row |= {
            "r1": found(indexed, SEEN, 1),
            "r10": found(indexed, SEEN, 10),
            "r10_unseen": found(indexed, [UNSEEN], 10),
        }
        known = np.concatenate([producer.embed(list(data.pictures[style][rows])) for style in SEEN])
        row["codes"] = {}
        for size in BYTES:
            model = bebr.train(known, bytes_per_vector=size, metric="cosine", seed=seed)
            row["codes"][str(size)] = {
                "widths": list(model.widths),
                "ADC": coded(indexed, model, "float"),
                "SDC": coded(indexed, model, "code"),
            }
        ones = [ranked_first(indexed, a, b) for a in SEEN for b in SEEN if a != b]
        row["cross_r1"] = float(np.mean(ones))
    row |= {"cross": cross_style(indexed, SEEN, SEEN), "cross_unseen": cross_style(indexed, [UNSEEN], SEEN)}
    return row


def run(
    data: EmojiSet, kept: Kept, options: argparse.Namespace, report: Callable[[str], Callable[[int, int], None]]
) -> None:
    """Every arm at every budget under every seed that the file does not hold yet."""
    fit = importlib.import_module("bebr.models.rils.training").fit
    timed_arms = dict.fromkeys([*options.arms, *(["clip"] if options.start else [])])
    if missing := [arm for arm in timed_arms if arm not in kept.speeds]:
        timed = speeds(data, list(dict.fromkeys(["rils", *missing])), options)
        # what RILS took at first stays the measure: rows that are held already were given their steps by it
        scale = kept.speeds.get("rils", timed["rils"]) / timed["rils"]
        kept.speeds |= {arm: scale * timed[arm] for arm in missing}
        kept.save()
    for seed in options.seeds:
        for arm in options.arms:
            for budget in ("steps", "seconds"):
                steps = options.steps
                if budget == "seconds":
                    if arm == "rils":
                        continue  # the measure of both
                    steps = max(1, round(steps * rils_speed(kept, options.start) / kept.speeds[arm]))
                if budget not in options.budgets or kept.find(arm, budget, seed):
                    continue
                producer, pairs = untrained(data, split(data, seed)[0], seed, options.device)
                progress = report(f"{arm}, equal {budget}, seed {seed}")
                start = options.start if arm.startswith("rils") else 0.0
                log = fit(
                    *(producer, pairs, arm, steps, options.batch, options.rate),
                    start=start,
                    seed=seed,
                    progress=progress,
                )
                last = slice(-max(1, steps // 20), None)
                judging = time.process_time()
                row = {"arm": arm, "budget": budget, "seed": seed, "steps": steps, "seconds": log.seconds}
                row |= measured(producer, data, seed, arm != "mae")
                row["judging_seconds"] = time.process_time() - judging
                for name in ("contrast", "reconstruction", "found"):
                    values = getattr(log, name)
                    row[f"last_{name}"] = float(np.mean(values[last])) if values else None
                row["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                kept.rows.append(row)
                kept.save()


def compared(kept: Kept, seeds: Sequence[int]) -> Iterator[tuple[str, str, str, Difference]]:
    """Other arm, budget, figure, and RILS less it, under the seeds that both have."""
    for arm in sorted({row["arm"] for row in kept.rows} - {"rils"}):
        for budget in ("steps", "seconds"):
            for figure in FIGURES:
                both = [(kept.find("rils", "steps", seed), kept.find(arm, budget, seed)) for seed in seeds]
                pairs = [(a[figure], b[figure]) for a, b in both if a and b and figure in a and figure in b]
                if pairs:
                    yield arm, budget, figure, difference(*zip(*pairs, strict=True))


def failures(found_: Sequence[tuple[str, str, str, Difference]]) -> list[str]:
    """The parts of the rule above that do not hold, or that nothing was measured for."""
    by = {(arm, budget, figure): gap for arm, budget, figure, gap in found_}
    out = []
    for budget in ("steps", "seconds"):
        for arm, figure in (("mae", "probe"), ("mae", "cross"), ("clip", "probe"), ("clip", "cross"), ("clip", "r10")):
            gap = by.get((arm, budget, figure))
            name = f"{FIGURES[figure]}, against {arm} at equal {budget}"
            if gap is None or gap.pairs < 3:
                out.append(f"not measured under three seeds: {name}")
            elif gap.verdict == "worse" or (arm == "mae" and gap.verdict != "better"):
                out.append(f"{name}: {gap}, wanted {'better' if arm == 'mae' else 'not worse'}")
    return out


def show(kept: Kept, console: Console, seeds: Sequence[int]) -> None:
    """Figures by arm, differences, and floats against codes."""
    groups: dict[tuple[str, str], list[Any]] = {(row["arm"], row["budget"]): [] for row in kept.rows}
    for row in kept.rows:
        if row["seed"] in seeds:
            groups[row["arm"], row["budget"]].append(row)
    table = Table("figure", *(f"{arm}\nequal {budget}" for arm, budget in groups))
    for figure, text in FIGURES.items():
        shown = [[row[figure] for row in rows if figure in row] for rows in groups.values()]
        table.add_row(text, *(spread(values) if values else "-" for values in shown))
    for name in ("steps", "seconds"):
        table.add_row(
            name, *(f"{np.mean([row[name] for row in rows]):.0f}" if rows else "-" for rows in groups.values())
        )
    console.print(table)
    table = Table("RILS less", "at equal", "figure", "mean and paired 95% interval")
    for arm, budget, figure, gap in compared(kept, seeds):
        table.add_row(arm, budget, FIGURES[figure], str(gap))
    console.print(table)
    table = Table("arm", "bytes", "R@1", "R@10", "cross-style R@1", title="floats and codes, seen styles")
    for (arm, budget), rows in groups.items():
        rows = [row for row in rows if "codes" in row]
        if budget == "steps" and rows:
            plain = [spread([row[name] for row in rows]) for name in ("r1", "r10", "cross_r1")]
            table.add_row(arm, "floats, 512", *plain)
            for size in BYTES:
                for mode in ("ADC", "SDC"):
                    at = [row["codes"][str(size)][mode] for row in rows]
                    figures = [spread([one[name] for one in at]) for name in ("r1", "r10", "cross_r1")]
                    table.add_row(arm, f"{mode}, {size}", *figures)
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.models.rils``; 1 where a part of the rule fails or a source is absent."""
    parser = experiment.parser("rils", __doc__, [0, 1, 2], "split, start, batches and masks", goes_on=True)
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, *MORE], default=list(ARMS), help="what to train")
    parser.add_argument("--budgets", nargs="+", choices=["steps", "seconds"], default=["steps", "seconds"])
    parser.add_argument("--steps", type=int, default=1500, help="of RILS, and of all at equal steps")
    parser.add_argument("--batch", type=int, default=256, help="emoji a step, and so prototypes")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate at its height")
    parser.add_argument("--start", type=float, default=0.0, help="share of RILS's steps by contrast alone, at first")
    parser.add_argument("--device", default="cpu", help="where the networks run")
    options = parser.parse_args(arguments)
    if "rils" not in options.arms:
        parser.error("--arms: rils has to be among them: it is what the others are compared with")
    console = output.console()
    try:
        data = emoji.load()
        code = experiment.code(__file__, "rils", tasks=["emoji_tasks.py"])
        kept = Kept.of(options, ("steps", "batch", "rate", "start", "device"), data.checksum, code)
    except (MissingSource, ImportError, ValueError) as error:
        console.print(str(error))
        return 1
    with experiment.progress(console, options.threads) as report:
        run(data, kept, options, report)
    show(kept, console, options.seeds)
    failed = failures(list(compared(kept, options.seeds)))
    return experiment.verdict(console, failed, "a model and data of our own, far smaller than the paper's")


if __name__ == "__main__":
    sys.exit(main())
