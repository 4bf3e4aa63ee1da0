"""The paper's experiment on real pairs: which code finds a package's description from its synopsis; exit 1 on a miss.

python -m benchmarks.pairs --seeds 0 1 2 --json benchmarks/results/pairs.json
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

import bebr
from benchmarks import datasets, machine, output, sources

Floats = npt.NDArray[np.float32]

TRAINING, HELD_OUT = 16_000, 4_000
UNPAIRED = 24_000  # more documents of the collection, whose queries nobody knows
SIZES = {50: (192, 192), 98: (384, 384)}  # bytes, two of them the factor, and the paper's planes for as many
DEPTH = 10
# What the issue promises, of ADC.
ABOVE_RAW, BELOW_TUNED = 0.03, 0.006


@dataclass(frozen=True)
class Pairs:
    """Unit vectors: training pairs, documents to fit codes to (theirs and others, none held out), held-out queries, the
    gallery, and the row of it that answers each query.

    The gallery is shuffled: texts that embed alike tie, and ties go to the lower row.
    """

    pairs: tuple[Floats, Floats]
    x: Floats
    queries: Floats
    gallery: Floats
    answers: npt.NDArray[np.int64]

    @staticmethod
    def of(queries: Floats, documents: Floats, held_out: int, more: Floats) -> Pairs:
        """The first ``held_out`` pairs are held out; every document is in the gallery. more: documents for x."""
        order = np.random.default_rng(datasets.SEED).permutation(len(documents))
        answers = np.argsort(order)[:held_out]
        training = queries[held_out:], documents[held_out:]
        x = np.concatenate([training[1], more])
        return Pairs(training, x, queries[:held_out], documents[order], answers)

    def rates(self, ids: npt.NDArray[np.int64]) -> tuple[float, float]:
        """R@1 and R@10 from ids [queries, 10], best first."""
        right = ids == self.answers[:, None]
        return float(right[:, 0].mean()), float(right.any(axis=1).mean())


@dataclass(frozen=True)
class Figure:
    """One method's share of held-out queries whose document comes first, and among the first ten."""

    method: str
    mode: str
    bytes: int
    widths: tuple[int, ...]
    seed: int
    r1: float
    r10: float
    seconds: float


def load_pairs() -> Pairs:
    """Debian synopses and long descriptions that occur in one pair only, so nothing held out is known in training and
    no query has two answers."""
    pairs, texts = sources.debian_pairs(), sources.debian()
    times = Counter(text for pair in pairs for text in pair)
    alone = [pair for pair in pairs if times[pair[0]] == times[pair[1]] == 1]
    if len(alone) < HELD_OUT + TRAINING:
        raise sources.MissingSource(f"debian: {len(alone)} unambiguous pairs: want {HELD_OUT + TRAINING}")
    vectors = datasets.embedded("debian", texts)
    row = {text: i for i, text in enumerate(texts)}
    order = np.random.default_rng(datasets.SEED).permutation(len(alone))
    queries, documents = (vectors[[row[alone[i][side]] for i in order]] for side in (0, 1))
    used = HELD_OUT + TRAINING
    return Pairs.of(queries[:used], documents[:used], HELD_OUT, documents[used : used + UNPAIRED])


def floats(data: Pairs, model: bebr.Binarizer | None) -> tuple[float, float]:
    """R@1 and R@10 of the floats themselves, or behind the input adapter of ``model``."""
    sides = (data.queries, data.gallery) if model is None else [moved(model, x) for x in (data.queries, data.gallery)]
    return data.rates(datasets.exact(sides[1], sides[0], DEPTH, "cosine"))


def moved(model: bebr.Binarizer, x: Floats) -> Floats:
    """x -> s x + network(x), from the file's tensors: what stands before the code. Without an input adapter: x."""
    if "front" not in model.config:
        return x
    tensors = model.tensors
    hidden = np.maximum(x @ tensors["front.0.weight"].T + tensors["front.0.bias"], 0)
    return np.asarray(
        model.config["front"]["skip"] * x + hidden @ tensors["front.1.weight"].T + tensors["front.1.bias"], np.float32
    )


def codes(name: str, model: bebr.Binarizer, data: Pairs, seed: int, seconds: float) -> Iterator[Figure]:
    """Both modes of an exhaustive search over all planes."""
    index = bebr.FlatIndex(model)
    index.add(data.gallery)
    for mode, query in (("ADC", "float"), ("SDC", "code")):
        ids = index.search(data.queries, DEPTH, query=query, exact=True).ids  # type: ignore[arg-type]
        yield Figure(name, mode, model.bytes_per_vector, model.widths, seed, *data.rates(ids), seconds)


