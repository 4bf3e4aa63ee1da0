"""What the size of memory's pages does to a search: one saved index, opened in several ways that are asked in turns.

    BEBR_ISA=avx512 python -m benchmarks.pages --bytes 196 --folder pages wordnet

Ways: ``mmap=False`` as ever, where large buffers ask for pages of 2 MB; the same in a process that gets none, as where
memory is in pieces; and the mapped file. One thread each, all queries in one call ("batch") and a hundred one by one
("single"). Printed: queries a second of processor time in the fastest calls of all rounds, the ratio to the first way
(its median over the rounds), and what part of the process's memory was in pages of 2 MB. Linux only. ``--folder`` keeps
model and indexes for the next run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

import bebr
from benchmarks import datasets, machine, output
from benchmarks.before_after import Side, in_turns

WORKER = "search_worker.py"
WAYS = {"memory": "in memory, 2 MB", "small": "in memory, 4 KB", "mapped": "mapped file"}
# Of each kind of index, its option of a search and the values asked for.
KINDS: dict[str, tuple[str, tuple[int, ...]]] = {
    "graph": ("ef_search", (16, 32)),
    "inline": ("ef_search", (16, 32)),
    "ivf": ("nprobe", (8, 32)),
    "flat": ("", ()),
}


@dataclass(frozen=True)
class Row:
    """Queries a second of one case and way. ratio: to the first way. held, large: bytes of the process in memory, and
    those of them in pages of 2 MB."""

    kind: str
    case: str
    way: str
    speed: float
    ratio: float
    held: int
    large: int


def make(kind: str, model: bebr.Binarizer, rows: int) -> bebr.Index:
    if kind == "flat":
        return bebr.FlatIndex(model)
    if kind == "ivf":
        return bebr.IVFIndex(model, nlist=max(1, round(0.75 * rows**0.5)))
    return bebr.GraphIndex(model, inline=32 if kind == "inline" else 0)


def kept_model(data: datasets.Dataset, size: int, folder: Path) -> bebr.Binarizer:
    path = folder / "model.safetensors"
    if not path.is_file():
        bebr.train(data.train, bytes_per_vector=size, metric=data.metric, seed=0).save(path)
    return bebr.Binarizer.load(path)


def compare(kind: str, sides: Sequence[Side], rounds: int) -> list[Row]:
    """Every case in turns; sides in the order of WAYS."""
    names = [name for name in sides[0].digests if name not in ("found", "pages")]
    held = [json.loads(side.digests["pages"]) for side in sides]
    taken = in_turns(sides, names, rounds)
    return [
        Row(
            kind,
            name,
            way,
            1 / min(seconds[at] for seconds in taken[name]),
            statistics.median(seconds[0] / seconds[at] for seconds in taken[name]),
            *held[at],
        )
        for name in names
        for at, way in enumerate(WAYS)
    ]


def table(rows: Sequence[Row]) -> Table:
    made = Table(title="queries a second of processor time")
    for column in ("index", "case", "way", "speed", "ratio", "in memory", "of it 2 MB"):
        made.add_column(column, justify="left" if column in ("index", "case", "way") else "right")
    for row in rows:
        made.add_row(
            row.kind,
            row.case,
            WAYS[row.way],
            f"{row.speed:,.0f}",
            f"{row.ratio:.2f}",
            f"{row.held / 1e6:,.0f} MB",
            f"{row.large / 1e6:,.0f} MB",
        )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", nargs="?", default="glove", choices=datasets.names(), metavar="SET")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--bytes", type=int, default=196, help="of a code")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where model and indexes are kept")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    console = output.console()
    data = datasets.load_or_say(options.dataset, console.print)
    if data is None:
        return 1
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "queries.npy", data.queries)
        for kind in options.kinds:
            path = folder / f"{kind}.bebr"
            if not path.is_file():
                index = make(kind, kept_model(data, options.bytes, folder), len(data.base))
                index.add(data.base)
                index.save(path)
            option, values = KINDS[kind]
            asked = [path, folder / "queries.npy"]
            sides = [Side(Path(sys.executable), WORKER, *asked, way, option, json.dumps(values)) for way in WAYS]
            rows += compare(kind, sides, options.rounds)
            for side in sides:
                side.close()
    console.print(table(rows))
    if options.json is not None:
        output.save(options.json, machine.facts(1), [asdict(row) for row in rows])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
