"""Kernels alone, per ISA and layout: vectors/s and pairs/s, in cache and from memory, beside faiss and a plain read.

    python -m benchmarks.kernels --json results/kernels.json

Times come from a program of the engine's own kernels and the paper's two (csrc/bench), which is built first, in
build/bench; one thread, buffers already touched. "read" sums the same number of bytes and is the machine's own bound:
each kernel's share of it is against the "read" runs before and after that kernel.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress
from rich.table import Table

import bebr
from bebr import _core
from benchmarks import machine, output

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[1]
_TOOLS = ("cmake", "ninja")


@dataclass(frozen=True)
class Case:
    """One kernel at one size. ``row_bytes`` is what it reads of each row: the sign plane or the whole code."""

    kernel: str
    layout: str
    planes: int
    queries: int
    row_bytes: int


@dataclass(frozen=True)
class Row:
    """Medians: rows a second over one pass, row-query pairs a second, bytes a second; ``share`` of "read", or None."""

    engine: str
    kernel: str
    layout: str
    where: str
    dims: int
    planes: int
    rows: int
    queries: int
    vectors_per_second: float
    pairs_per_second: float
    bytes_per_second: float
    share: float | None


def cases(dims: int) -> Iterator[Case]:
    """What is measured for every ISA: four kernels of the engine and the paper's two."""
    sign = dims // 8
    for queries in (1, 4, 8):
        yield Case("scan_table", "scan", 1, queries, sign)
    for queries in (64, 256):
        yield Case("scan_batch", "scan", 1, queries, sign)
    yield Case("complete", "scan", 4, 1, 4 * sign)
    yield Case("dot_bits16", "graph", 4, 1, 4 * sign)
    for planes in (2, 4):
        yield Case("lut_sdc", "paper", planes, 1, planes * sign)
        yield Case("popcount_sdc", "rows", planes, 1, planes * sign)


@cache
def built(name: str, *, arm: bool = False) -> Path:
    """A program of CMakeLists.txt, for this machine or by the cross compiler for ARM, built where it is not there or
    not new. ``RuntimeError``: it cannot be built."""
    build = ROOT / "build" / ("bench-arm" if arm else "bench")
    tools = {name: shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name) for name in _TOOLS}
    if missing := [name for name, found in tools.items() if found is None]:
        raise RuntimeError(f"{' and '.join(missing)} not found: pip install -e '.[dev]'")
    cmake = str(tools["cmake"])
    options = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}", "-DBEBR_PYTHON=OFF", "-DBEBR_BENCH=ON"]
    if arm:
        options.append(f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'cmake' / 'aarch64-linux-gnu.cmake'}")
    for command in (
        [cmake, "-S", str(ROOT), "-B", str(build), *options],
        [cmake, "--build", str(build), "--target", name],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}")
    return build / name


def seconds_of(isa: str, kernel: str, dims: int, planes: int, rows: int, queries: int, repeats: int) -> list[float]:
    """Seconds of each of ``repeats`` passes (csrc/bench/time_kernel.h)."""
    command = [str(built("bebr_bench")), isa, kernel, *map(str, (dims, planes, rows, queries, repeats))]
    return [float(line) for line in subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.split()]


