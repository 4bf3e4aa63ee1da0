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


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("folder", VERSIONS, ids=lambda p: p.name)
def test_golden_index_answers_as_it_did(folder, mmap):
    answers = json.loads((folder / "answers.json").read_text())
    index = bebr.open_index(folder / "flat.bebr", mmap=mmap, verify=True)
    hits = index.search(np.array(answers["queries"], np.float32), 4, refine="exact")
    np.testing.assert_array_equal(hits.ids, answers["ids"])
    np.testing.assert_allclose(hits.scores, answers["scores"], rtol=1e-4, atol=1e-5)
    assert bebr.Binarizer.load(folder / "model.safetensors").digest == index.binarizer.digest
