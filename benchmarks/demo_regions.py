"""Things in pictures, found by words and by look: ``make demo-regions``.

Scenes of emoji are cut into regions. A region gets the words of the nearest of a few hundred captioned drawings, none
of them in the style of the scenes. One bebr index holds of each region how it looks and what it is called, so that
words, a drawing or both find it. Two pictures are left in ``demo/regions/``: ``scenes.png``, some of the scenes with
their regions and words, and ``found.png``, a row for each query. Outlines are green where the words are the thing's
own name.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import bebr
from bebr.models import load
from bebr.models.caption_anything import CaptionAnything, Controls, Figures, Nearest, Prompt
from bebr.models.caption_anything.looks import Crops
from bebr.models.caption_anything.regions import crop, unpacked
from bebr.models.data import MissingSource, emoji
from bebr.models.data.emoji import EmojiSet
from bebr.models.data.scenes import Scene, compose
from bebr.models.objects import Objects
from benchmarks import output, sheets
from benchmarks.models.caption_anything import Thumbnails
from benchmarks.models.emoji_tasks import SEEN, UNSEEN
from benchmarks.models.scene_tasks import kinds_of

BYTES, FOUND, LOOKS, PICTURED = 148, 8, 4, 6
SIDE, OBJECTS, ACROSS = 160, (4, 7), (32, 48)  # pixels of a scene, things in it, pixels across one
QUERIES = ("bird", "vehicle", "flower", "clock", "smiling face", "sports ball")


@dataclass(frozen=True)
class Regions:
    """What was cut out of ``scenes``: ``objects``, and of each the row in the set of what it shows, -1 for none."""

    scenes: Sequence[Scene]
    objects: Objects
    truth: npt.NDArray[np.int64]
    names: Sequence[str]

    def masks(self) -> list[npt.NDArray[np.bool_]]:
        return [unpacked(fact["mask"]) for fact in self.objects.facts]

    def right(self) -> list[bool]:
        """Whether each is called by its own name."""
        told = zip(self.truth, self.objects.facts, strict=True)
        return [bool(kind >= 0 and self.names[kind] == fact["caption"]) for kind, fact in told]


def cut_out(drawings: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    """RGBA drawings as regions are cut out of scenes: to their edges, white around."""
    return [np.asarray(crop(one[..., :3], one[..., 3] >= 128)[0]) for one in drawings]


def captioned(data: EmojiSet, kinds: Sequence[int]) -> Nearest:
    """The drawings of ``kinds`` in all styles but that of the scenes, each with its name."""
    drawings = [one for style in SEEN for one in cut_out(np.asarray(data.pictures[style][list(kinds)]))]
    looks = Thumbnails().embed(drawings)
    index = bebr.FlatIndex(bebr.untrained(looks.shape[1], bytes_per_vector=2 + looks.shape[1] // 2))
    index.add(looks)
    return Nearest(Thumbnails(), index, [data.emoji[kind].name for kind in kinds] * len(SEEN))


def shown(scene: Scene, mask: npt.NDArray[np.bool_]) -> int:
    """The label of what covers most of a region; -1 where that is the ground."""
    most = int(np.bincount(scene.owners[mask], minlength=len(scene.labels) + 1).argmax())
    return scene.labels[most - 1] if most else -1


def cut(cat: CaptionAnything, data: EmojiSet, kinds: list[int], options: argparse.Namespace, bar: Progress) -> Regions:
    """Compose the scenes, then find their regions."""
    drawings, names = np.asarray(data.pictures[UNSEEN][kinds]), [data.emoji[kind].name for kind in kinds]
    scenes = [
        compose(drawings, names, n, options.seed, SIDE, OBJECTS, OBJECTS[1], visible=1.0, sizes=ACROSS)
        for n in range(options.scenes)
    ]
    task = bar.add_task("cut scenes into regions, and name them", total=len(scenes))
    objects = cat.objects(
        [scene.image for scene in scenes], batch_size=4, progress=lambda done, total: bar.update(task, completed=done)
    )
    told = zip(objects.of, objects.facts, strict=True)
    truth = [shown(scenes[of], unpacked(fact["mask"])) for of, fact in told]
    return Regions(scenes, objects, np.array(truth, np.int64), names)


def asked(cat: CaptionAnything, pictures: Sequence[Any] = (), texts: Sequence[str] = ()) -> npt.NDArray[np.float32]:
    """Queries by look, by words, or by both where as many are given of each: zeros stand for what is not asked."""
    count = max(len(pictures), len(texts))
    look, words = np.zeros((count, cat.look.dim), np.float32), np.zeros((count, cat.words.dim), np.float32)
    if len(pictures):
        look = Thumbnails().embed(pictures)
    if len(texts):
        words = cat.words.embed(texts)
    parts = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (look, words)]
    return np.concatenate(parts, 1)


def figures(cat: CaptionAnything, index: Any, regions: Regions, drawings: Sequence[Any]) -> list[str]:
    """How well it went, a sentence each."""
    masks, of = regions.masks(), regions.objects.of
    whole = [
        any((gold & masks[i]).sum() > 0.5 * (gold | masks[i]).sum() for i in np.flatnonzero(of == number))
        for number, scene in enumerate(regions.scenes)
        for gold in scene.masks
    ]
    kinds = sorted({int(kind) for kind in regions.truth if kind >= 0})
    own = regions.truth == np.array(kinds)[:, None]
    depth = min(10, own.shape[1])
    shares = []
    for pictures, texts in (([], kinds), (kinds, []), (kinds, kinds)):
        queries = asked(cat, [drawings[kind] for kind in pictures], [regions.names[kind] for kind in texts])
        found = np.take_along_axis(own, index.search(queries, depth).ids, 1)
        shares.append(float(found.any(1).mean()))
    chance = [1 - math.comb(own.shape[1] - one, depth) / math.comb(own.shape[1], depth) for one in own.sum(1).tolist()]
    return [
        f"{np.mean(whole):.3f} of {len(whole)} things are found as regions (IoU above .5)",
        f"{np.mean(regions.right()):.3f} of {len(own[0])} regions get their own name, of {len(regions.names)} names",
        f"a thing of a kind is among {depth} regions: {shares[0]:.3f} by the kind's name, {shares[1]:.3f} by a drawing "
        f"in another style, {shares[2]:.3f} by both, {np.mean(chance):.3f} by chance",
    ]


def pictured(regions: Regions, index: Any, rows: Sequence[tuple[Any, str, Any]], folder: Path) -> list[str]:
    """Leave both pictures; the words of what each of ``rows``, (head, what it is called, query), finds."""
    masks, right, facts, of = regions.masks(), regions.right(), regions.objects.facts, regions.objects.of
    scenes = []
    for number in range(min(PICTURED, len(regions.scenes))):
        held = np.flatnonzero(of == number)
        parts = [(masks[i], facts[i]["caption"], right[i]) for i in held]
        scenes.append(sheets.outlined(regions.scenes[number].image, parts))
    sheets.grid(scenes, 3).save(folder / "scenes.png")
    told, lines = [], []
    for head, called, query in rows:
        ids = [int(one) for one in index.search(query[None], FOUND).ids[0] if one >= 0]
        cells = [(sheets.close_up(regions.scenes[of[i]].image, masks[i], right[i]), facts[i]["caption"]) for i in ids]
        lines.append((head, cells))
        told.append(f"[bold]{called}[/bold] → {', '.join(dict.fromkeys(facts[i]['caption'] for i in ids))}")
    sheets.lines(lines, FOUND).save(folder / "found.png")
    return told


def click(cat: CaptionAnything, scene: Scene) -> str:
    """What is said of a click into the middle of a scene's first thing."""
    rows, columns = np.nonzero(scene.masks[0])
    middle = int(np.hypot(rows - rows.mean(), columns - columns.mean()).argmin())
    x, y = int(columns[middle]), int(rows[middle])
    (region,) = cat.say(scene.image, Prompt([(x, y)]), Controls(sentiment="positive"))
    return f"a click at ({x}, {y}) of the first scene → {region.text}, in the box {region.box}"


