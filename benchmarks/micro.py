"""Micro benchmarks under pytest-benchmark, on made-up vectors: ``pytest benchmarks/micro.py``.

For one change against another on the same machine (``--benchmark-autosave``, ``--benchmark-compare``); figures to quote
come from ``benchmarks.flat`` and ``benchmarks.kernels``.
"""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import bebr
from bebr.collection.checks import dump_payloads
from benchmarks.ingested_rows import Rows

ROWS, DIMS = 50_000, 384


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """float32[50000, 384] with a spectrum that falls as those of text encoders do."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((ROWS, DIMS)) / np.sqrt(np.arange(1, DIMS + 1))
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(scope="module", params=[52, 100, 196])
def index(request: pytest.FixtureRequest, vectors: np.ndarray) -> bebr.FlatIndex:
    """A flat index of all vectors at each of the issue's sizes."""
    built = bebr.FlatIndex(bebr.train(vectors[:10_000], bytes_per_vector=request.param, metric="cosine", seed=0))
    built.add(vectors)
    return built


@pytest.mark.parametrize("query", ["float", "code"])
@pytest.mark.parametrize("batch", [1, 64, 256])
def test_search(
    benchmark: BenchmarkFixture, index: bebr.FlatIndex, vectors: np.ndarray, batch: int, query: str
) -> None:
    hits = benchmark(index.search, vectors[:batch], 10, query=query)
    assert hits.ids.shape == (batch, 10)


def test_encode(benchmark: BenchmarkFixture, index: bebr.FlatIndex, vectors: np.ndarray) -> None:
    codes = benchmark(index.binarizer.encode, vectors[:1_000])
    assert len(codes) == 1_000


def test_write_payloads(benchmark: BenchmarkFixture) -> None:
    """1,000 payloads of `benchmarks.ingest` as JSON."""
    payloads = Rows.payloads(slice(0, 1_000))
    texts = benchmark(dump_payloads, payloads, 1_000)
    assert len(texts) == 1_000
