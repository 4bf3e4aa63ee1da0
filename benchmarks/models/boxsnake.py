"""BoxSnake's losses, one by one: how well polygons found from boxes and colours alone match the masks never shown.

python -m benchmarks.models.boxsnake --seeds 0 1 2 --json boxsnake.json

Hypothesis, fixed before the first run: what the paper's ablation finds holds in sign for single polygons found by
descent on emoji scenes. It passes if, by the paired 95% interval over seeds, the mean IoU of L_u + L_lp lies above that
of L_u alone, and that of all three does not lie below that of L_u + L_lp; and if, with all three, the mean average
precision of objects of the same kind by what lies inside their polygons lies above that by what lies inside their
boxes. What fails is printed. ``--form network`` asks the same of the small network, on scenes it was not trained on.

Objects lie on textured grounds and partly hide each other; a seed draws other scenes, of one style in turns. An object
is described by the colours inside: a histogram of 125 (direct), or the pyramid's finest map (network). This is no
reproduction: data, sizes and, for the direct form, the method of descent are ours.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import bebr
from bebr.models.data import MissingSource, emoji
from bebr.models.data.emoji import EmojiSet
from bebr.models.data.scenes import Scene, compose
from benchmarks import machine, output
from benchmarks.models import experiment
from benchmarks.models.kept import Row
from benchmarks.models.paired import Difference, difference, spread
from benchmarks.models.scene_tasks import kinds_of

ARMS = {
    "L_u": (1.0, 0.0, 0.0),
    "L_u + L_lp": (1.0, 0.5, 0.0),
    "L_u + L_lp + L_gp": (1.0, 0.5, 0.03),
    "L_lp + L_gp, no L_u": (0.0, 0.5, 0.03),
}
ALL = "L_u + L_lp + L_gp"
BYTES = (24, 48, 96)
STYLES = ("noto", "twemoji", "openmoji", "fluent")
GRID, VERTICES, SIDE = 32, 32, 128
_BINS = 5  # of each colour

Floats = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]


class Objects:
    """All objects of some scenes: ``boxes`` [n, 4] of what shows, ``masks`` [n, side, side], ``kinds`` and scenes
    (``of``)."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self.images = np.stack([scene.image for scene in scenes])
        self.boxes = np.concatenate([scene.boxes for scene in scenes]).astype(np.float32)
        self.masks = np.concatenate([scene.masks for scene in scenes])
        self.kinds = np.concatenate([scene.labels for scene in scenes])
        self.of = np.repeat(np.arange(len(scenes)), [len(scene.labels) for scene in scenes])

    @classmethod
    def drawn(cls, data: EmojiSet, kinds: Sequence[int], count: int, seed: int) -> Objects:
        """Of ``count`` scenes; the styles take turns, one a scene."""
        names = [data.emoji[kind].name for kind in kinds]
        pictures = [np.asarray(data.pictures[style][list(kinds)]) for style in STYLES]
        return cls([compose(pictures[n % len(STYLES)], names, n, seed, SIDE) for n in range(count)])

    def boxed(self) -> Masks:
        """The boxes as masks."""
        out = np.zeros_like(self.masks)
        for mask, (left, top, right, bottom) in zip(out, self.boxes.astype(int), strict=True):
            mask[top:bottom, left:right] = True
        return out


def overlap(found: Masks, gold: Masks) -> float:
    """The mean intersection over union."""
    return float(((found & gold).sum((1, 2)) / (found | gold).sum((1, 2))).mean())


def outline_match(found: Masks, gold: Masks) -> float:
    """The mean F of outlines: the share of either's pixels that lie within a pixel of the other."""
    torch: Any = importlib.import_module("torch")
    pool = torch.nn.functional.max_pool2d

    def edge(masks: Masks) -> Any:
        x = torch.from_numpy(masks).float()[:, None]
        return x * pool(1 - x, 3, 1, 1)

    ours, theirs = edge(found), edge(gold)
    shares = [
        (a * pool(b, 3, 1, 1)).sum((1, 2, 3)) / a.sum((1, 2, 3)).clamp_min(1)
        for a, b in ((ours, theirs), (theirs, ours))
    ]
    return float((2 * shares[0] * shares[1] / (shares[0] + shares[1]).clamp_min(1e-9)).mean())


def colours(objects: Objects, masks: Masks) -> Floats:
    """Of what each mask shows the square roots of the shares of 125 colours: unit vectors [n, 125]."""
    bins = (objects.images.astype(np.int64) * _BINS >> 8) @ [_BINS**2, _BINS, 1]
    counts = [np.bincount(bins[row][mask], minlength=_BINS**3) for row, mask in zip(objects.of, masks, strict=True)]
    shares = np.array(counts, np.float32)
    return np.sqrt(shares / np.maximum(shares.sum(1, keepdims=True), 1))


