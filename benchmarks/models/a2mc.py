"""A2MC against SCD-Net, with each of its parts alone and noise of equal size as a control; skeleton clips.

python -m benchmarks.models.a2mc --ucla FOLDER --json a2mc.json

Hypothesis, fixed before the first run: adversarial negatives, an attack and mixing make a better encoder than SCD-Net's
alone. A2MC passes if, by the paired 95% interval over seeds, 1-NN accuracy of all parts together lies above SCD-Net's,
and that of the attack of 1 cm above that of a random step of 1 cm (otherwise the attack is an augmentation like any
other), both with adversarial banks. What fails is printed. Steps are equal; seconds are printed.

Real clips where --ucla or --utd names a folder, else made-up ones: every figure of those is labelled synthetic. 1-NN
and a ridge regression judge vectors of held-out views or subjects; "noise" and "occluded" are 1-NN of queries whose
joints tremble by 3 cm, or six of whose joints are missing. This is no reproduction: encoder and settings are ours.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import bebr
from benchmarks import output
from benchmarks.models import experiment
from benchmarks.models.kept import Kept, Row
from benchmarks.models.paired import Difference, difference, spread

Floats = npt.NDArray[np.float32]
ARMS: dict[str, dict[str, Any]] = {
    "base": {"bank": "queue", "attack": None, "mix": None},
    "bank": {"attack": None, "mix": None},
    "attack": {"attack": "gradient", "mix": None, "attack_size": 1e-2},
    "noise": {"attack": "random", "mix": None, "attack_size": 1e-2},
    "mix": {"attack": None, "mix": "bank"},
    "mix released": {"attack": None, "mix": "released"},
    "full": {"attack": "gradient", "mix": "bank", "attack_size": 1e-2},
    "attack .1 mm": {"attack": "gradient", "mix": None, "attack_size": 1e-4},
    "attack 1 mm": {"attack": "gradient", "mix": None, "attack_size": 1e-3},
}
"""Arm, and what ``fit`` is given. The first seven by default; the last two are sizes of the attack."""
JUDGED = (("full", "base"), ("attack", "noise"))
BYTES = (24, 48, 96)
FIGURES = {
    "nearest": "1-NN",
    "linear": "linear",
    "noisy": "1-NN, noise",
    "occluded": "1-NN, occluded",
    **{f"bytes_{size}": f"1-NN, {size} bytes" for size in BYTES},
}
_TREMBLE, _MISSING, _RIDGE = 0.03, 6, 1.0


def clips_of(options: argparse.Namespace) -> Any:
    """The set that the options name, made-up clips where they name none. ValueError where nothing is held out."""
    sets = importlib.import_module("bebr.models.a2mc.sets")
    if options.ucla:
        found = sets.nw_ucla(options.ucla)
    elif options.utd:
        found = sets.utd_mhad(options.utd)
    else:
        found = importlib.import_module("bebr.models.a2mc.synthetic").made(options.clips)
    if found.held_out.all() or not found.held_out.any():
        raise ValueError(f"{found.what}: got {len(found.clips)} clips on one side of the split, wanted some on both")
    return found


def nearest(queries: Floats, wanted: npt.NDArray[np.int64], gallery: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Share of queries whose nearest in the gallery is of their own class."""
    return float((labels[(queries @ gallery.T).argmax(1)] == wanted).mean())