def trained(data: Pairs, seed: int, **options: Any) -> tuple[bebr.Binarizer, float]:
    """A binarizer fitted to documents that are not held out, and the seconds it took."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the closed form does better: the table shows it
        model = bebr.train(data.x, seed=seed, **options)
    return model, time.perf_counter() - start


def ours(data: Pairs, seed: int) -> Iterator[Figure]:
    """The default recipe without pairs and with them, and the floats behind the tuned adapter."""
    for size in SIZES:
        model, seconds = trained(data, seed, bytes_per_vector=size)
        yield from codes("ours, not tuned", model, data, seed, seconds)
    for size in SIZES:
        model, seconds = trained(data, seed, bytes_per_vector=size, pairs=data.pairs)
        if size == min(SIZES):  # the adapter does not depend on the size
            yield Figure("fine-tuned float", "", 4 * data.gallery.shape[1], (), seed, *floats(data, model), seconds)
        yield from codes("ours, tuned", model, data, seed, seconds)


def paper(data: Pairs, seed: int, hidden: int, epochs: int) -> Iterator[Figure]:
    """The paper's models by its recipe, and BEBR started from the closed form instead of at random."""
    shapes = list(SIZES.values())
    settings: tuple[tuple[str, Sequence[tuple[int, ...]], dict[str, Any]], ...] = (
        ("hash (paper)", [(shapes[0][0] * 2,)], {"init": "random", "hidden": 3 * hidden // 4, "blocks": 3}),
        ("BEBR (paper)", shapes, {"init": "random", "hidden": hidden}),
        ("BEBR from the closed form", shapes, {"init": "closed_form", "hidden": hidden}),
    )
    for name, widths, options in settings:
        for planes in widths:
            options |= {"architecture": "recurrent", "widths": planes, "pairs": data.pairs, "epochs": epochs}
            model, seconds = trained(data, seed, **options)
            yield from codes(name, model, data, seed, seconds)


def promises(rows: Sequence[Figure]) -> Iterator[tuple[str, float]]:
    """What the issue asks, of ADC and of means over seeds: (text, by how much it is kept)."""

    def mean(method: str, field: str, size: int | None = None) -> float:
        chosen = [r for r in rows if r.method == method and r.mode in ("", "ADC") and size in (None, r.bytes)]
        return float(np.mean([getattr(r, field) for r in chosen]))

    small, large = SIZES
    tuned = "ours, tuned"
    yield (
        f"{small} bytes: R@1 at least raw float + {ABOVE_RAW}",
        mean(tuned, "r1", small) - mean("raw float", "r1") - ABOVE_RAW,
    )
    yield f"{small} bytes: R@10 above raw float", mean(tuned, "r10", small) - mean("raw float", "r10")
    for field, name in (("r1", "R@1"), ("r10", "R@10")):
        margin = mean(tuned, field, large) - mean("fine-tuned float", field) + BELOW_TUNED
        yield f"{large} bytes: {name} within {BELOW_TUNED} of the fine-tuned float", margin


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.pairs``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pairs", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training; the split is always the same")
    parser.add_argument("--hidden", type=int, default=2048, help="units of the paper's networks (the paper: 2048)")
    parser.add_argument("--epochs", type=int, default=10, help="of the paper's networks (the public recipe: 10)")
    parser.add_argument(
        "--ours", action="store_true", help="leave out the paper's networks, which take most of the time"
    )
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    console = output.console()
    try:
        data = load_pairs()
    except sources.MissingSource as error:
        console.print(str(error))
        return 1
    rows = [Figure("raw float", "", 4 * data.gallery.shape[1], (), 0, *floats(data, None), 0.0)]
    table = Table("method", "bytes", "widths", "mode", "seed", "R@1", "R@10", "seconds")
    for seed in options.seeds:
        rows += ours(data, seed)
        if not options.ours:
            rows += paper(data, seed, options.hidden, options.epochs)
    for row in rows:
        table.add_row(
            *(row.method, str(row.bytes), "+".join(map(str, row.widths)), row.mode, str(row.seed)),
            *(f"{row.r1:.4f}", f"{row.r10:.4f}", f"{row.seconds:.0f}"),
        )
    console.print(table)
    worst = max((r.r1 * (1 - r.r1)) ** 0.5 for r in rows) / HELD_OUT**0.5
    console.print(f"{HELD_OUT} queries among {len(data.gallery)}: standard error of a level at most {worst:.4f}")
    found = list(promises(rows))
    for text, margin in found:
        console.print(f"{'kept' if margin >= 0 else 'MISSED'} by {abs(margin):.4f}: {text}")
    if options.json:
        settings = {"training": len(data.pairs[0]), "hidden": options.hidden, "epochs": options.epochs}
        output.save(
            *(options.json, machine.facts(bebr.get_num_threads()), [asdict(row) for row in rows]),
            settings=settings,
            standard_error=worst,
            promises=[{"text": text, "margin": margin} for text, margin in found],
        )
    return 0 if all(margin >= 0 for _, margin in found) else 1


if __name__ == "__main__":
    sys.exit(main())
