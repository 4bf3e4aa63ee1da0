"""IVF over codes at 10^7, 10^8 and 10^9 vectors on one small machine: cost of building, opening and searching.

    python -m benchmarks.billion --rows 1e7,1e8 --folder /data/billion --json results/billion.json

Vectors come from a mixture fitted to real embeddings (benchmarks/mixture.py), block by block; no float is stored. The
exact answers of the queries are found by float32 products while the rows pass by. A size that was interrupted goes on
where it was; one that is finished is read from its JSON (``--fresh`` measures its searches again).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import bebr
from bebr.exact import hits
from benchmarks import machine, output
from benchmarks.memory import status
from benchmarks.mixture import Floats, Ids, Mixture

K = 10
QUERIES = 200
PROBES = (16, 32, 64, 128, 256, 512, 1024)
_TRUTH_BATCH = 1 << 14


class Truth:
    """The exact top ten of each query among rows 0 to ``done`` so far, kept in a file every ``keep`` rows."""

    def __init__(self, queries: Floats, path: Path, keep: int) -> None:
        self._queries, self._path, self._keep = queries, path, keep
        self.done = 0
        self.scores = np.full((len(queries), K), -np.inf, np.float32)
        self.ids = np.full((len(queries), K), -1, np.int64)
        if path.exists():
            with np.load(path) as kept:
                self.done, self.scores, self.ids = int(kept["done"]), kept["scores"], kept["ids"]
        self._kept = self.done

    def look(self, first: int, block: Floats) -> None:
        """Take in rows from ``first`` on: what was seen already is passed over, what lies past a gap is not looked
        at."""
        if not first <= self.done < first + len(block):
            return
        for at in range(self.done - first, len(block), _TRUTH_BATCH):
            part = block[at : at + _TRUTH_BATCH]
            products = part @ self._queries.T
            rows, queries = np.nonzero(products > self.scores[:, -1])  # few, once ten good ones are known
            for q in np.unique(queries).tolist():
                mine = rows[queries == q]
                scores = np.concatenate([self.scores[q], products[mine, q]])
                ids = np.concatenate([self.ids[q], first + at + mine])
                best = np.argsort(-scores, kind="stable")[:K]
                self.scores[q], self.ids[q] = scores[best], ids[best]
        self.done = first + len(block)
        if self.done - self._kept >= self._keep:
            self.save()

    def save(self) -> None:
        partial = self._path.with_suffix(".part.npz")
        np.savez(partial, done=self.done, scores=self.scores, ids=self.ids)
        partial.replace(self._path)
        self._kept = self.done


def watched(mixture: Mixture, truth: Truth, rows: int) -> Any:
    """The source of a build: blocks from a row on, looked at by ``truth`` on their way."""

    def blocks(start: int) -> Iterator[Floats]:
        row = start
        for block in mixture.blocks(start):
            block = block[: rows - row]
            truth.look(row, block)
            yield block
            row += len(block)
            if row >= rows:
                return

    return blocks


class Clock:
    """Progress of a build on the terminal, and the seconds of its stages."""

    def __init__(self, bar: Progress, rows: int) -> None:
        self._bar, self._task = bar, bar.add_task("build", total=None)
        self._last, self._stage = time.perf_counter(), "train"
        self.seconds = {"train": 0.0, "encode": 0.0, "merge": 0.0}
        self.encoded = 0  # rows of this run; fewer than all where it went on from another
        self._from: int | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.perf_counter()
        self.seconds[self._stage] += now - self._last  # told at a stage's beginning, or after a part of it
        self._last, self._stage = now, {"encoding": "encode", "merging": "merge"}.get(stage, "train")
        if stage == "encoding":
            self._from = done if self._from is None else self._from
            self.encoded = done - self._from
        self._bar.update(self._task, description=stage, completed=done, total=total)

    def end(self) -> None:
        self.seconds[self._stage] += time.perf_counter() - self._last
        self._bar.remove_task(self._task)


def lists_for(rows: int) -> int:
    """Lists of a size: about 1,500 rows each up to 10^8, then more rows, for centroids are searched too."""
    return min(1 << 17, max(64, 1 << round(math.log2(max(rows / 1500, 4 * math.sqrt(rows) / 8)))))


def run(rows: int, options: argparse.Namespace, mixture: Mixture, bar: Progress) -> dict[str, Any]:
    """Build (or find) the index of ``rows`` vectors and measure it."""
    folder: Path = options.folder
    path, figures = folder / f"{rows}.bebr", folder / f"{rows}.json"
    kept: dict[str, Any] = json.loads(figures.read_text()) if figures.exists() else {}
    if "search" in kept and not options.fresh:
        return kept
    queries = mixture.queries(QUERIES)
    truth = Truth(queries, folder / f"{rows}-truth.npz", max(1, min(1 << 20, rows // 8)))
    if not path.exists():
        kept = _build(rows, options, mixture, truth, path, bar)
        figures.write_text(json.dumps(kept, indent=1))
    if truth.done < rows:  # a build that went on without it
        task = bar.add_task("exact answers", total=rows, completed=truth.done)
        for block in watched(mixture, truth, rows)(truth.done):
            bar.advance(task, len(block))
        bar.remove_task(task)
    truth.save()
    kept |= _search(path, queries, truth.ids, mixture, options)
    figures.write_text(json.dumps(kept, indent=1))
    if options.remove:
        path.unlink()
    return kept


def _build(
    rows: int, options: argparse.Namespace, mixture: Mixture, truth: Truth, path: Path, bar: Progress
) -> dict[str, Any]:
    resumed = path.with_name(path.name + ".build").exists()
    clock = Clock(bar, rows)
    _forget_peak()
    began, cpu = time.perf_counter(), time.process_time()
    index = bebr.build(
        watched(mixture, truth, rows),
        path,
        rows=rows,
        nlist=options.nlist or lists_for(rows),
        bytes_per_vector=options.bytes,
        memory=options.memory,
        optimize=options.optimize,
        rescore=options.keep,
        seed=mixture.seed,
        progress=clock,
    )
    clock.end()
    return {
        "rows": rows,
        "dim": mixture.dim,
        "nlist": index.nlist,
        "widths": list(index.binarizer.widths),
        "bytes_per_vector": index.binarizer.bytes_per_vector,
        "optimize": options.optimize,
        "keep": options.keep,
        "seconds": clock.seconds,
        "build_seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "resumed": resumed,
        "encoded_here": clock.encoded,
        "peak_bytes": _peak(),
        "disk_bytes": path.stat().st_size,
        "largest_list": max(index.list_sizes) * index.nlist / rows,
    }


def _search(path: Path, queries: Floats, truth: Ids, mixture: Mixture, options: argparse.Namespace) -> dict[str, Any]:
    _drop_from_cache(path)
    start = time.perf_counter()
    index = bebr.open_index(path)
    opened = time.perf_counter()
    assert isinstance(index, bebr.IVFIndex)
    found: list[dict[str, Any]] = []
    depths: list[Ids] = []
    with machine.pinned(1):
        for nprobe in [p for p in PROBES if p <= index.nlist]:
            row = {"nprobe": nprobe} | _measured(index, queries, truth, nprobe)
            if options.keep:
                row["rescored"] = options.rescore
                row |= _measured(index, queries, truth, nprobe, options.rescore, "rescored_")
            elif options.rescore:
                depths.append(index.search(queries, options.rescore, nprobe=nprobe).ids)
            found.append(row)
    if depths:
        for row, ids in zip(found, rescored(mixture, queries, depths), strict=True):
            row["rescored"] = options.rescore
            row["rescored_recall"] = _recall(ids, truth)
    return {"open_seconds": opened - start, "search": found}


def _measured(
    index: bebr.IVFIndex, queries: Floats, truth: Ids, nprobe: int, rescore: int = 0, prefix: str = ""
) -> dict[str, float]:
    """Times and recall, by codes alone or with exact scores of the ``rescore`` best from the index's file. First: pages
    come from disk, as far as no search before has read them."""
    first = _latencies(index, queries, nprobe, rescore)[0]
    seconds, ids = _latencies(index, queries, nprobe, rescore)
    figures = {
        "p50_ms": 1e3 * float(np.median(seconds)),
        "p99_ms": 1e3 * float(np.percentile(seconds, 99)),
        "first_p50_ms": 1e3 * float(np.median(first)),
        "recall": _recall(ids, truth),
    }
    return {prefix + name: value for name, value in figures.items()}


def _latencies(index: bebr.IVFIndex, queries: Floats, nprobe: int, rescore: int) -> tuple[list[float], Ids]:
    seconds, ids = [], []
    for q in range(len(queries)):
        start = time.perf_counter()
        ids.append(index.search(queries[q : q + 1], K, nprobe=nprobe, rescore=rescore).ids[0])
        seconds.append(time.perf_counter() - start)
    return seconds, np.stack(ids)


def rescored(mixture: Mixture, queries: Floats, depths: Sequence[Ids]) -> list[Ids]:
    """Of each search's candidates int64 [q, r], the ten best of each query by their own vectors, made again in one
    pass."""
    every = np.unique(np.concatenate([depth.ravel() for depth in depths]))
    wanted = every[every >= 0]
    vectors = mixture.rows(wanted)
    found = []
    for depth in depths:
        answers = np.full((len(queries), K), -1, np.int64)
        for q, ids in enumerate(depth):
            there = ids[ids >= 0]
            scores = vectors[np.searchsorted(wanted, there)] @ queries[q]
            best = there[np.argsort(-scores, kind="stable")[:K]]
            answers[q, : len(best)] = best
        found.append(answers)
    return found


def _recall(found: Ids, truth: Ids) -> float:
    return float(hits(found, truth).mean())


def _drop_from_cache(path: Path) -> None:
    """Ask the system to forget the file's pages, so that opening it reads from disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _forget_peak() -> None:
    with contextlib.suppress(OSError):  # not Linux, or not allowed: the peak is then that of the whole process
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int | None:
    try:
        return status("VmHWM")
    except OSError:
        return None


