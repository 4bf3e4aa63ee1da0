"""One side of ``benchmarks.before_after``: times cases in an interpreter of its own, with whatever bebr that imports.

It needs numpy and bebr only, since the other side's checkout may hold other benchmarks or none. A line on standard
input names a case; a line on standard output answers with seconds and a digest of what came out. Kernels are timed by
the checkout's program build/bench/bebr_bench, which ``python -m benchmarks.kernels`` makes, or by an older extension
itself; without either they are left out.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import bebr
import bebr._core as core

# Queries of a batch, unless another number is asked for; calls of one query; rows that are encoded.
BATCH, SINGLES, ENCODED = 128, 16, 2000
SHARES = (0.5, 0.1, 0.01)
NLIST = 256
# Least seconds of one timing: short calls are repeated within it.
LEAST = 0.1
# Of the best ten of a scan, how many an approximate search that chooses its own nprobe finds at least.
FOUND = (0.95, 0.98)
# What bebr called an option before 0.1.0 was out.
FORMER = {"nprobe": "probes", "nlist": "lists", "ef_search": "ef", "max_degree": "neighbors", "optimize": "refine"}


def named(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """The options under the names that this bebr's ``function`` has for them; a graph's links were counted by pairs."""
    known = inspect.signature(function).parameters
    if "max_degree" in options and "max_degree" not in known:
        options["max_degree"] //= 2
    return {key if key in known else FORMER[key]: value for key, value in options.items()}


def kernels() -> Iterator[tuple[str, Callable[[], Any]]]:
    """The engine's kernels on the best instruction set of this machine, in cache and from memory."""
    inside: Callable[..., list[float]] | None = getattr(core, "kernel_bench", None)
    program = Path(bebr.__file__).resolve().parents[1] / "build" / "bench" / "bebr_bench"
    if inside is None and not program.exists():
        return
    isa, dims = core.isa(), 384
    sign = dims // 8
    chosen = [("scan_table", 1, 1), ("scan_table", 1, 8), ("scan_batch", 1, 256), ("complete", 4, 1)]
    for where, size, repeats in (("cache", 512 << 10, 300), ("memory", 128 << 20, 3)):
        for kernel, planes, queries in chosen:
            if where == "memory" and kernel == "scan_batch":
                continue  # it is far from reading's bound
            rows = size // (planes * sign) // 64 * 64

            def run(*about: Any) -> Any:
                arguments = (isa, *about)
                if inside is not None:
                    return inside(*arguments)
                passes = subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE, check=True)
                return [float(line) for line in passes.stdout.split()]

            about = kernel, dims, planes, rows, queries, repeats
            yield f"kernel {kernel} {planes} x {queries}, {where}", functools.partial(run, *about)


