"""Writes the golden files of the current format version: ``python tests/golden/make.py``. Never rewrite those of a
released one.

A folder a version: ``model.safetensors``, ``flat.bebr`` (its index), ``answers.json`` (queries, and the ids and
scores to find).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import bebr


def main() -> None:
    folder = Path(__file__).parent / f"v{bebr.info()['file_version']}"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((70, 24)) / np.arange(1, 25)).astype(np.float32)
    bz = bebr.train(x, widths=[24, 16, 8], metric="cosine", factor_bytes=1, seed=0)
    bz.save(folder / "model.safetensors")
    index = bebr.FlatIndex(bz)
    index.add(x, np.arange(70) * 3)
    index.save(folder / "flat.bebr")
    queries = x[:5].round(3)
    hits = index.search(queries, 4, refine="exact")
    answers = {"queries": queries.tolist(), "ids": hits.ids.tolist(), "scores": hits.scores.tolist()}
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