def _tables(results: Sequence[dict[str, Any]]) -> list[Table]:
    build = Table(title="build")
    for column in (
        "rows", "nlist", "B/vector", "disk B/vector", "train s", "encode s", "merge s", "rows/s", "peak GB", "open s",
        "largest list",
    ):  # fmt: skip
        build.add_column(column, justify="right")
    search = Table(title=f"search, one thread, {QUERIES} queries")
    for column in ("rows", "nprobe", "p50 ms", "p99 ms", "first p50 ms", f"recall@{K}", "rescored", "p50, p99 ms"):
        search.add_column(column, justify="right")
    for r in results:
        s = r["seconds"]
        build.add_row(
            f"{r['rows']:,}",
            f"{r['nlist']:,}",
            str(r["bytes_per_vector"]),
            f"{r['disk_bytes'] / r['rows']:.1f}",
            *(f"{s[stage]:.0f}" for stage in ("train", "encode", "merge")),
            f"{r['encoded_here'] / s['encode']:,.0f}" if s["encode"] else "",
            "" if r["peak_bytes"] is None else f"{r['peak_bytes'] / 1e9:.2f}",
            f"{r['open_seconds']:.2f}",
            f"{r['largest_list']:.1f} x",
        )
        for row in r["search"]:
            search.add_row(
                f"{r['rows']:,}",
                str(row["nprobe"]),
                *(f"{row[name]:.2f}" for name in ("p50_ms", "p99_ms", "first_p50_ms")),
                f"{row['recall']:.4f}",
                f"{row['rescored_recall']:.4f} of {row['rescored']}" if "rescored" in row else "",
                f"{row['rescored_p50_ms']:.2f}, {row['rescored_p99_ms']:.2f}" if "rescored_p50_ms" in row else "",
            )
    return [build, search]


