"""Writes the golden files of the format versions that are written now: ``python tests/index/golden/make.py``. Never
rewrite those of a released one.

A folder a version: ``model.safetensors``; indexes of the same rows; ``answers.json``, queries, and the ids and scores
to find. Version 2: ``flat.bebr``, ``ivf.bebr`` and ``graph.bebr``; version 3: ``inline.bebr``, a graph whose nodes hold
bytes of their neighbours, which no other file has. Files that are there already stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

import bebr


def made(folder: Path, kinds: dict[str, Callable[[bebr.Binarizer], bebr.Index]]) -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((70, 24)) / np.arange(1, 25)).astype(np.float32)
    if not (folder / "model.safetensors").exists():
        bebr.train(x, widths=[24, 16, 8], metric="cosine", factor_bytes=1, seed=0).save(folder / "model.safetensors")
    bz = bebr.Binarizer.load(folder / "model.safetensors")
    for name, make in kinds.items():
        index = make(bz)
        index.add(x, np.arange(70) * 3)
        if not (folder / name).exists():
            index.save(folder / name)
    if not (folder / "answers.json").exists():
        flat = bebr.FlatIndex(bz)
        flat.add(x, np.arange(70) * 3)
        queries = x[:5].round(3)
        hits = flat.search(queries, 4, exact=True)
        answers = {"queries": queries.tolist(), "ids": hits.ids.tolist(), "scores": hits.scores.tolist()}
        (folder / "answers.json").write_text(json.dumps(answers))


def main() -> None:
    folder = Path(__file__).parent
    made(
        folder / "v2",
        {
            "flat.bebr": bebr.FlatIndex,
            "ivf.bebr": lambda bz: bebr.IVFIndex(bz, nlist=6),
            "graph.bebr": lambda bz: bebr.GraphIndex(bz, max_degree=8),
        },
    )
    made(folder / "v3", {"inline.bebr": lambda bz: bebr.GraphIndex(bz, max_degree=8, inline=4)})


if __name__ == "__main__":
    main()
