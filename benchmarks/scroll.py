"""What a page of a scroll costs at the start, in the middle and at the end of small and large collections.

``python -m benchmarks.scroll --rows 100000 1000000``
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time

import numpy as np

import bebr
from benchmarks.machine import facts

_BATCH, _DIM, _BYTES, _PAGES = 16_384, 64, 24, 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--limit", type=int, default=1000, help="rows of a page")
    options = parser.parse_args()
    print(json.dumps(facts(2)), flush=True)
    for rows in options.rows:
        print(json.dumps({"rows": rows, "limit": options.limit, **measured(rows, options.limit)}), flush=True)


def measured(rows: int, limit: int) -> dict[str, float]:
    """Milliseconds; ids come in random order, so that no segment has them ascending."""
    rng = np.random.default_rng(0)
    ids, x = rng.permutation(rows), rng.standard_normal((_BATCH, _DIM), np.float32)
    with tempfile.TemporaryDirectory(dir=".") as folder, bebr.open(folder) as db:
        docs = db.create_collection("docs", bebr.untrained(_DIM, _BYTES))
        for begin in range(0, rows, _BATCH):
            some = ids[begin : begin + _BATCH]
            docs.upsert(some, x[: len(some)], [{"n": n} for n in some.tolist()])
        docs.settle()

        def page(after: int | None) -> float:
            begin = time.perf_counter()
            docs.scroll(limit=limit, after=after)
            return 1e3 * (time.perf_counter() - begin)

        found = {"segments": docs.stats().segments, "first": page(None)}
        for name, after in (("start", None), ("middle", rows // 2), ("end", rows - limit - 1)):
            found[name] = statistics.median(page(after) for _ in range(_PAGES))
        whole = time.perf_counter()
        last = None
        while found_rows := docs.scroll(limit=limit, after=last):
            last = found_rows[-1].id
        found["whole"] = 1e3 * (time.perf_counter() - whole)
    return {name: round(value, 2) for name, value in found.items()}


if __name__ == "__main__":
    main()