def _rows(text: str) -> list[int]:
    return [int(float(part)) for part in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.billion``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.billion", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=_rows, default=[10**7, 10**8, 10**9], help="sizes, as 1e7,1e8")
    parser.add_argument("--folder", type=Path, required=True, help="indexes, exact answers, figures: 70 bytes a vector")
    parser.add_argument("--dim", type=int, default=128, help="principal components that vectors have")
    parser.add_argument("--bytes", type=int, default=24, help="bytes a vector, factor included")
    parser.add_argument("--nlist", type=int, help="number of lists; by size when left out")
    parser.add_argument("--memory", default="4GiB")
    parser.add_argument("--no-optimize", dest="optimize", action="store_false", help="codes without descent")
    parser.add_argument(
        "--rescore", type=int, help="also recall when so many candidates are rescored by their vectors, made again"
    )
    parser.add_argument("--keep", choices=["float16", "int8"], help="keep vectors in the index, and rescore from there")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="measure searches again")
    parser.add_argument("--remove", action="store_true", help="delete each index when it is measured")
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    if options.keep and not options.rescore:
        parser.error("--keep: give --rescore, how many candidates are scored by the vectors")
    options.folder.mkdir(parents=True, exist_ok=True)
    mixture = Mixture.fitted(options.dim, options.folder / f"mixture-{options.dim}.npz", options.seed)
    console = output.console()
    results = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        for rows in options.rows:
            results.append(run(rows, options, mixture, bar))
    for table in _tables(results):
        console.print(table)
    if options.json:
        output.save(options.json, machine.facts(1), results, queries=QUERIES, k=K)
    return 0


if __name__ == "__main__":
    sys.exit(main())
