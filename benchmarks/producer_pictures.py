"""Pictures of what the producers do, for their pages: drawn from things that are made here, no data of others.

python -m benchmarks.producer_pictures boxsnake caption-anything a2mc

boxsnake          scenes, the boxes that are given, and the outlines that each of the losses adds
caption-anything  scenes cut into regions, each with the words of the nearest captioned drawing of another style
a2mc              clips of made-up bodies, and of bodies never seen in training those that are nearest
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

import bebr
from bebr.models import load
from bebr.models.caption_anything import CaptionAnything, Figures, Nearest, Prompt
from bebr.models.caption_anything.looks import Crops
from bebr.models.data.scenes import Scene, compose
from benchmarks import machine, output, shapes, sheets
from benchmarks.demo_regions import cut_out, shown
from benchmarks.models.caption_anything import Thumbnails

LOSSES = {"L_u": (1.0, 0.0, 0.0), "L_u + L_lp": (1.0, 0.5, 0.0), "all three losses": (1.0, 0.5, 0.03)}
BOXED, NAMED = 2, 3  # scenes
_LARGER = 2
_COLOURS = 64  # of a picture's palette: grain of scenes takes a third of the bytes so
_NEAREST, _FRAMES, _CELL = 5, 5, (150, 84)

Floats = npt.NDArray[np.floating[Any]]


def scenes(count: int, drawings: npt.NDArray[np.uint8], names: Sequence[str], seed: int, apart: bool) -> list[Scene]:
    """Scenes of 160 pixels; with ``apart`` nothing hides another."""
    visible = 1.0 if apart else 0.7
    return [compose(drawings, names, n, seed, 160, (4, 6), 6, visible, (36, 60)) for n in range(count)]


def boxsnake(options: argparse.Namespace) -> Any:
    """A line for each scene: what is given, and the polygons by more and more losses."""
    torch: Any = importlib.import_module("torch")
    image, draw = importlib.import_module("PIL.Image"), importlib.import_module("PIL.ImageDraw")
    outlines = importlib.import_module("bebr.models.boxsnake.direct").outlines
    made = scenes(BOXED, *shapes.drawings(seed=options.seed), options.seed, False)
    images = np.stack([scene.image for scene in made])
    boxes = torch.from_numpy(np.concatenate([scene.boxes for scene in made])).float()
    of = torch.from_numpy(np.repeat(np.arange(len(made)), [len(scene.labels) for scene in made]))
    given = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2)
    columns = {"boxes: all that is given": given}
    for name, weights in LOSSES.items():
        columns[name] = outlines(
            torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255,
            *(boxes, of, weights),
            vertices=32,
            side=32,
            steps=options.steps or 200,
        )
    cells = []
    for number, scene in enumerate(made):
        for name, polygons in columns.items():
            cell = image.fromarray(scene.image.repeat(_LARGER, 0).repeat(_LARGER, 1))
            pen = draw.Draw(cell)
            for polygon in polygons[of == number].numpy():
                corners = [(float(x) * _LARGER, float(y) * _LARGER) for x, y in polygon]
                for colour, width in (("black", 4), ("white", 2)):
                    pen.line([*corners, corners[0]], colour, width)
            sheets.label(cell, name)
            cells.append(cell)
    return sheets.grid(cells, len(columns))


def caption_anything(options: argparse.Namespace) -> Any:
    """Regions of scenes, green where the words are the thing's own name."""
    drawings, names = shapes.drawings(seed=options.seed)
    captioned, _ = shapes.drawings(seed=options.seed + 1)
    looks = Thumbnails().embed(cut_out(captioned))
    index = bebr.FlatIndex(bebr.untrained(looks.shape[1], bytes_per_vector=2 + looks.shape[1] // 2))
    index.add(looks)
    cat = CaptionAnything(Figures(), Nearest(Thumbnails(), index, names), Crops(Thumbnails()), load("minilm"))
    cells = []
    for scene in scenes(NAMED, drawings, names, options.seed, True):
        parts = []
        for region in cat.say(scene.image, Prompt()):
            kind = shown(scene, region.mask)
            parts.append((region.mask, region.text, kind >= 0 and names[kind] == region.text))
        cells.append(sheets.outlined(scene.image, parts))
    return sheets.grid(cells, len(cells))


def a2mc(options: argparse.Namespace) -> Any:
    """A line for each clip asked: some frames of it, then of its nearest; green where the class is its own."""
    made = importlib.import_module("bebr.models.a2mc.synthetic").made(options.clips, 10, 6, seed=options.seed)
    producer = importlib.import_module("bebr.models.a2mc.producer").A2mc.fresh(seed=options.seed)
    (known, labels), (asked, wanted) = made.part(False), made.part(True)
    fit = importlib.import_module("bebr.models.a2mc.training").fit
    batch = min(32, len(known))
    fit(producer, known, steps=options.steps or 100, batch_size=batch, bank_size=16 * batch, seed=options.seed)
    gallery, queries = producer.embed(known), producer.embed(asked)
    rows = []
    for row in np.linspace(0, len(asked) - 1, 4).astype(int):
        nearest = np.argsort(-gallery @ queries[row], kind="stable")[:_NEAREST]
        cells = [body(producer.prepared(known[i])[:, 0], bool(labels[i] == wanted[row])) for i in nearest]
        rows += [body(producer.prepared(asked[row])[:, 0], None), *cells]
    return sheets.grid(rows, 1 + _NEAREST)


def body(clip: Floats, right: bool | None) -> Any:
    """A PIL image of some frames [frames, joints, 3] of a body, z up, side by side; a frame around it says whether it
    is right, and a black one that it asks."""
    bones = importlib.import_module("bebr.models.a2mc.skeleton").SKELETONS["kinect"].bones
    cell = importlib.import_module("PIL.Image").new("RGB", _CELL, "white")
    draw = importlib.import_module("PIL.ImageDraw").Draw(cell)
    scale, middle = 0.36 * _CELL[1], 0.42 * _CELL[1]
    for place, frame in enumerate(np.linspace(0, len(clip) - 1, _FRAMES).astype(int)):
        left = (place + 0.5) * _CELL[0] / _FRAMES
        at = [(left + scale * float(x), middle - scale * float(z)) for x, _, z in clip[frame]]
        for joint, parent in bones:
            draw.line([at[joint], at[parent]], "black", 1)
    colour = "black" if right is None else sheets.RIGHT if right else sheets.WRONG
    draw.rectangle([0, 0, _CELL[0] - 1, _CELL[1] - 1], outline=colour, width=2)
    return cell


PICTURES: dict[str, Callable[[argparse.Namespace], Any]] = {
    "boxsnake": boxsnake,
    "caption-anything": caption_anything,
    "a2mc": a2mc,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.producer_pictures``; 1 where a package is absent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.producer_pictures", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help=f"of {', '.join(PICTURES)}; all by default")
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"), help="folder of the pictures")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and clips")
    parser.add_argument("--steps", type=int, help="of descent (boxsnake: 200) or training (a2mc: 100)")
    parser.add_argument("--clips", type=int, default=400, help="made-up clips")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.pictures if name not in PICTURES]:
        parser.error(f"{', '.join(unknown)}: wanted some of {', '.join(PICTURES)}")
    console: Console = output.console()
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.pictures or PICTURES:
        path = options.output / f"{name}.png"
        try:
            importlib.import_module("torch").set_num_threads(1)
            with machine.pinned(1):
                picture = PICTURES[name](options)
        except ImportError as error:
            console.print(f"{name}: {error}")
            return 1
        picture.quantize(_COLOURS, dither=0).save(path, optimize=True)
        console.print(f"{path}: {path.stat().st_size // 1000} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
