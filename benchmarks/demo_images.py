"""Type a phrase, see pictures: ``make demo-images``.

A small RILS learns from four fifths of the emoji in three styles what their names mean; all emoji in four styles go
into a bebr index of 48 bytes a picture; each query leaves a sheet of the pictures found in ``demo/images/``. Pictures
framed in orange show emoji that were not trained on. The model is kept: a second run answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import bebr
from bebr.models.data import MissingSource, emoji
from bebr.models.data.emoji import EmojiSet
from benchmarks import output
from benchmarks.models.emoji_tasks import SEEN, UNSEEN, HeldOut, coded, found, split

BYTES, SHOWN, ACROSS = 48, 24, 8
STYLES = (*SEEN, UNSEEN)
QUERIES = ("smiling cat", "red heart", "man with a beard", "fruit", "train", "clock", "blue square", "woman running")
CELL, HEAD = 96, 44


def trained(folder: Path, data: EmojiSet, options: argparse.Namespace, bar: Progress) -> Any:
    """The model of ``folder``; one that is trained and saved there where there is none."""
    if (folder / "model.safetensors").is_file() and not options.fresh:
        return importlib.import_module("bebr.models").load("rils", weights=folder, device=options.device)
    pairs = importlib.import_module("bebr.models.rils.data").Pairs.of_emoji(data, split(data, options.seed)[0], SEEN)
    texts = [text for texts in pairs.texts for text in texts]
    made = importlib.import_module("bebr.models.rils.producer").Rils.fresh(
        texts, seed=options.seed, device=options.device
    )
    task = bar.add_task("train RILS", total=options.steps)
    importlib.import_module("bebr.models.rils.training").fit(
        *(made, pairs, "rils", options.steps, min(256, len(pairs)), 2e-3),
        seed=options.seed,
        progress=lambda done, total: bar.update(task, completed=done, total=total),
    )
    made.save(folder)
    return made


def sheet(query: str, pictures: Sequence[np.ndarray], captions: Sequence[str], unseen: Sequence[bool]) -> Any:
    """A PIL image: the query, and under it the pictures (uint8 [side, side, 4]) with a caption each."""
    image: Any = importlib.import_module("PIL.Image")
    draw_on: Any = importlib.import_module("PIL.ImageDraw").Draw
    font: Any = importlib.import_module("PIL.ImageFont").load_default
    rows = -(-len(pictures) // ACROSS)
    made = image.new("RGB", (ACROSS * CELL, HEAD + rows * (CELL + 14)), "white")
    draw = draw_on(made)
    draw.text((10, 12), query, "black", font(20))
    for place, (picture, caption, new) in enumerate(zip(pictures, captions, unseen, strict=True)):
        left, top = CELL * (place % ACROSS), HEAD + (CELL + 14) * (place // ACROSS)
        shown = image.fromarray(picture).resize((CELL - 16, CELL - 16))
        made.paste(shown, (left + 8, top + 8), shown)
        if new:
            draw.rectangle((left + 2, top + 2, left + CELL - 3, top + CELL - 3), outline="darkorange", width=3)
        draw.text((left + 4, top + CELL - 1), caption[:18], "dimgray", font(9))
    return made


def held_out(producer: Any, vectors: np.ndarray, data: EmojiSet, rows: list[int], model: bebr.Binarizer) -> str:
    """How often names that were not trained on find their picture among them, by floats and by codes."""
    count = len(data.emoji)
    pictures = {style: vectors[i * count + np.array(rows)] for i, style in enumerate(STYLES)}
    names = producer.embed([data.emoji[row].name for row in rows])
    held = HeldOut(pictures, names, np.zeros(len(rows), np.int64))
    codes = coded(held, model, "float")["r10"]
    return (
        f"names not trained on find their picture among {len(rows)}, R@10: {found(held, SEEN, 10):.3f} by floats "
        f"({4 * vectors.shape[1]} bytes), {codes:.3f} by codes ({model.bytes_per_vector}), "
        f"{10 / len(rows):.3f} by chance"
    )


def answer(query: str, vector: np.ndarray, index: Any, data: EmojiSet, unseen: set[int], path: Path) -> str:
    """Write the sheet of one query; the names found, each once."""
    hits = index.search(vector[None], SHOWN)
    at = [divmod(int(one), len(data.emoji)) for one in hits.ids[0] if one >= 0]
    names = [data.emoji[row].name for _, row in at]
    pictures = [np.asarray(data.pictures[STYLES[style]][row]) for style, row in at]
    sheet(query, pictures, names, [row in unseen for _, row in at]).save(path)
    return ", ".join(dict.fromkeys(names))


def show(producer: Any, data: EmojiSet, options: argparse.Namespace, bar: Progress, console: Console) -> None:
    """Index every picture, then answer each query."""
    task = bar.add_task("embed the pictures", total=len(STYLES) * len(data.emoji))
    parts = []
    for style in STYLES:
        parts.append(producer.embed(list(data.pictures[style]), batch_size=256))
        bar.advance(task, len(data.emoji))
    vectors = np.concatenate(parts)
    training = bar.add_task("train the binarizer", total=None)
    model = bebr.train(vectors, bytes_per_vector=BYTES, metric="cosine", seed=options.seed)
    bar.update(training, completed=1, total=1)
    index = bebr.FlatIndex(model)
    index.add(vectors)
    index.save(options.output / "emoji.bebr")
    rows = split(data, options.seed)[1]
    bar.stop()
    console.print(f"{len(index):,} pictures at {model.bytes_per_vector} bytes in {options.output / 'emoji.bebr'}")
    console.print(held_out(producer, vectors, data, rows, model), soft_wrap=True)
    opened = bebr.open_index(options.output / "emoji.bebr")
    for query, vector in zip(options.query, producer.embed(options.query), strict=True):
        path = options.output / f"{re.sub(r'[^a-z0-9]+', '-', query.lower()).strip('-') or 'query'}.png"
        names = answer(query, vector, opened, data, set(rows), path)
        console.print(f"[bold]{query}[/bold] → {path}: {names}", soft_wrap=True, highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.demo_images``; 1 where a source or package is absent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_images", description=__doc__.partition("\n")[0])
    parser.add_argument("--query", nargs="+", default=list(QUERIES), help="phrases to look for, a sheet for each")
    parser.add_argument("--output", type=Path, default=Path("demo") / "images", help="folder of sheets and index")
    parser.add_argument("--model", type=Path, help="folder of the model, made if empty (default: rils in the output)")
    parser.add_argument("--steps", type=int, default=1200, help="of training; 0.6 CPU seconds each")
    parser.add_argument("--seed", type=int, default=0, help="of training, and of what is held out from it")
    parser.add_argument("--device", default="cpu", help="where the network runs")
    parser.add_argument("--fresh", action="store_true", help="train anew")
    options = parser.parse_args(arguments)
    console = output.console()
    start = time.perf_counter()
    options.output.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        data = emoji.load()
        with Progress(*columns, console=console) as bar:
            producer = trained(options.model or options.output / "rils", data, options, bar)
            show(producer, data, options, bar, console)
    except (MissingSource, ImportError) as error:
        console.print(str(error))
        return 1
    console.print(f"{time.perf_counter() - start:.0f} seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
