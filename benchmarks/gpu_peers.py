"""bebr on a GPU beside torch, faiss and cuVS on the same one: queries a second and recall of flat and IVF searches.

    python -m benchmarks.gpu_peers --rows 10000000 --dim 384 --bytes 100

Vectors of unit length from a Gaussian mixture that is made up, the same for all; queries lie on the device and answers
stay there. Recall counts rows of the exact ten nearest. A system that is not installed, or has no GPU here, is named
with the reason. `--device emulated` tries the programs, where torch and faiss run on the CPU: its times mean nothing.
Ends with status 3 and "no CUDA device" where there is none.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

import bebr
from bebr import device
from benchmarks import machine, output
from benchmarks.gpu import NO_DEVICE, cell, timed, torch_with_cuda
from benchmarks.mixture import Mixture

K = 10
_CENTERS, _TRAINED, _BLOCK = 1000, 65_536, 1 << 20
# Parts of a code that faiss's kernels take.
_FAISS_PARTS = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)


@dataclass(frozen=True)
class Case:
    """x, q: float32[n, d]. there: the queries where they are asked. cuda: whether the device is one."""

    x: NDArray[np.float32]
    q: NDArray[np.float32]
    there: Any
    device: str
    size: int
    nlist: int
    nprobes: list[int]

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")


@dataclass(frozen=True)
class Search:
    """call: returns ids [n, k], where the device is."""

    system: str
    setting: str
    bytes_per_vector: float
    call: Callable[[], Any]


@dataclass(frozen=True)
class Row:
    system: str
    setting: str
    bytes_per_vector: float
    queries: int
    milliseconds: float
    queries_per_second: float
    recall: float


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--bytes", type=int, default=100)
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--nlist", type=int, default=4096)
    parser.add_argument("--nprobes", type=int, nargs="+", default=[8, 16, 32, 64, 128])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    if isinstance(why := device.found(args.device.split(":")[0]), str):
        print(f"no CUDA device: {why}", file=sys.stderr)
        return NO_DEVICE
    console = output.console()
    case = made(args)
    nearest = exact(case)
    rows: list[Row] = []
    for system in (ours, torchs, faisss, cuvss):
        try:
            for search in system(case):
                rows.append(measured(search, case, nearest, args.rounds))
        except LookupError as missing:
            console.print(str(missing.args[0]))
    table = Table(*(name.replace("_", " ") for name in Row.__dataclass_fields__))
    for row in rows:
        table.add_row(*map(cell, asdict(row).values()))
    console.print(table)
    if args.json:
        output.save(args.json, machine.facts(1), [asdict(row) for row in rows], devices=why, base=args.rows)
    return 0


def made(args: argparse.Namespace) -> Case:
    spectrum = np.asarray(1 / np.sqrt(np.arange(1, args.dim + 1)), np.float32)
    centers = np.random.default_rng(0).standard_normal((_CENTERS, args.dim), dtype=np.float32) * spectrum
    mixture = Mixture(centers, np.tile(spectrum, (_CENTERS, 1)), np.full(_CENTERS, 1 / _CENTERS))
    x = np.empty((args.rows, args.dim), np.float32)
    filled = 0
    for block in mixture.blocks(0):
        take = min(len(block), args.rows - filled)
        x[filled : filled + take] = block[:take]
        filled += take
        if filled == args.rows:
            break
    q = mixture.queries(args.queries)
    torch = torch_with_cuda() if args.device.startswith("cuda") else None
    there = q if torch is None else torch.from_numpy(q).to(args.device)
    return Case(x, q, there, args.device, args.bytes, args.nlist, args.nprobes)


def exact(case: Case) -> NDArray[np.int64]:
    """The ids of the K nearest rows of each query."""
    scores, ids = np.empty((len(case.q), 0), np.float32), np.empty((len(case.q), 0), np.int64)
    for first in range(0, len(case.x), _BLOCK // 8):
        block = case.q @ case.x[first : first + _BLOCK // 8].T
        best = np.argpartition(-block, min(K, block.shape[1]) - 1, axis=1)[:, :K]
        scores = np.concatenate([scores, np.take_along_axis(block, best, axis=1)], axis=1)
        ids = np.concatenate([ids, best + first], axis=1)
        best = np.argsort(-scores, axis=1)[:, :K]
        scores, ids = np.take_along_axis(scores, best, axis=1), np.take_along_axis(ids, best, axis=1)
    return ids


def measured(search: Search, case: Case, nearest: NDArray[np.int64], rounds: int) -> Row:
    torch = torch_with_cuda() if case.cuda else None

    def call() -> None:
        search.call()
        if torch is not None:
            torch.cuda.synchronize()

    seconds = timed(call, rounds)
    found = on_host(search.call())
    recall = float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, nearest, strict=True)]))
    about = search.system, search.setting, search.bytes_per_vector
    return Row(*about, len(case.q), seconds * 1e3, len(case.q) / seconds, recall)


def on_host(ids: Any) -> NDArray[np.int64]:
    """torch's, cuVS's or bebr's array."""
    for name in ("cpu", "copy_to_host"):
        if hasattr(ids, name):
            ids = getattr(ids, name)()
    return np.asarray(ids).astype(np.int64)


