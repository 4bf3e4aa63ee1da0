"""Caption AnyThing without networks: what is told of an object by its mask, by its box, and by the whole picture.

python -m benchmarks.models.caption_anything --seeds 0 1 2 --json regions.json

Hypothesis, fixed before the first run: on cluttered scenes of emoji, the nearest captioned drawing names an object more
often by its mask's crop, painted white around, than by its box's crop, and by that more often than by the whole
picture: each by the paired 95% interval over seeds, with exact masks. The rule asks besides that every caption which
``ByRules`` refines keeps its length within a fifth, and that words find regions: of the regions that the segmenter
finds, R@10 of a name among captions' vectors lies above chance by its interval. What fails is printed.

Looks are thumbnails of 16 x 16 pixels, words MiniLM's vectors; a click lies on the object's pixel farthest from its
edge. An answer is right that has the object's own name; a region is of the object that covers most of it. This says
how far the parts of this folder go, nothing of SAM's or BLIP's. The paper has cases only: nothing is reproduced.
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
from bebr.models import Producer, load
from bebr.models.caption_anything import ByRules, CaptionAnything, Controls, Flood, Nearest, Outlined, Prompt
from bebr.models.caption_anything.looks import Crops
from bebr.models.caption_anything.refiners import keeps_length
from bebr.models.caption_anything.regions import crop, unpacked
from bebr.models.data import MissingSource, emoji
from bebr.models.data.emoji import EmojiSet
from bebr.models.data.scenes import Scene, compose
from benchmarks import output
from benchmarks.models import experiment
from benchmarks.models.kept import Kept, Row
from benchmarks.models.paired import Difference, difference, spread
from benchmarks.models.scene_tasks import kinds_of

ARMS = ("mask, white around", "box", "whole picture")
BYTES = (24, 48, 96)
STYLES = ("noto", "twemoji", "openmoji", "fluent")
SIDE, ACROSS = 128, 16
LENGTHS = (3, 8, 20)


class Thumbnails(Producer):
    """A picture squeezed to 16 x 16 pixels, less white: float32 [n, 768]."""

    name, version, dim, metric, modality = "thumbnails", "1", 3 * ACROSS**2, "cosine", "image"

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[np.float32]:
        small = [np.asarray(one.resize((ACROSS, ACROSS), 4), np.float32) for one in batch]  # 4: the mean of a box
        return np.asarray((255 - np.stack(small)).reshape(len(batch), -1) / 255 + 1e-3, np.float32)


def named(data: EmojiSet, kinds: Sequence[int]) -> Nearest:
    """The drawings of ``kinds`` in every style, each with its name."""
    names = [data.emoji[kind].name for kind in kinds]
    shown = [one for style in STYLES for one in np.asarray(data.pictures[style][list(kinds)])]
    return Nearest.of(Thumbnails(), shown, names * len(STYLES), 96)


def told(captioner: Nearest, scenes: Sequence[Scene], names: Sequence[str]) -> dict[str, float]:
    """Of each arm the share of objects that get their own name, by exact masks."""
    image = importlib.import_module("PIL.Image")
    right: dict[str, list[bool]] = {arm: [] for arm in ARMS}
    for scene in scenes:
        picture = image.fromarray(scene.image)
        for mask, label in zip(scene.masks, scene.labels, strict=True):
            cuts = crop(picture, mask), crop(picture, mask, "kept"), (picture, np.ones_like(mask))
            for arm, cut in zip(ARMS, cuts, strict=True):
                right[arm].append(captioner(*cut)[0] == names[label])
    return {arm: float(np.mean(values)) for arm, values in right.items()}


def clicked(segmenter: Any, scenes: Sequence[Scene]) -> float:
    """The mean IoU of an object with what a click on it gives."""
    image = importlib.import_module("PIL.Image")
    found = []
    for scene in scenes:
        for mask in scene.masks:
            got = segmenter(image.fromarray(scene.image), Prompt([_deepest(mask)]))[0]
            found.append(float((got & mask).sum() / (got | mask).sum()))
    return float(np.mean(found))


def _deepest(mask: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """A pixel as far inside as any: column, row."""
    inside = mask
    while True:
        padded = np.pad(inside, 1)
        next_ = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        if not next_.any():
            row, column = np.argwhere(inside)[0]
            return int(column), int(row)
        inside = next_


def searched(
    cat: CaptionAnything, scenes: Sequence[Scene], names: Sequence[str], drawings: Sequence[Any], seed: int
) -> Row:
    """R@10 of a kind's name among regions' captions, of its drawing among their looks, of both: the share of kinds of
    which a region is among the first ten; by floats and by codes, and what ten drawn at random would find."""
    objects = cat.objects([scene.image for scene in scenes])
    truth = []
    for of, fact in zip(objects.of, objects.facts, strict=True):
        scene = scenes[of]
        owner = int(np.bincount(scene.owners[unpacked(fact["mask"])], minlength=len(scene.labels) + 1)[1:].argmax())
        truth.append(scene.labels[owner])
    kinds = sorted(set(truth))
    asked = {
        "words": cat.words.embed([names[kind] for kind in kinds]),
        "look": Thumbnails().embed([drawings[kind] for kind in kinds]),
    }
    asked = {name: x / np.linalg.norm(x, axis=1, keepdims=True) for name, x in asked.items()}
    split = cat.look.dim
    held = {"look": objects.vectors[:, :split], "words": objects.vectors[:, split:]}
    held = {name: np.sqrt(2) * x for name, x in held.items()}  # halves of a unit vector, each a unit vector again
    held["both"] = objects.vectors
    asked["both"] = np.concatenate([asked["look"], asked["words"]], 1) / np.sqrt(2)
    right = np.array(truth) == np.array(kinds)[:, None]
    depth = min(10, len(truth))
    misses = [np.prod([1 - row.sum() / (len(row) - i) for i in range(depth)]) for row in right]
    out: Row = {"regions": len(truth), "chance": float(1 - np.clip(misses, 0, 1).mean())}

    def first(ids: npt.NDArray[np.int64]) -> float:
        return float(np.take_along_axis(right, ids, 1).any(1).mean())

    for name, x in held.items():
        found = {"floats": first(np.argsort(-asked[name] @ x.T, axis=1, kind="stable")[:, :depth])}
        for size in BYTES:
            # by the closed form alone: the further recipe's rounds at 384 to 1,152 dimensions took most of the run
            model = bebr.train(np.ascontiguousarray(x), bytes_per_vector=size, metric="cosine", rounds=0, seed=seed)
            index = bebr.FlatIndex(model)
            index.add(np.ascontiguousarray(x))
            found[str(size)] = first(index.search(asked[name], depth).ids)
        out[name] = found
    return out


def run(
    data: EmojiSet, kept: Kept, options: argparse.Namespace, report: Callable[[str], Callable[[int, int], None]]
) -> None:
    """All figures under every seed that the file does not hold yet."""
    missing = [seed for seed in options.seeds if not kept.find("all", "scenes", seed)]
    if not missing:
        return
    kinds = kinds_of(data, data.split()["test"], 3)
    names = [data.emoji[kind].name for kind in kinds]
    captioner, words = named(data, kinds), load("minilm")
    drawn = [np.asarray(data.pictures[style][kinds]) for style in STYLES]
    progress = report("scenes of each seed")
    for done, seed in enumerate(missing):
        start = time.process_time()
        scenes = [compose(drawn[n % len(STYLES)], names, n, seed, SIDE) for n in range(options.scenes)]
        row: Row = {"arm": "all", "budget": "scenes", "seed": seed, **told(captioner, scenes, names)}
        row["click, flood"] = clicked(Flood(), scenes)
        row["click, outlined"] = clicked(Outlined(Flood()), scenes[: options.outlined])
        refined = [ByRules()(name, Controls(length=length)) for name in names for length in LENGTHS]
        lengths = [length for _ in names for length in LENGTHS]
        row["length kept"] = float(np.mean([keeps_length(*one) for one in zip(refined, lengths, strict=True)]))
        cat = CaptionAnything(Flood(), captioner, Crops(Thumbnails()), words, vector="look+words")
        row["search"] = searched(cat, scenes, names, drawn[seed % len(STYLES)], seed)
        row["seconds"] = time.process_time() - start
        kept.rows.append(row)
        kept.save()
        progress(done + 1, len(missing))


def gaps(rows: Sequence[Row]) -> dict[str, Difference]:
    """What the rule asks about."""
    mask, box, whole = ([row[arm] for row in rows] for arm in ARMS)
    found = [row["search"]["words"]["floats"] for row in rows]
    return {
        "names, mask less box": difference(mask, box),
        "names, box less whole picture": difference(box, whole),
        "R@10 by words less chance": difference(found, [row["search"]["chance"] for row in rows]),
    }


def failures(rows: Sequence[Row]) -> list[str]:
    """The parts of the rule above that do not hold."""
    out = [f"{name}: {gap}, wanted better" for name, gap in gaps(rows).items() if gap.verdict != "better"]
    if any(row["length kept"] < 1 for row in rows):
        out.append("a refined caption misses its length")
    if len(rows) < 3:
        out.append(f"{len(rows)} seeds, wanted at least 3")
    return out


def show(rows: Sequence[Row], console: Console) -> None:
    """Figures and differences, floats against codes."""
    table = Table("figure", "mean and deviation")
    for name in (*ARMS, "click, flood", "click, outlined", "length kept"):
        table.add_row(f"named right by {name}" if name in ARMS else name, spread([row[name] for row in rows]))
    console.print(table)
    table = Table("what", "mean and paired 95% interval")
    for name, gap in gaps(rows).items():
        table.add_row(name, str(gap))
    console.print(table)
    held = [row["search"] for row in rows]
    chance = f"by chance {spread([one['chance'] for one in held])}"
    table = Table("regions found by", "floats", *(f"{size} bytes" for size in BYTES), title=f"R@10, {chance}")
    for name in ("words", "look", "both"):
        table.add_row(name, *(spread([one[name][size] for one in held]) for size in ("floats", *map(str, BYTES))))
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.models.caption_anything``; 1 where a part of the rule fails or a source is
    absent."""
    parser = experiment.parser("caption_anything", __doc__, [0, 1, 2], "scenes", goes_on=True)
    parser.add_argument("--scenes", type=int, default=40, help="under each seed; 3 to 6 objects each")
    parser.add_argument("--outlined", type=int, default=4, help="scenes of them whose clicks are also outlined")
    options = parser.parse_args(arguments)
    console = output.console()
    try:
        data = emoji.load()
        code = experiment.code(__file__, "caption_anything", tasks=["scene_tasks.py"])
        kept = Kept.of(options, ("scenes", "outlined"), data.checksum, code)
        with experiment.progress(console, options.threads) as report:
            run(data, kept, options, report)
    except (MissingSource, ImportError, ValueError) as error:
        console.print(str(error))
        return 1
    rows = [row for seed in options.seeds if (row := kept.find("all", "scenes", seed))]
    show(rows, console)
    return experiment.verdict(console, failures(rows), "the paper has cases only, and none of these parts is its own")


if __name__ == "__main__":
    sys.exit(main())
