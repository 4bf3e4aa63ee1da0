"""Writes the golden folder of the current catalog version: ``python tests/store/golden/make.py VERSION``. Never rewrite
that of a released one.

``v2/`` is a data folder as a process leaves it: collection "docs" of ten rows, five in a segment, five and a delete in
the journal.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

import bebr


def main() -> None:
    folder = Path(__file__).parent / f"v{sys.argv[1]}"
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10, 8)).astype(np.float32)
    with bebr.open(folder) as db:
        docs = db.create_collection("docs", bebr.train(x, widths=[8, 8], metric="cosine", seed=0))
        docs.upsert(range(5), x[:5], [{"n": i} for i in range(5)])
        docs.settle()
        docs.upsert(range(5, 10), x[5:], [{"n": i} for i in range(5, 10)])
        docs.delete([0, 9])
    for name in ("lock", "reserve"):
        (folder / name).unlink()
    shutil.rmtree(folder / "quarantine", ignore_errors=True)


if __name__ == "__main__":
    main()
