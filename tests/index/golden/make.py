"""Writes the golden files of the current format version: ``python tests/index/golden/make.py``. Never rewrite
those of a released one.

A folder a version: ``model.safetensors``; ``flat.bebr``, ``ivf.bebr`` and ``graph.bebr``, indexes of the same rows;
``answers.json``, queries, and the ids and scores to find. Files that are there already stay.
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
    if not (folder / "model.safetensors").exists():
        bebr.train(x, widths=[24, 16, 8], metric="cosine", factor_bytes=1, seed=0).save(folder / "model.safetensors")
    bz = bebr.Binarizer.load(folder / "model.safetensors")
    flat, ivf, graph = bebr.FlatIndex(bz), bebr.IVFIndex(bz, nlist=6), bebr.GraphIndex(bz, max_degree=8)
    for index, name in ((flat, "flat.bebr"), (ivf, "ivf.bebr"), (graph, "graph.bebr")):
        index.add(x, np.arange(70) * 3)
        if not (folder / name).exists():
            index.save(folder / name)
    if not (folder / "answers.json").exists():
        queries = x[:5].round(3)
        hits = flat.search(queries, 4, exact=True)
        answers = {"queries": queries.tolist(), "ids": hits.ids.tolist(), "scores": hits.scores.tolist()}
        (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
