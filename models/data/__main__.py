"""``python -m bebr.models.data NAME ...``: build a set, check it, and say what it holds."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import Progress

from bebr.models.data import debian, emoji, openclipart, relevance, scenes, wordnet
from bebr.models.data.sources import MissingSource, folder

Report = Callable[[int, int], None]


def _emoji(options: argparse.Namespace, report: Report) -> str:
    made = emoji.load(options.size, report)
    return f"{len(made.emoji):,} in {', '.join(made.pictures)}, {made.size} pixels; {_parts(made.split(options.seed))}"


def _scenes(options: argparse.Namespace, report: Report) -> str:
    made = scenes.load(options.part, options.count, options.seed, emoji=emoji.load(options.size), progress=report)
    objects = int((made.labels >= 0).sum())
    return f"{len(made):,} of {options.part} emoji, {objects:,} objects; the first: {made[0].caption}"


def _openclipart(options: argparse.Namespace, report: Report) -> str:
    clips = openclipart.load()
    words = {word for clip in clips for word in clip.keywords}
    titled = sum(1 for clip in clips if clip.title)
    pixels = sum(1 for clip in clips if clip.png)
    counts = f"{len(clips):,} drawings, {titled:,} titles, {len(words):,} keywords, {pixels:,} with PNG"
    return f"{counts}; {_parts(openclipart.parts(clips, options.seed))}"


def _debian(options: argparse.Namespace, report: Report) -> str:
    packages = debian.load()
    tagged = sum(1 for one in packages if one.tags)
    tags = {tag for one in packages for tag in one.tags}
    counts = f"{len(packages):,} packages, {tagged:,} with some of {len(tags)} debtags"
    return f"{counts}; {_parts(debian.parts(packages, options.seed))}"


def _wordnet(options: argparse.Namespace, report: Report) -> str:
    synsets = wordnet.load()
    examples, pointers = (sum(len(part) for part in parts) for parts in zip(*map(_lists, synsets), strict=True))
    counts = f"{len(synsets):,} synsets, {examples:,} examples, {pointers:,} pointers"
    return f"{counts}; {_parts(wordnet.parts(synsets, options.seed))}"


def _lists(synset: wordnet.Synset) -> tuple[Sequence[Any], Sequence[Any]]:
    return synset.examples, synset.pointers


def _relevance(options: argparse.Namespace, report: Report) -> str:
    if options.folder is None:
        raise MissingSource("relevance: say where the set lies: --folder PATH")
    judged = relevance.load(options.folder)
    pairs = sum(map(len, judged.grades.values()))
    counts = f"{len(judged.documents):,} documents, {len(judged.queries):,} queries, {pairs:,} relevant pairs"
    return f"{counts}, checksum {judged.checksum[:16]}"


SETS = {
    "emoji": _emoji,
    "scenes": _scenes,
    "openclipart": _openclipart,
    "debian": _debian,
    "wordnet": _wordnet,
    "relevance": _relevance,
}


def _parts(parts: dict[str, list[int]]) -> str:
    return ", ".join(f"{name} {len(rows):,}" for name, rows in parts.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the sets named on the command line; 1 where a source is absent or is not what it should be."""
    parser = argparse.ArgumentParser(prog="python -m bebr.models.data", description="Build, check and describe data.")
    parser.add_argument("names", nargs="+", choices=list(SETS), metavar="NAME", help=f"of: {', '.join(SETS)}")
    parser.add_argument("--size", type=int, default=64, help="pixels of an emoji")
    parser.add_argument("--count", type=int, default=1000, help="scenes to make")
    parser.add_argument("--part", default="train", help="whose emoji the scenes show: train, validation or test")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of the scenes")
    parser.add_argument("--folder", help="where a set of judgements lies")
    options = parser.parse_args(arguments)
    console, terminal, failed = Console(soft_wrap=True, highlight=False), Console(stderr=True), False
    for name in options.names:
        with (
            warnings.catch_warnings(record=True) as told,
            Progress(console=terminal, transient=True) as bar,
        ):
            warnings.simplefilter("always")
            task = bar.add_task(name, total=None)
            try:
                line = SETS[name](options, lambda done, total: bar.update(task, completed=done, total=total))  # noqa: B023
            except (MissingSource, ValueError) as error:
                line, failed = str(error), True
        console.print(line if line.startswith(f"{name}:") else f"{name}: {line}", markup=False)
        for warning in told:
            console.print(f"warning: {warning.message}", markup=False)
    console.print(f"kept in {folder()}", markup=False)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