def precision(scores: npt.NDArray[np.floating[Any]], objects: Objects) -> float:
    """Mean average precision of objects of the same kind in other scenes, over objects that have some."""
    other = objects.of[:, None] != objects.of
    out = []
    for row, allowed in enumerate(other):
        order = np.flatnonzero(allowed)[np.argsort(-scores[row, allowed], kind="stable")]
        right = objects.kinds[order] == objects.kinds[row]
        if right.any():
            out.append(float((right.cumsum() / np.arange(1, len(right) + 1))[right].mean()))
    return float(np.mean(out))


def retrieval(vectors: Floats, objects: Objects, seed: int) -> dict[str, Any]:
    """By floats, and by codes of the objects (ADC), the objects themselves being what the binarizer learns from."""
    row: dict[str, Any] = {"floats": precision(vectors @ vectors.T, objects)}
    for size in BYTES:
        if size > vectors.shape[1]:  # the small network's vectors have no code of 96 bytes
            continue
        model = bebr.train(vectors, bytes_per_vector=size, metric="cosine", seed=seed)
        index = bebr.FlatIndex(model)
        index.add(vectors)
        found = index.search(vectors, len(vectors))
        scores = np.full((len(vectors), len(vectors)), -np.inf)
        np.put_along_axis(scores, found.ids, found.scores, 1)
        row[str(size)] = precision(scores, objects)
    return row


def direct(objects: Objects, weights: Sequence[float], steps: int, progress: Callable[[int, int], None]) -> Masks:
    """Masks of polygons found one by one."""
    torch: Any = importlib.import_module("torch")
    found = importlib.import_module("bebr.models.boxsnake.direct").outlines(
        torch.from_numpy(objects.images).permute(0, 3, 1, 2).float() / 255,
        *(torch.from_numpy(objects.boxes), torch.from_numpy(objects.of), weights),
        vertices=VERTICES,
        side=GRID,
        steps=steps,
        progress=progress,
    )
    return painted(found)


def painted(polygons: Any) -> Masks:
    """Polygons as masks of the scenes' side."""
    return np.asarray(importlib.import_module("bebr.models.boxsnake.raster").inside(polygons, SIDE, SIDE).numpy())


def network(
    known: Objects,
    objects: Objects,
    weights: Sequence[float],
    steps: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> tuple[Masks, dict[str, Floats]]:
    """Train the small network on ``known`` boxes; masks of the boxes of ``objects``, and what lies inside of them and
    of their boxes as unit vectors."""
    torch: Any = importlib.import_module("torch")
    producer = importlib.import_module("bebr.models.boxsnake.producer")
    boxed = importlib.import_module("bebr.models.boxsnake.data").Boxed
    image = importlib.import_module("PIL.Image")
    made = producer.BoxSnake.fresh(seed=seed)
    data = boxed(known.images, [known.boxes[known.of == row].astype(np.float64) for row in range(len(known.images))])
    importlib.import_module("bebr.models.boxsnake.training").fit(
        made, data, weights, steps, side=GRID, seed=seed, progress=progress
    )
    masks: list[Masks] = []
    inside: list[Floats] = []
    outside: list[Floats] = []
    with torch.inference_mode():
        for row, picture in enumerate(objects.images):
            boxes = torch.from_numpy(objects.boxes[objects.of == row])
            maps = made.network.maps(made.pixels(image.fromarray(picture))[0])
            polygons = made.network.outlines(maps, boxes, torch.zeros(len(boxes), dtype=torch.long))[-1]
            corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2)
            masks.append(painted(polygons))
            for held, shapes in ((inside, polygons), (outside, corners)):
                held.append(torch.nn.functional.normalize(producer.pooled(maps[0][0], shapes), dim=1).numpy())
    return np.concatenate(masks), {"polygon": np.concatenate(inside), "box": np.concatenate(outside)}


