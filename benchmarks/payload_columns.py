"""Columns of payloads as plain arrays, or as Arrow IPC read by pyarrow: size, opening, memory, evaluation.

    python -m benchmarks.payload_columns --rows 1000000

Both hold the same four fields and give the same bitmaps; each is read from a mapped file. Milliseconds are those of the
fastest call, in turns.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from bebr.store.columns.column import Column
from bebr.store.columns.file import column_sections, read_columns
from bebr.store.columns.table import Columns
from benchmarks import machine, output
from benchmarks.filters import microseconds

LANGS, TAGS = 100, 50


def fields(rows: int) -> dict[str, Any]:
    chance = np.random.default_rng(0)
    return {
        "year": chance.integers(1900, 2030, rows),
        "price": chance.random(rows),
        "lang": chance.integers(0, LANGS, rows).astype(np.uint8),
        "tags": chance.integers(0, TAGS, 2 * rows).astype(np.uint8),  # two a row
    }


def plain(data: dict[str, Any], rows: int, path: Path) -> Path:
    """As a segment file has them; the two sections one after the other, the size of the first before them."""
    columns = {
        "year": Column("int", data["year"], None, False),
        "price": Column("float", data["price"], None, False),
        "lang": Column("keyword", data["lang"], None, False, tuple(f"lang-{i}" for i in range(LANGS))),
        "tags": Column(
            *("keyword", data["tags"], np.repeat(np.arange(rows, dtype=np.uint32), 2), True),
            tuple(f"tag-{i}" for i in range(TAGS)),
        ),
    }
    with column_sections(Columns(rows, columns, True), path.parent) as sections:
        schema = bytes(sections["columns"])
        path.write_bytes(len(schema).to_bytes(64, "little") + schema.ljust(-len(schema) % 64 + len(schema)))
        with path.open("ab") as file:
            file.write(sections["column_data"])
    return path


def open_plain(path: Path, rows: int) -> Columns:
    data = np.memmap(path, np.uint8, "r")
    size = int.from_bytes(data[:64].tobytes(), "little")
    begin = 64 + size + -size % 64
    found = read_columns({"columns": data[64 : 64 + size], "column_data": data[begin:]}, rows, str(path))
    assert found is not None
    return found


def arrow(data: dict[str, Any], rows: int, path: Path) -> Path:
    pa = importlib.import_module("pyarrow")
    tags = pa.DictionaryArray.from_arrays(data["tags"], [f"tag-{i}" for i in range(TAGS)])
    table = pa.table(
        {
            "year": data["year"],
            "price": data["price"],
            "lang": pa.DictionaryArray.from_arrays(data["lang"], [f"lang-{i}" for i in range(LANGS)]),
            "tags": pa.ListArray.from_arrays(np.arange(0, 2 * rows + 1, 2, dtype=np.int32), tags),
        }
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return path


def open_arrow(path: Path) -> Any:
    pa = importlib.import_module("pyarrow")
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def arrow_evaluations(path: Path) -> dict[str, Callable[[], int]]:
    pc = importlib.import_module("pyarrow.compute")
    table = open_arrow(path)

    def tagged() -> int:
        tags = table["tags"].combine_chunks()
        rows = pc.list_parent_indices(tags).to_numpy()
        hits = np.zeros(len(tags), np.bool_)
        hits[rows[pc.equal(pc.list_flatten(tags), "tag-7").to_numpy(zero_copy_only=False)]] = True
        return int(hits.sum())

    return {
        "whole numbers, a range": lambda: pc.sum(
            pc.and_(pc.greater_equal(table["year"], 1950), pc.less(table["year"], 2000))
        ).as_py(),
        "floats, a range": lambda: pc.sum(pc.less(table["price"], 0.1)).as_py(),
        "a keyword of 1 %": lambda: pc.sum(pc.equal(table["lang"], "lang-7")).as_py(),
        "lists, an element of 4 %": tagged,
    }


def plain_evaluations(path: Path, rows: int) -> dict[str, Callable[[], int]]:
    matching = importlib.import_module("bebr.store.snapshots.matching")
    bitmaps = importlib.import_module("bebr.store.files.bitmaps")
    columns, f = open_plain(path, rows), bebr.F
    filters = {
        "whole numbers, a range": (f("year") >= 1950) & (f("year") < 2000),
        "floats, a range": f("price") < 0.1,
        "a keyword of 1 %": f("lang") == "lang-7",
        "lists, an element of 4 %": f("tags") == "tag-7",
    }

    def count(filter: bebr.Filter) -> Callable[[], int]:
        return lambda: bitmaps.count(matching.matching_rows(filter, columns, None, matching.Answers()))

    return {name: count(filter) for name, filter in filters.items()}


def cost_of(code: str) -> tuple[float, float]:
    """Milliseconds and MiB of what some code does in a fresh process that has loaded this module."""
    script = (
        "import time; from benchmarks import payload_columns as c; from benchmarks.memory import status; from pathlib "
        "import Path;"
        f"m = status('VmRSS'); t = time.perf_counter(); {code};"
        "print(1e3 * (time.perf_counter() - t), (status('VmRSS') - m) / 2**20)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    milliseconds, size = map(float, done.stdout.split())
    return milliseconds, size


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.payload_columns", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    rows = options.rows
    table = Table(title=f"columns of {rows:,} rows")
    for name in ("", "plain arrays", "Arrow IPC, pyarrow"):
        table.add_column(name, justify="left" if not name else "right")
    with tempfile.TemporaryDirectory() as folder, machine.pinned(options.threads):
        data = fields(rows)
        paths = plain(data, rows, Path(folder, "plain")), arrow(data, rows, Path(folder, "arrow"))
        table.add_row("MB on disk", *(f"{path.stat().st_size / 1e6:.1f}" for path in paths))
        opened = [
            cost_of(f"x = c.open_{kind}(Path({str(path)!r}){more})")
            for kind, path, more in (("plain", paths[0], f", {rows}"), ("arrow", paths[1], ""))
        ]
        table.add_row("first opening in a process, ms", *(f"{ms:.1f}" for ms, _ in opened))
        table.add_row("and resident memory, MiB", *(f"{size:.1f}" for _, size in opened))
        mine, theirs = plain_evaluations(paths[0], rows), arrow_evaluations(paths[1])
        for name in mine:
            assert mine[name]() == theirs[name](), name
            times = microseconds([mine[name], theirs[name]], options.rounds)
            table.add_row(f"{name}, ms", *(f"{one / 1e3:.2f}" for one in times))
    output.console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
