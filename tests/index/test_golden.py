"""Files of every released format version open and answer as they did when they were written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import bebr

VERSIONS = sorted((Path(__file__).parent / "golden").glob("v*"))


def test_there_is_a_golden_file_of_this_version():
    assert f"v{bebr.info()['file_version']}" in [v.name for v in VERSIONS]


FILES = [path for folder in VERSIONS for path in sorted(folder.glob("*.bebr"))]
EXACT = {
    bebr.FlatIndex: {"exact": True},
    bebr.IVFIndex: {"margin": "exact", "nprobe": 6},
    bebr.GraphIndex: {"ef_search": 70},
}


def test_every_kind_of_index_has_a_golden_file():
    assert {type(bebr.open_index(path)) for path in FILES} == set(EXACT)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_golden_index_answers_as_it_did(path, mmap):
    answers = json.loads((path.parent / "answers.json").read_text())
    index = bebr.open_index(path, mmap=mmap, verify=True)
    hits = index.search(np.array(answers["queries"], np.float32), 4, **EXACT[type(index)])
    np.testing.assert_array_equal(hits.ids, answers["ids"])
    np.testing.assert_allclose(hits.scores, answers["scores"], rtol=1e-4, atol=1e-5)
    assert bebr.Binarizer.load(path.parent / "model.safetensors").digest == index.binarizer.digest