def run(data: EmojiSet, options: argparse.Namespace, report: Callable[[str], Callable[[int, int], None]]) -> list[Row]:
    """Every arm under every seed."""
    torch: Any = importlib.import_module("torch")
    parts, rows = data.split(), []
    kinds = {part: kinds_of(data, parts[part], 3 if part == "test" else 8) for part in ("train", "test")}
    for seed in options.seeds:
        objects = Objects.drawn(data, kinds["test"], options.scenes, seed)
        known = None
        if options.form == "network":
            known = Objects.drawn(data, kinds["train"], options.known, seed)
        unit = torch.from_numpy(objects.boxes)
        start = importlib.import_module("bebr.models.boxsnake.polygons").ellipse(unit, VERTICES)
        for arm, masks in (("box", objects.boxed()), ("ellipse", painted(start)), ("gold", objects.masks)):
            rows.append({"arm": arm, "seed": seed, **judged(objects, masks)})
        for arm, weights in ARMS.items():
            progress, clock = report(f"{arm}, seed {seed}"), time.process_time()
            vectors: dict[str, Floats] | None = None
            if known is None:
                masks = direct(objects, weights, options.steps, progress)
            else:
                masks, vectors = network(known, objects, weights, options.steps, seed, progress)
            row: Row = {"arm": arm, "seed": seed, "seconds": time.process_time() - clock, **judged(objects, masks)}
            if arm == ALL:
                held = vectors or {"polygon": colours(objects, masks), "box": colours(objects, objects.boxed())}
                row["retrieval"] = {name: retrieval(one, objects, seed) for name, one in held.items()}
                row["retrieval"]["gold mask's colours"] = retrieval(colours(objects, objects.masks), objects, seed)
            rows.append(row)
    return rows


def judged(objects: Objects, masks: Masks) -> Row:
    return {
        "iou": overlap(masks, objects.masks),
        "outline": outline_match(masks, objects.masks),
        "objects": len(objects.masks),
    }


def gaps(rows: Sequence[Row]) -> dict[str, Difference]:
    """What the rule asks about."""
    by = {(row["arm"], row["seed"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows})

    def iou(arm: str) -> list[float]:
        return [by[arm, seed]["iou"] for seed in seeds]

    found = {name: [by[ALL, seed]["retrieval"][name]["floats"] for seed in seeds] for name in ("polygon", "box")}
    return {
        "IoU, L_u + L_lp less L_u": difference(iou("L_u + L_lp"), iou("L_u")),
        "IoU, all three less L_u + L_lp": difference(iou(ALL), iou("L_u + L_lp")),
        "mAP, polygons less boxes": difference(found["polygon"], found["box"]),
    }


def failures(found: dict[str, Difference]) -> list[str]:
    """The parts of the rule above that do not hold."""
    first, second, third = found
    out = [f"{name}: {found[name]}, wanted better" for name in (first, third) if found[name].verdict != "better"]
    if found[second].verdict == "worse":
        out.append(f"{second}: {found[second]}, wanted not worse")
    if any(gap.pairs < 3 for gap in found.values()):
        out.append(f"{next(iter(found.values())).pairs} seeds, wanted at least 3")
    return out


def show(rows: Sequence[Row], console: Console) -> None:
    """Figures by arm, differences, floats against codes."""
    table = Table("arm", "IoU", "outlines' F", "CPU s")
    for arm in dict.fromkeys(row["arm"] for row in rows):
        ours = [row for row in rows if row["arm"] == arm]
        seconds = f"{np.mean([row['seconds'] for row in ours]):.0f}" if "seconds" in ours[0] else "-"
        table.add_row(arm, *(spread([row[name] for row in ours]) for name in ("iou", "outline")), seconds)
    console.print(table)
    table = Table("what", "mean and paired 95% interval")
    for name, gap in gaps(rows).items():
        table.add_row(name, str(gap))
    console.print(table)
    held = [row["retrieval"] for row in rows if "retrieval" in row]
    table = Table("mAP by what lies in", "floats", *(f"{size} bytes" for size in BYTES))
    for name in held[0]:
        figures = [[one[name][size] for one in held if size in one[name]] for size in ("floats", *map(str, BYTES))]
        table.add_row(name, *(spread(some) if some else "-" for some in figures))
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.models.boxsnake``; 1 where a part of the rule fails or a source is absent."""
    parser = experiment.parser("boxsnake", __doc__, [0, 1, 2], "scenes and, of the network, its start and batches")
    parser.add_argument("--form", choices=["direct", "network"], default="direct", help="how polygons are found")
    parser.add_argument("--scenes", type=int, default=24, help="judged under each seed; 3 to 6 objects each")
    parser.add_argument("--known", type=int, default=1000, help="scenes the network learns from")
    parser.add_argument("--steps", type=int, help="of descent (200) or of training (1000)")
    options = parser.parse_args(arguments)
    options.steps = options.steps or {"direct": 200, "network": 1000}[options.form]
    console = output.console()
    try:
        importlib.import_module("torch")
        data = emoji.load()
    except (MissingSource, ImportError, ValueError) as error:
        console.print(str(error))
        return 1
    with experiment.progress(console, options.threads) as report:
        rows = run(data, options, report)
    show(rows, console)
    if options.json:
        output.save(options.json, machine.facts(options.threads), rows, form=options.form, steps=options.steps)
    return experiment.verdict(
        console, failures(gaps(rows)), "scenes and sizes of our own, far smaller than the paper's"
    )


if __name__ == "__main__":
    sys.exit(main())