def encoding(model: bebr.Binarizer, x: Any, size: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield f"encode {size}", lambda: model.encode(x)
    yield f"encode {size} by rounding", lambda: model.encode(x, **named(model.encode, optimize=False))
    yield f"prepare {size} ADC", lambda: model.prepare(x)
    yield f"prepare {size} SDC", lambda: model.prepare(x, "code")


def searching(
    name: str, index: Callable[[], Any], queries: Any, **options: Any
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """All queries in one call, and some one by one; the index is opened by the first of them."""

    @functools.cache
    def search() -> Callable[..., Any]:
        found = index().search
        return functools.partial(found, **named(found, **options))

    yield from timings(name, search, queries)


def timings(
    name: str, search: Callable[[], Callable[..., Any]], queries: Any
) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield f"{name} batch", lambda: search()(queries, 10)
    yield f"{name} single", lambda: [search()(one[None], 10) for one in queries[:SINGLES]]


def finding(
    part: float, scan: Callable[[], Any], ivf: Callable[[], Any], queries: Any, allow: Any
) -> Callable[..., Any]:
    """Search with the least nprobe, to an eighth, that finds ``part`` of the best ten of a scan."""
    best = scan().search(queries, 10, allow=allow).ids
    nprobe = 1
    while True:
        options = named(ivf().search, nprobe=nprobe, allow=allow)
        found = ivf().search(queries, 10, **options).ids
        recall = np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(found, best, strict=True)])
        if recall >= part or nprobe >= NLIST:
            return functools.partial(ivf().search, **options)
        nprobe += max(1, nprobe // 8)


def opened(path: Path, kind: Any, model: bebr.Binarizer, base: Any, **options: Any) -> Any:
    """The index in that file, which the side before makes: both search the same one, at the same place in memory, for
    where pages of codes lie decides up to 1.4 times of a batch's time."""
    if not path.exists():
        index = kind(model, **named(kind, **options))
        index.add(base)
        index.save(path)
    return bebr.open_index(path)


def cases(folder: Path, batch: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and call of everything that is timed."""
    yield from kernels()
    base, queries = np.load(folder / "base.npy"), np.load(folder / "queries.npy")[:batch]
    sizes = sorted(int(path.stem) for path in folder.glob("*.safetensors"))
    models = {size: bebr.Binarizer.load(folder / f"{size}.safetensors") for size in sizes}

    @functools.cache
    def index(kind: str, size: int) -> Any:
        graph: Any = getattr(bebr, "GraphIndex", None) or bebr.HNSWIndex
        kinds: dict[str, tuple[Any, dict[str, int]]] = {
            "flat": (bebr.FlatIndex, {}),
            "ivf": (bebr.IVFIndex, {"nlist": NLIST}),
            "graph": (graph, {"max_degree": 32}),
        }
        made, options = kinds[kind]
        return opened(folder / f"{kind}{size}", made, models[size], base, **options)

    for size, model in models.items():
        yield from encoding(model, base[:ENCODED], size)
        for query in ("float", "code"):
            name = f"flat {size} {'ADC' if query == 'float' else 'SDC'}"
            yield from searching(name, functools.partial(index, "flat", size), queries, query=query)
    size = sizes[len(sizes) // 2]
    flat, ivf, graph = (functools.partial(index, kind, size) for kind in ("flat", "ivf", "graph"))
    for nprobe in (8, 32):
        yield from searching(f"IVF{NLIST} {size} nprobe {nprobe}", ivf, queries, nprobe=nprobe)
    yield from searching(f"graph {size} ef 64", graph, queries, ef_search=64)
    order = np.random.default_rng(0).permutation(len(base))
    for share in SHARES:
        allow = np.sort(order[: round(share * len(base))])
        for name, found, options in (
            ("flat", flat, {}),
            (f"IVF{NLIST}", ivf, {"nprobe": 32}),
            ("graph", graph, {"ef_search": 64}),
        ):
            yield from searching(f"{name} {size}, {share:.0%} allowed", found, queries, allow=allow, **options)
        # With a filter, builds look at different numbers of lists for one nprobe: here each takes what finds as much.
        for part in FOUND:
            search = functools.cache(functools.partial(finding, part, flat, ivf, queries, allow))
            yield from timings(f"IVF{NLIST} {size}, {share:.0%} allowed, {part:.0%} of a scan", search, queries)


def arrays(result: Any) -> Iterator[Any]:
    """The arrays that a call gave, with floats as they are: hits, codes and prepared queries alike."""
    if isinstance(result, np.ndarray):
        yield result
    elif isinstance(result, list | tuple):
        for one in result:
            yield from arrays(one)
    elif hasattr(result, "planes") and hasattr(result, "factors"):
        yield from arrays([result.planes, result.factors])


def digest(name: str, call: Callable[[], Any]) -> str:
    """SHA-256 over what came out; of nothing for kernels, which give times, and where a side chose its nprobe."""
    taken = hashlib.sha256()
    if not name.startswith("kernel") and "of a scan" not in name:
        for array in arrays(call()):
            taken.update(np.ascontiguousarray(array).tobytes())
    return taken.hexdigest()


def timed(name: str, call: Callable[[], Any]) -> float:
    """Seconds of the fastest call: on a shared machine, what others do only adds."""
    if name.startswith("kernel"):
        return float(min(call()))
    best, end = float("inf"), time.perf_counter() + LEAST
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            return best


def main(folder: Path, pattern: str, batch: int = BATCH) -> None:
    bebr.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # both sides on one processor: what disturbs another one disturbs neither
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    known = {name: call for name, call in cases(folder, batch) if pattern in name}
    taken = {name: digest(name, call) for name, call in known.items()}
    print(json.dumps(taken), flush=True)
    for line in sys.stdin:
        name = line.rstrip("\n")
        print(json.dumps(timed(name, known[name])), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
