"""One side of ``benchmarks.pages`` and ``benchmarks.walk``: opens an index in one way, and searches it in its own
interpreter, with whatever bebr that imports.

It needs numpy and bebr only. It answers on standard output: first the digest of every case, as ``found`` the ids that
the batches found and, on Linux, as ``pages``, what part of the process's memory lies in pages of 2 MB; then, for each
case that a line on standard input names, the seconds a query of the fastest call.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import bebr

SINGLES, LEAST = 100, 0.15
PR_SET_THP_DISABLE = 41
MAPS = Path("/proc/self/smaps_rollup")


def small_pages() -> None:
    """From now on this process gets no page of 2 MB."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_THP_DISABLE) failed")


def held() -> tuple[int, int]:
    """Bytes of this process in memory, and those of them in pages of 2 MB."""
    sizes = dict.fromkeys(("Rss:", "AnonHugePages:", "FilePmdMapped:"), 0)
    for line in MAPS.read_text().splitlines()[1:]:
        name, size, *_ = line.split()
        if name in sizes:
            sizes[name] = int(size) << 10
    return sizes["Rss:"], sizes["AnonHugePages:"] + sizes["FilePmdMapped:"]


def cases(index: Any, queries: Any, option: str, values: list[int]) -> dict[str, tuple[int, Callable[[], list[Any]]]]:
    """Of every case, how many queries it takes and the call that answers with their hits."""

    def searches(calls: Any, options: dict[str, int]) -> Callable[[], list[Any]]:
        return lambda: [index.search(some, 10, **options) for some in calls]

    found = {}
    for value in values or [0]:
        options = {option: value} if values else {}
        found[f"batch {value}"] = len(queries), searches(queries[None], options)
        found[f"single {value}"] = len(queries[:SINGLES]), searches(queries[:SINGLES, None], options)
    return found


def digest(hits: list[Any]) -> str:
    taken = hashlib.sha256()
    for one in hits:
        taken.update(np.ascontiguousarray(one.ids).tobytes() + np.ascontiguousarray(one.scores).tobytes())
    return taken.hexdigest()


def seconds_a_query(count: int, call: Callable[[], Any]) -> float:
    """Of the fastest call, in processor time: on a shared machine, what others do only adds, and a pause is no time."""
    best, end = float("inf"), time.process_time() + LEAST
    while True:
        start = time.process_time()
        call()
        now = time.process_time()
        best = min(best, now - start)
        if now > end:
            return best / count


def main(path: Path, queries: Path, way: str, option: str, values: list[int]) -> None:
    bebr.set_num_threads(1)
    if way == "small":
        small_pages()
    known = cases(bebr.open_index(path, mmap=way == "mapped"), np.load(queries), option, values)
    hits = {name: call() for name, (_, call) in known.items()}
    digests = {name: digest(some) for name, some in hits.items()}
    digests["found"] = json.dumps({name: some[0].ids.tolist() for name, some in hits.items() if len(some) == 1})
    if MAPS.exists():
        digests["pages"] = json.dumps(held())
    print(json.dumps(digests), flush=True)
    for line in sys.stdin:
        print(json.dumps(seconds_a_query(*known[line.rstrip("\n")])), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4], json.loads(sys.argv[5]))
