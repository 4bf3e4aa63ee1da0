"""The files of the big-ann benchmarks: an index built from one, asked by another, judged by a third.

    python -m benchmarks.big_ann DIR --make 1e7            # a set of our own in their formats: 5.2 GB
    python -m benchmarks.big_ann DIR --bytes 36 --keep int8 --json big-ann.json
    python -m benchmarks.big_ann DIR --base base.1B.u8bin.crop_nb_10000000 --queries query.public.10K.u8bin \\
        --truth GT_10M/bigann-10M --metric l2             # one of theirs, downloaded before

As in that project's tracks: the index is built within ``--memory``, all queries come at once and may use every
processor, and what counts is queries/s where recall@10 is .9; best of three runs. Answers by codes alone, and, with
``--keep``, by exact scores of some candidates, which come from the index's own file. Exit 1 where .9 is not reached.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

import bebr
from bebr.exact import best, recall
from bebr.threads import blas_threads
from bebr.vectors.bigann import DTYPES, BigAnn
from benchmarks import machine, output
from benchmarks.memory import Peak
from benchmarks.mixture import Floats, Mixture

K, LEVEL, RUNS, QUERIES = 10, 0.9, 3, 2000
PROBES = (4, 8, 16, 32, 64, 128, 256)
_BLOCK = 4096  # rows that are scored at once
CANDIDATES = (50, 100, 200, 500)
Ids = npt.NDArray[np.int64]


def written(path: Path, rows: int, dim: int, blocks: Iterator[Floats]) -> Iterator[Floats]:
    """Writes a ``.fbin`` of ``rows`` vectors, which come in blocks float32 [m, dim], and passes them on; the last block
    may hold more than is wanted."""
    with path.open("wb") as file:
        np.array([rows, dim], "<u4").tofile(file)
        while rows:
            block = next(blocks)[:rows]
            block.astype("<f4").tofile(file)
            rows -= len(block)
            yield from np.split(block, range(_BLOCK, len(block), _BLOCK))


def write_truth(path: Path, ids: Ids, scores: Floats) -> None:
    """The project's answers: uint32 queries and k, then uint32 ids [n, k], then float32 scores [n, k]."""
    with path.open("wb") as file:
        np.array(ids.shape, "<u4").tofile(file)
        ids.astype("<u4").tofile(file)
        scores.astype("<f4").tofile(file)


def read_truth(path: Path) -> Ids:
    """Ids int64 [n, k] of such a file. ``ValueError`` where its size is not what it says."""
    n, k = np.fromfile(path, "<u4", count=2).tolist()
    if path.stat().st_size != 8 + 8 * n * k:
        raise ValueError(f"{path}: got {path.stat().st_size} bytes, wanted {8 + 8 * n * k} for {n} queries, k {k}")
    return np.fromfile(path, "<u4", count=n * k, offset=8).reshape(n, k).astype(np.int64)


def make(folder: Path, rows: int, queries: int, mixture: Mixture) -> None:
    """``base.fbin``, ``queries.fbin`` and ``truth.ibin`` of a mixture's rows; scores are inner products."""
    base, asked = folder / "base.fbin", mixture.queries(queries)
    list(written(folder / "queries.fbin", queries, mixture.dim, iter([asked])))
    with blas_threads(_BLOCK * mixture.dim * queries):
        ids = best(written(base, rows, mixture.dim, mixture.blocks(0)), asked, K, "ip")
    scores = np.einsum("qkd,qd->qk", BigAnn(base).mapped(rows)[ids], asked)
    write_truth(folder / "truth.ibin", ids, scores)


def named(folder: Path, name: str) -> Path:
    """The file of that name in the folder, or of that stem with a suffix of the project's."""
    found = [
        path for path in (folder / name, *(folder / f"{name}{end}" for end in (*DTYPES, ".ibin"))) if path.is_file()
    ]
    if not found:
        raise FileNotFoundError(f"{folder}: no {name}, nor {name} with {', '.join(DTYPES)} or .ibin: --make ROWS?")
    return found[0]


def measured(index: bebr.IVFIndex, queries: Floats, truth: Ids, nprobe: int, candidates: int) -> dict[str, Any]:
    """Queries/s of the best run, all queries in one call, and what it finds."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        found = index.search(queries, K, nprobe=nprobe, rescore=candidates).ids
        seconds.append(time.perf_counter() - start)
    return {
        "nprobe": nprobe,
        "candidates": candidates,
        "recall": recall(found, truth[:, :K]),
        "qps": len(queries) / min(seconds),
    }


def table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """All settings that no other beats in both."""
    made = Table(title=title)
    for column in ("nprobe", "candidates", f"recall@{K}", "queries/s"):
        made.add_column(column, justify="right")
    fastest = 0.0
    for row in sorted(rows, key=lambda row: (-row["recall"], -row["qps"])):
        if row["qps"] > fastest:
            fastest = row["qps"]
            made.add_row(str(row["nprobe"]), str(row["candidates"] or "–"), f"{row['recall']:.4f}", f"{fastest:,.0f}")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.big_ann``; 1 where no setting finds .9 of the ten nearest."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.big_ann", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where base, queries and answers lie, and the index is built")
    parser.add_argument("--make", type=float, help="write a set of so many rows there, and end")
    parser.add_argument("--base", default="base", help="name of the file of rows")
    parser.add_argument("--queries", default="queries", help="name of the file of queries")
    parser.add_argument("--truth", default="truth", help="name of the file of answers")
    parser.add_argument("--metric", choices=["cosine", "ip", "l2"], default="cosine")
    parser.add_argument("--bytes", type=int, default=36, help="of a code, factor included")
    parser.add_argument("--keep", choices=["float16", "int8"], help="keep vectors in the index, and rescore from there")
    parser.add_argument("--memory", default="4GiB", help="for the build")
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    if options.make:
        make(folder, int(options.make), QUERIES, Mixture.fitted(128, folder / "mixture-128.npz"))
        return 0
    base = named(folder, options.base)
    asked = BigAnn(named(folder, options.queries))
    queries = np.asarray(asked.mapped(asked.rows), np.float32)
    truth = read_truth(named(folder, options.truth))
    path = folder / f"{base.stem}-{options.bytes}-{options.keep or 'codes'}.bebr"
    build: dict[str, Any] = {}
    if not path.exists():
        start = time.perf_counter()
        with Peak() as peak:
            bebr.build(
                base,
                path,
                bytes_per_vector=options.bytes,
                metric=options.metric,
                rescore=options.keep,
                memory=options.memory,
            )
        build = {"build_seconds": time.perf_counter() - start, "peak_bytes": peak.bytes}
    index = bebr.open_index(path)
    assert isinstance(index, bebr.IVFIndex)
    settings = [(p, c) for p in PROBES if p <= index.nlist for c in (CANDIDATES if options.keep else (0,))]
    rows = [measured(index, queries, truth, *setting) for setting in settings]
    facts = {
        "rows": len(index),
        "nlist": index.nlist,
        "bytes": options.bytes,
        "disk_bytes": path.stat().st_size,
        **build,
    }
    console = output.console()
    console.print(table(rows, ", ".join(f"{value:,.0f} {name.replace('_', ' ')}" for name, value in facts.items())))
    reached = [row["qps"] for row in rows if row["recall"] >= LEVEL]
    console.print(f"recall {LEVEL}: {max(reached):,.0f} queries/s" if reached else f"recall {LEVEL}: not reached")
    if options.json:
        output.save(options.json, machine.facts(bebr.get_num_threads()), rows, index=facts)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