def show(data: EmojiSet, options: argparse.Namespace, bar: Progress, console: Console) -> None:
    """Cut, index, ask."""
    kinds = kinds_of(data, range(len(data.emoji)), options.kinds)
    task = bar.add_task("caption drawings", total=None)
    cat = CaptionAnything(
        Figures(), captioned(data, kinds), Crops(Thumbnails()), load("minilm"), vector="look+words", least_area=64
    )
    bar.update(task, total=1, completed=1)
    regions = cut(cat, data, kinds, options, bar)
    vectors = regions.objects.vectors
    index = bebr.FlatIndex(bebr.untrained(cat.dim, bytes_per_vector=BYTES, seed=options.seed))
    index.add(vectors)
    index.save(options.output / "regions.bebr")
    bar.stop()
    opened = bebr.open_index(options.output / "regions.bebr")
    console.print(f"{len(opened):,} regions at {BYTES} bytes in {options.output / 'regions.bebr'}")
    drawings = cut_out(np.asarray(data.pictures[SEEN[0]][kinds]))
    for line in figures(cat, opened, regions, drawings):
        console.print(line, soft_wrap=True, highlight=False)
    console.print(click(cat, regions.scenes[0]), soft_wrap=True, highlight=False)
    rows: list[tuple[Any, str, Any]] = [
        (text, text, query) for text, query in zip(options.query, asked(cat, texts=options.query), strict=True)
    ]
    held = {
        (of, kind) for of, kind in zip(regions.objects.of.tolist(), regions.truth.tolist(), strict=True) if kind >= 0
    }
    frequent = [kind for kind, _ in Counter(kind for _, kind in sorted(held)).most_common(LOOKS)]
    looks = [drawings[kind] for kind in frequent]
    for kind, query in zip(frequent, asked(cat, looks), strict=True):
        rows.append((drawings[kind], f"a drawing of: {regions.names[kind]}", query))
    for line in pictured(regions, opened, rows, options.output):
        console.print(line, soft_wrap=True, highlight=False)
    console.print(f"pictures: {options.output / 'scenes.png'}, {options.output / 'found.png'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.demo_regions``; 1 where a source or package is absent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_regions", description=__doc__.partition("\n")[0])
    parser.add_argument("--query", nargs="+", default=list(QUERIES), help="phrases to look for, a row for each")
    parser.add_argument("--output", type=Path, default=Path("demo") / "regions", help="folder of pictures and index")
    parser.add_argument("--scenes", type=int, default=30, help="of 4 to 7 things each")
    parser.add_argument("--kinds", type=int, default=30, help="emoji of each of the eight groups, drawn and captioned")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes")
    options = parser.parse_args(arguments)
    console = output.console()
    start = time.perf_counter()
    options.output.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    try:
        data = emoji.load()
        with Progress(*columns, console=console) as bar:
            show(data, options, bar, console)
    except (MissingSource, ImportError) as error:
        console.print(str(error))
        return 1
    console.print(f"{time.perf_counter() - start:.0f} seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
