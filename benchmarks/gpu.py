"""Searches and encoding on a GPU: time, bytes and products by size, beside what docs/gpu-roofline.md predicts.

    python -m benchmarks.gpu --rows 100000000 --json results/gpu.json

Codes are random bits, so answers mean nothing and times do not depend on data but by the number of candidates. The
device's own ceilings come first, by torch where it is installed with CUDA: a copy of 4 GiB, and products of int8 and
of float32 matrices; each row then has its shares of them. benchmarks.gpu_peers has other libraries beside it. Ends with
status 3 and "no CUDA device" where there is none.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from bebr import device
from bebr.index.kmeans import assigning_on
from benchmarks import machine, output

NO_DEVICE = 3
_ADDED = 1 << 20  # rows at a time
_SIZES = {52: 256, 100: 320, 196: 384}  # bytes of a vector: its dimensions


@dataclass(frozen=True)
class Row:
    """One search, or vectors encoded, assigned to lists or built into a file: milliseconds a batch (median), what it
    reads and multiplies, as rates a second. Of lists, products as if with all of them. of_copies, of_products: these
    rates as shares of the device's ceilings, None where these were not measured; products are of int8 in a search, else
    of float32."""

    kind: str
    rows: int
    bytes_per_vector: float
    queries: int
    milliseconds: float
    gigabytes_per_second: float
    tera_products_per_second: float
    of_copies: float | None = None
    of_products: float | None = None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10_000_000)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 8, 32, 64, 1024])
    parser.add_argument("--bytes", type=int, nargs="+", default=list(_SIZES), choices=list(_SIZES))
    parser.add_argument("--nlist", type=int, default=4096)
    parser.add_argument("--nprobe", type=int, default=32)
    parser.add_argument("--vectors", type=int, default=1 << 17, help="encoded, and assigned to lists")
    parser.add_argument(
        "--lists", type=int, nargs="+", default=[1024, 4096, 65536], help="that vectors are assigned to"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    if isinstance(why := device.found(args.device.split(":")[0]), str):
        print(f"no CUDA device: {why}", file=sys.stderr)
        return NO_DEVICE
    console = output.console()
    ceilings = measured_ceilings() if args.device.startswith("cuda") else {}
    console.print(f"{why[0]}; ceilings: {ceilings or 'not measured, for torch has no CUDA here'}")
    rows: list[Row] = []
    for size in args.bytes:
        rows += [*searched(args, size), *encoded(args, size)]
    rows += [assigned(args, lists) for lists in args.lists]
    rows.append(built(args))
    rows = [shared(row, ceilings) for row in rows]
    table = Table(*(name.replace("_", " ") for name in Row.__dataclass_fields__))
    for row in rows:
        table.add_row(*map(cell, asdict(row).values()))
    console.print(table)
    if args.json:
        output.save(args.json, machine.facts(1), [asdict(row) for row in rows], devices=why, ceilings=ceilings)
    return 0


def cell(value: object) -> str:
    """Of a table."""
    if value is None:
        return "–"
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


def searched(args: argparse.Namespace, size: int) -> list[Row]:
    """Flat and IVF searches of codes of one size."""
    dim, rng = _SIZES[size], np.random.default_rng(0)
    bz = bebr.untrained(dim, bytes_per_vector=size)
    flat = bebr.FlatIndex(bz)
    lists = bebr.IVFIndex(bz, nlist=args.nlist)
    lists.train(rng.standard_normal((args.nlist, dim), dtype=np.float32))
    sample = bz.encode(rng.standard_normal((min(_ADDED, args.rows), dim), dtype=np.float32))
    for first in range(0, args.rows, _ADDED):
        part = sample[: min(_ADDED, args.rows - first)]
        ids = np.arange(first, first + len(part))
        flat.add_codes(part, ids)
        lists.add_codes(part, ids)
    found = []
    for queries in args.queries:
        q = rng.standard_normal((queries, dim), dtype=np.float32)
        kinds: list[tuple[str, float, Callable[[], Any]]] = [("flat", 1.0, partial(flat.search, q, 10))]
        share = args.nprobe / args.nlist  # of rows that a query looks at
        kinds.append(("ivf", share, partial(lists.search, q, 10, nprobe=args.nprobe)))
        for kind, share, search in kinds:
            (flat if kind == "flat" else lists).to(args.device)
            seconds = timed(search, args.rounds)
            read = args.rows * bz.bytes_per_vector * min(1.0, share * queries)
            products = args.rows * share * queries * dim
            found.append(
                Row(
                    kind,
                    args.rows,
                    bz.bytes_per_vector,
                    queries,
                    seconds * 1e3,
                    read / seconds / 1e9,
                    products / seconds / 1e12,
                )
            )
            (flat if kind == "flat" else lists).to("cpu")  # one of them at a time takes the device's memory
    return found


def encoded(args: argparse.Namespace, size: int) -> list[Row]:
    """Vectors of the host, and where torch has CUDA of the device, to codes of one size, descent and factors
    included: how many coordinates move depends on the data, here normal with a falling spectrum."""
    dim = _SIZES[size]
    x = np.random.default_rng(0).standard_normal((args.vectors, dim), dtype=np.float32)
    x /= np.sqrt(np.arange(1, dim + 1, dtype=np.float32))
    bz = bebr.train(x[:8192], bytes_per_vector=size)
    there = bz.to(args.device)
    sources: dict[str, Any] = {"encode from the host": x}
    if args.device.startswith("cuda") and (torch := torch_with_cuda()) is not None:
        sources["encode on the device"] = torch.from_numpy(x).to(args.device)
    found = []
    for kind, source in sources.items():
        seconds = timed(partial(there.encode, source), args.rounds)
        rates = x.nbytes / seconds / 1e9, x.size * bz.dims / seconds / 1e12
        found.append(Row(kind, len(x), bz.bytes_per_vector, len(x), seconds * 1e3, *rates))
    return found


def assigned(args: argparse.Namespace, lists: int) -> Row:
    """Vectors of 384 dimensions to the nearest of so many lists: of more than 4,096 in two levels."""
    dim, rng = _SIZES[196], np.random.default_rng(0)
    x = rng.standard_normal((args.vectors, dim), dtype=np.float32)
    assign = assigning_on(args.device, rng.standard_normal((lists, dim), dtype=np.float32))
    seconds = timed(partial(assign, x), args.rounds)
    return Row(
        f"assign to {lists:,}",
        len(x),
        4 * dim,
        len(x),
        seconds * 1e3,
        x.nbytes / seconds / 1e9,
        x.size * lists / seconds / 1e12,
    )


def built(args: argparse.Namespace) -> Row:
    """Vectors in memory, to the file of an IVF of codes of the last size: all passes of a build."""
    size = args.bytes[-1]
    x = np.random.default_rng(0).standard_normal((args.vectors, _SIZES[size]), dtype=np.float32)
    bz = bebr.untrained(_SIZES[size], bytes_per_vector=size)
    with tempfile.TemporaryDirectory() as folder:
        options = {"binarizer": bz, "nlist": args.nlist, "device": args.device, "overwrite": True}
        seconds = timed(partial(bebr.build, x, Path(folder, "x.bebr"), **options), args.rounds)
    products = x.size * (bz.dims + args.nlist)
    return Row("build", len(x), size, len(x), seconds * 1e3, x.nbytes / seconds / 1e9, products / seconds / 1e12)


def shared(row: Row, ceilings: dict[str, float]) -> Row:
    """With its shares of the ceilings, where these were measured."""
    if not ceilings:
        return row
    most = ceilings["int8_tera_products" if row.kind in ("flat", "ivf") else "float32_tera_products"]
    return replace(
        row,
        of_copies=row.gigabytes_per_second / ceilings["copied_gigabytes_per_second"],
        of_products=row.tera_products_per_second / most,
    )


def torch_with_cuda() -> Any:
    """torch, where it is installed and sees a device."""
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def timed(search: Callable[[], Any], rounds: int) -> float:
    """Seconds of the median of `rounds` calls after one that is not timed."""
    search()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        search()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measured_ceilings() -> dict[str, float]:
    """Bytes a second that a copy reads and writes, and products a second of matrices of int8 and of float32; empty
    without torch."""
    torch = torch_with_cuda()
    if torch is None:
        return {}

    def synchronised(work: Callable[[], Any]) -> Callable[[], None]:
        def call() -> None:
            work()
            torch.cuda.synchronize()

        return call

    source = torch.zeros(4 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copied = timed(synchronised(lambda: target.copy_(source)), 7)
    side = 8192
    factor = torch.ones((side, side), dtype=torch.int8, device="cuda")
    multiplied = timed(synchronised(lambda: torch._int_mm(factor, factor)), 7)  # noqa: SLF001  no public name
    torch.backends.cuda.matmul.allow_tf32 = False
    factor = torch.ones((side, side), device="cuda")
    in_floats = timed(synchronised(lambda: factor @ factor), 7)
    return {
        "copied_gigabytes_per_second": 2 * source.nbytes / copied / 1e9,
        "int8_tera_products": side**3 / multiplied / 1e12,
        "float32_tera_products": side**3 / in_floats / 1e12,
    }


if __name__ == "__main__":
    sys.exit(main())