def measure(isa: str, case: Case, where: str, dims: int, size: int, repeats: int) -> Row:
    """Run one case over ``size`` bytes of codes; the share of the bandwidth only where the data is out of cache."""
    rows = max(1024, size // case.row_bytes // 64 * 64)
    in_memory = where == "memory"
    before = _read(isa, case, rows, dims, repeats) if in_memory else 0.0
    seconds = _median(isa, case.kernel, dims, case.planes, rows, case.queries, repeats)
    after = _read(isa, case, rows, dims, repeats) if in_memory else 0.0
    speed = rows * case.row_bytes / seconds
    return Row(
        engine=f"bebr {isa}",
        kernel=case.kernel,
        layout=case.layout,
        where=where,
        dims=dims,
        planes=case.planes,
        rows=rows,
        queries=case.queries,
        vectors_per_second=rows / seconds,
        pairs_per_second=rows * case.queries / seconds,
        bytes_per_second=speed,
        share=speed * 2 / (before + after) if in_memory else None,
    )


def _median(isa: str, kernel: str, dims: int, planes: int, rows: int, queries: int, repeats: int) -> float:
    return float(np.median(seconds_of(isa, kernel, dims, planes, rows, queries, repeats)))


def _read(isa: str, case: Case, rows: int, dims: int, repeats: int) -> float:
    """Bytes a second of a plain read of as many bytes as the case reads."""
    return rows * case.row_bytes / _median(isa, "read", dims, case.planes, rows, 1, repeats)


def faiss_rows(dims: int, where: str, size: int, repeats: int) -> Iterator[Row]:
    """PQ and RaBitQ fast scan and binary flat over random rows of one bit a dimension, through their search for 10."""
    import faiss

    faiss.omp_set_num_threads(1)
    generator = np.random.default_rng(0)
    rows = size // (dims // 8) // 64 * 64
    binary = faiss.IndexBinaryFlat(dims)
    binary.add(generator.integers(0, 256, (rows, dims // 8), dtype=np.uint8))
    engines: list[tuple[str, Any]] = [("BinaryFlat", binary)]
    sample = generator.standard_normal((4096, dims), dtype=np.float32)
    for factory in (f"PQ{dims // 4}x4fs", "RaBitQfs1"):
        index = faiss.index_factory(dims, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(sample)
        for start in range(0, rows, 65_536):
            index.add(generator.standard_normal((min(65_536, rows - start), dims), dtype=np.float32))
        engines.append((factory, index))
    for name, index in engines:
        for queries in (1, 8, 64, 256):
            asked: Any = sample[:queries]
            if name == "BinaryFlat":
                asked = np.packbits(asked > 0, axis=1)
            index.search(asked, 10)
            seconds = []
            for _ in range(repeats):
                start_time = time.perf_counter()
                index.search(asked, 10)
                seconds.append(time.perf_counter() - start_time)
            median = float(np.median(seconds))
            yield Row(
                engine=f"faiss {faiss.__version__}",
                kernel=name,
                layout="its own",
                where=where,
                dims=dims,
                planes=1,
                rows=rows,
                queries=queries,
                vectors_per_second=rows / median,
                pairs_per_second=rows * queries / median,
                bytes_per_second=rows * (dims // 8) / median,
                share=None,
            )


def _table(rows: Sequence[Row], dims: int) -> Table:
    table = Table(title=f"{dims} dimensions, one thread")
    for column in (
        "engine",
        "kernel",
        "layout",
        "data in",
        "planes",
        "queries",
        "M vectors/s",
        "M pairs/s",
        "GB/s",
        "of read",
    ):
        table.add_column(column, justify="left" if column in ("engine", "kernel", "layout", "data in") else "right")
    for row in rows:
        table.add_row(
            *(row.engine, row.kernel, row.layout, row.where, str(row.planes), str(row.queries)),
            f"{row.vectors_per_second / 1e6:,.1f}",
            f"{row.pairs_per_second / 1e6:,.1f}",
            f"{row.bytes_per_second / 1e9:.2f}",
            "" if row.share is None else f"{row.share:.0%}",
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.kernels``."""
    runnable = _core.runnable_isas()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__.partition("\n")[0])
    parser.add_argument("--dims", type=int, default=512)
    parser.add_argument("--isa", default=",".join(runnable), help=f"of: {','.join(runnable)}")
    parser.add_argument("--cache-kib", type=int, default=512, help="codes that stay in the second-level cache")
    parser.add_argument("--memory-mib", type=int, default=1024, help="codes that no cache holds; 0 leaves them out")
    parser.add_argument("--faiss-mib", type=int, default=64, help="faiss's out-of-cache codes (it has to encode them)")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    if options.dims % 64:
        parser.error(f"--dims: got {options.dims}, wanted a multiple of 64")
    console = output.console()
    rows: list[Row] = []
    todo = [(isa, case) for isa in options.isa.split(",") for case in cases(options.dims)]
    with Progress(console=console) as bar:
        task = bar.add_task("kernels", total=len(todo))
        for isa, case in todo:
            bar.update(task, description=f"{isa} {case.kernel} x{case.queries}", advance=1)
            rows.append(measure(isa, case, "cache", options.dims, options.cache_kib << 10, options.repeats))
            # The specification is some hundred times slower and compute-bound everywhere.
            if isa != "scalar" and options.memory_mib:
                rows.append(measure(isa, case, "memory", options.dims, options.memory_mib * MIB, options.repeats))
    try:
        rows += faiss_rows(options.dims, "cache", options.cache_kib << 10, options.repeats)
        if options.memory_mib:
            rows += faiss_rows(options.dims, f"{options.faiss_mib} MiB", options.faiss_mib * MIB, options.repeats)
    except ModuleNotFoundError:
        console.print("faiss is not installed (pip install faiss-cpu): its rows are left out")
    console.print(_table(rows, options.dims))
    if options.json:
        output.save(options.json, machine.facts(bebr.get_num_threads()), [asdict(row) for row in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