def linear(queries: Floats, wanted: npt.NDArray[np.int64], known: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Accuracy of a ridge regression on centred vectors."""
    middle, kinds = known.mean(0), np.unique(labels)
    x = known - middle
    targets = np.where(labels[:, None] == kinds, 1.0, -1.0)
    weights = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ targets)
    return float((kinds[((queries - middle) @ weights).argmax(1)] == wanted).mean())


def spoilt(clips: Sequence[Floats], seed: int) -> tuple[list[Floats], list[Floats]]:
    """The clips with joints that tremble, and with joints that are missing throughout."""
    random = np.random.default_rng(seed)
    trembling = [(clip + random.normal(0, _TREMBLE, clip.shape)).astype(np.float32) for clip in clips]
    missing = []
    for clip in clips:
        held = clip.copy()
        # hips and spine stay: without them no clip can be brought upright
        held[:, :, random.choice(np.arange(3, clip.shape[2]), _MISSING, replace=False)] = 0
        missing.append(held)
    return trembling, missing


def measured(producer: Any, data: Any, seed: int) -> Row:
    """All figures of a trained producer."""
    (known, labels), (asked, wanted) = data.part(False), data.part(True)
    gallery, queries = producer.embed(known), producer.embed(asked)
    trembling, missing = spoilt(asked, seed)
    row: Row = {
        "nearest": nearest(queries, wanted, gallery, labels),
        "linear": linear(queries, wanted, gallery, labels),
        "noisy": nearest(producer.embed(trembling), wanted, gallery, labels),
        "occluded": nearest(producer.embed(missing), wanted, gallery, labels),
    }
    for size in BYTES:
        index = bebr.FlatIndex(bebr.train(gallery, bytes_per_vector=size, metric="cosine", seed=seed))
        index.add(gallery)
        ids: Any = index.search(queries, 1).ids
        row[f"bytes_{size}"] = float((labels[ids[:, 0]] == wanted).mean())
    return row


def run(data: Any, kept: Kept, options: argparse.Namespace, report: experiment.Report) -> None:
    """Every arm under every seed that the file does not hold yet."""
    fit = importlib.import_module("bebr.models.a2mc.training").fit
    producers = importlib.import_module("bebr.models.a2mc.producer")
    for seed in options.seeds:
        for arm in options.arms:
            if kept.find(arm, "steps", seed):
                continue
            producer = producers.A2mc.fresh(seed=seed)
            log = fit(
                *(producer, data.part(False)[0]),
                **ARMS[arm],
                steps=options.steps,
                batch_size=options.batch,
                bank_size=options.bank,
                seed=seed,
                progress=report(f"{arm}, seed {seed}"),
            )
            row = {"arm": arm, "budget": "steps", "seed": seed, "steps": options.steps, "seconds": log.seconds}
            row |= {"data": data.what, "loss": float(np.mean(log.loss[-20:]))} | measured(producer, data, seed)
            row["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            kept.rows.append(row)
            kept.save()


def compared(kept: Kept, seeds: Sequence[int], ours: str, theirs: str) -> Iterator[tuple[str, Difference]]:
    """Figure, and one arm less another under the seeds that both have."""
    both = [(kept.find(ours, "steps", seed), kept.find(theirs, "steps", seed)) for seed in seeds]
    pairs = [(a, b) for a, b in both if a and b]
    for figure in FIGURES if pairs else ():
        yield figure, difference([a[figure] for a, _ in pairs], [b[figure] for _, b in pairs])


def failures(kept: Kept, seeds: Sequence[int]) -> list[str]:
    """The parts of the rule above that do not hold, or that nothing was measured for."""
    out = []
    for ours, theirs in JUDGED:
        gap = dict(compared(kept, seeds, ours, theirs)).get("nearest")
        if gap is None or gap.pairs < 3:
            out.append(f"not measured under three seeds: {ours} less {theirs}")
        elif gap.verdict != "better":
            out.append(f"1-NN, {ours} less {theirs}: {gap}, wanted better")
    return out


def show(kept: Kept, console: Console, what: str, seeds: Sequence[int]) -> None:
    """Figures by arm and differences."""
    rows = {arm: [row for row in kept.rows if row["arm"] == arm and row["seed"] in seeds] for arm in ARMS}
    rows = {arm: some for arm, some in rows.items() if some}
    table = Table("arm", *FIGURES.values(), "CPU s", title=f"{what} clips")
    for arm, some in rows.items():
        figures = [spread([row[figure] for row in some]) for figure in FIGURES]
        table.add_row(arm, *figures, f"{np.mean([row['seconds'] for row in some]):.0f}")
    console.print(table)
    table = Table("arm", "less", "figure", "mean and paired 95% interval")
    others = [(arm, "base") for arm in rows if arm != "base"]
    for ours, theirs in dict.fromkeys([*JUDGED, *others]):
        for figure, gap in compared(kept, seeds, ours, theirs):
            if not figure.startswith("bytes"):
                table.add_row(ours, theirs, FIGURES[figure], str(gap))
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.models.a2mc``; 1 where a part of the rule fails or a folder is absent."""
    parser = experiment.parser("a2mc", __doc__, [0, 1, 2], "start, batches and views", goes_on=True)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS)[:7], help="what to train")
    parser.add_argument("--ucla", type=Path, help="folder of Northwestern-UCLA's files")
    parser.add_argument("--utd", type=Path, help="folder of UTD-MHAD's files")
    parser.add_argument("--clips", type=int, default=3000, help="made-up clips, where no set is named")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=64, help="clips a step")
    parser.add_argument("--bank", type=int, default=1024, help="negatives of each head")
    options = parser.parse_args(arguments)
    console = output.console()
    try:
        data = clips_of(options)
        told, code = ("steps", "batch", "bank"), experiment.code(__file__, "a2mc")
        kept = Kept.of(options, told, f"{data.what}, {len(data.clips)}", code)
    except (ImportError, FileNotFoundError, ValueError) as error:
        console.print(str(error))
        return 1
    with experiment.progress(console, options.threads) as report:
        run(data, kept, options, report)
    show(kept, console, data.what, options.seeds)
    return experiment.verdict(console, failures(kept, options.seeds), f"an encoder of our own on {data.what} clips")


if __name__ == "__main__":
    sys.exit(main())
