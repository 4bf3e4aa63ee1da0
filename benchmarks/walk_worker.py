"""One side of ``benchmarks.walk``: searches a saved graph in its own interpreter, with whatever bebr that imports.

It needs numpy and bebr only. It answers on standard output: first the digest of every case, then, for each case that a
line on standard input names, the seconds a query of the fastest call.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import bebr

SINGLES, LEAST = 100, 0.15


def cases(folder: Path) -> dict[str, tuple[int, Callable[[], list[Any]]]]:
    """Of every case, how many queries it takes and the call that answers with their hits."""
    index: Any = bebr.open_index(folder / "graph.bebr", mmap=False)
    queries = np.load(folder / "queries.npy")

    def searches(calls: Any, ef: int) -> list[Any]:
        return [index.search(some, 10, ef_search=ef) for some in calls]

    found: dict[str, tuple[int, Callable[[], list[Any]]]] = {}
    for ef in json.loads((folder / "ef.json").read_text()):
        found[f"batch {ef}"] = len(queries), partial(searches, queries[None], ef)
        found[f"single {ef}"] = len(queries[:SINGLES]), partial(searches, queries[:SINGLES, None], ef)
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


def main(folder: Path) -> None:
    bebr.set_num_threads(1)
    known = cases(folder)
    print(json.dumps({name: digest(call()) for name, (_, call) in known.items()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(seconds_a_query(*known[line.rstrip("\n")])), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