def ours(case: Case) -> Iterator[Search]:
    bz = bebr.train(case.x[:_TRAINED], bytes_per_vector=case.size)
    codes, ids = bz.to(case.device).encode(case.x), np.arange(len(case.x))
    flat = bebr.FlatIndex(bz)
    flat.add_codes(codes, ids)
    flat.to(case.device)
    yield Search("bebr", "flat", bz.bytes_per_vector, partial(found_by, flat, case.there))
    flat.to("cpu")
    lists = bebr.IVFIndex(bz, nlist=case.nlist)
    lists.train(case.x[: 64 * case.nlist])
    lists.add_codes(codes, ids)
    lists.to(case.device)
    for nprobe in case.nprobes:
        call = partial(found_by, lists, case.there, nprobe=nprobe)
        yield Search("bebr", f"IVF, nprobe {nprobe}", bz.bytes_per_vector, call)
    lists.to("cpu")


def found_by(index: Any, q: Any, **options: int) -> Any:
    return index.search(q, K, **options).ids


def second_of(search: Callable[..., Any], *arguments: Any) -> Any:
    """Of libraries whose searches return scores and ids."""
    return search(*arguments)[1]


def torchs(case: Case) -> Iterator[Search]:
    """Products of float16, and the best of each block of rows."""
    if case.cuda and torch_with_cuda() is None:
        raise LookupError("torch: not installed, or sees no device")
    torch: Any = importlib.import_module("torch")
    kind = torch.float16 if case.cuda else torch.float32
    where = case.device if case.cuda else "cpu"
    x, q = (torch.from_numpy(array).to(where, kind) for array in (case.x, case.q))

    def call() -> Any:
        parts = []
        for first in range(0, len(x), _BLOCK):
            block = x[first : first + _BLOCK]
            best = torch.topk(q @ block.T, min(K, len(block)), dim=1)
            parts.append((best.values, best.indices + first))
        scores, ids = (torch.cat([part[i] for part in parts], dim=1) for i in (0, 1))
        return torch.gather(ids, 1, torch.topk(scores, K, dim=1).indices)

    yield Search("torch", "matmul and topk", x.element_size() * x.shape[1], call)


def faisss(case: Case) -> Iterator[Search]:
    """Flat in float16, and lists of product-quantized rows."""
    try:
        faiss: Any = importlib.import_module("faiss")
    except ImportError:
        raise LookupError("faiss: not installed") from None
    moved: Callable[[Any], Any] = lambda index: index  # noqa: E731
    if case.cuda:
        if not hasattr(faiss, "StandardGpuResources"):
            raise LookupError("faiss: this one has no GPU; faiss-gpu has")
        resources, options = faiss.StandardGpuResources(), faiss.GpuClonerOptions()
        options.useFloat16 = True
        number = device.parsed(case.device)[1]
        moved = lambda index: faiss.index_cpu_to_gpu(resources, number, index, options)  # noqa: E731
    dim = case.x.shape[1]
    flat = moved(faiss.IndexFlatIP(dim))
    flat.add(case.x)
    yield Search("faiss", "flat", 2 * dim if case.cuda else 4 * dim, partial(second_of, flat.search, case.q, K))
    del flat
    parts = max(part for part in _FAISS_PARTS if part <= case.size and dim % part == 0)
    lists = moved(faiss.index_factory(dim, f"IVF{case.nlist},PQ{parts}", faiss.METRIC_INNER_PRODUCT))
    lists.train(case.x[: max(64 * case.nlist, _TRAINED)])
    lists.add(case.x)
    for nprobe in case.nprobes:
        lists.nprobe = nprobe
        yield Search("faiss", f"IVF-PQ, nprobe {nprobe}", parts, partial(second_of, lists.search, case.q, K))


def cuvss(case: Case) -> Iterator[Search]:
    """Brute force in float32; lists of product-quantized rows and, where this cuVS has them, of RaBitQ's. Distances: of
    rows of unit length they have the order of cosines."""
    try:
        brute: Any = importlib.import_module("cuvs.neighbors.brute_force")
        product: Any = importlib.import_module("cuvs.neighbors.ivf_pq")
    except ImportError:
        raise LookupError("cuVS: not installed") from None
    torch, dim = torch_with_cuda(), case.x.shape[1]
    if torch is None:
        raise LookupError("cuVS: takes arrays on the device, which torch makes: it is not installed, or sees no device")
    x = torch.from_numpy(case.x).to(case.device)
    flat = brute.build(x, metric="sqeuclidean")
    yield Search("cuVS", "brute force", 4 * dim, partial(second_of, brute.search, flat, case.there, K))
    del flat
    kinds = [("IVF-PQ", product, {"pq_dim": case.size}, float(case.size))]
    try:
        rabitq = importlib.import_module("cuvs.neighbors.ivf_rabitq")
        bits = max(1, min(9, 8 * case.size // dim))
        kinds.append(("IVF-RaBitQ", rabitq, {"bits_per_dim": bits}, bits * dim / 8))
    except ImportError:
        print("cuVS: this one has no IVF-RaBitQ for Python", file=sys.stderr)
    for name, module, options, size in kinds:
        index = module.build(module.IndexParams(n_lists=case.nlist, metric="sqeuclidean", **options), x)
        for nprobe in case.nprobes:
            call = partial(second_of, module.search, module.SearchParams(n_probes=nprobe), index, case.there, K)
            yield Search("cuVS", f"{name}, nprobe {nprobe}", size, call)


if __name__ == "__main__":
    sys.exit(main())
