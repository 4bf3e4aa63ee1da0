"""Micro benchmarks under pytest-benchmark, on made-up vectors: ``pytest benchmarks/micro.py``.

For one change against another on the same machine (``--benchmark-autosave``, ``--benchmark-compare``), and with
``--benchmark-timer=time.process_time`` on a busy one; figures to quote come from ``benchmarks.flat`` and
``benchmarks.kernels``.
"""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import bebr
from bebr.collection.checks import dump_payloads
from bebr.collection.keys import Named
from bebr.serve.messages import put_rows, rows_on_wire
from bebr.store.catalog.records import Operation
from bebr.store.files.payloads import PayloadColumn
from bebr.store.segments.calibrating import calibrated
from bebr.v1 import bebr_pb2 as pb
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


@pytest.mark.parametrize("batch", [64, 256])
def test_search_of_few_allowed(
    benchmark: BenchmarkFixture, index: bebr.FlatIndex, vectors: np.ndarray, batch: int
) -> None:
    """A twentieth of the rows, which are copied out first."""
    hits = benchmark(index.search, vectors[:batch], 10, allow=np.arange(0, ROWS, 20))
    assert hits.ids.shape == (batch, 10)


def test_encode(benchmark: BenchmarkFixture, index: bebr.FlatIndex, vectors: np.ndarray) -> None:
    codes = benchmark(index.binarizer.encode, vectors[:1_000])
    assert len(codes) == 1_000


def test_write_payloads(benchmark: BenchmarkFixture) -> None:
    """1,000 payloads of `benchmarks.ingest` as JSON."""
    payloads = Rows.payloads(slice(0, 1_000))
    texts = benchmark(dump_payloads, payloads, 1_000)
    assert len(texts) == 1_000


@pytest.mark.parametrize("step", [1, -1], ids=["ascending", "descending"])
def test_distinct_ids(benchmark: BenchmarkFixture, step: int) -> None:
    """Whether 2,500 ids are different, which a client and its server look at."""
    named = Named(np.arange(2_500)[::step].copy())
    assert benchmark(named.last_of_each) is None


@pytest.mark.parametrize("by", ["bytes", "protobuf"])
def test_make_upsert(benchmark: BenchmarkFixture, vectors: np.ndarray, by: str) -> None:
    """A message of 2,500 rows with payloads: as a client sends it, and as protobuf makes it."""
    head, some = pb.UpsertRequest(collection="docs"), slice(0, 2_500)
    rows = Named(np.arange(2_500)), vectors[some], dump_payloads(Rows.payloads(some), 2_500)

    def with_protobuf() -> bytes:
        request = pb.UpsertRequest()
        request.CopyFrom(head)
        return put_rows(request, *rows).SerializeToString()

    sent = benchmark(with_protobuf if by == "protobuf" else lambda: rows_on_wire(head, *rows))
    assert len(sent) > 2_500 * 4 * DIMS


def test_calibrate(benchmark: BenchmarkFixture, vectors: np.ndarray) -> None:
    """What a merge measures of a new file in lists: how many of them a search looks into."""
    index = bebr.IVFIndex(bebr.untrained(DIMS, 52), 256)
    index.train(vectors[:10_000])
    index.add(vectors)
    effort = benchmark.pedantic(calibrated, (_Part(index), None, 0.95, lambda: None), rounds=3, warmup_rounds=1)
    assert effort is not None and effort.at(10) <= effort.at(100)


class _Part:
    """What `calibrated` needs of a segment."""

    bare, moved = None, False

    def __init__(self, index: bebr.IVFIndex) -> None:
        self.index, self.rows = index, len(index)


def test_pack_journal(benchmark: BenchmarkFixture) -> None:
    """2,500 rows with payloads, of 52 bytes, as the journal has them."""
    planes, factors = np.zeros((2_500, 50), np.uint8), np.zeros((2_500, 2), np.uint8)
    payloads = dump_payloads(Rows.payloads(slice(0, 2_500)), 2_500)
    operation = Operation("upsert", np.arange(2_500), planes, factors, payloads)
    assert len(benchmark(lambda: list(operation.parts()))) == 1


@pytest.mark.parametrize("by", ["each", "data"])
def test_read_payloads(benchmark: BenchmarkFixture, by: str) -> None:
    """Those of 8,192 rows of a segment, as a merge of several reads them: together, and one by one."""
    texts = [text.encode() for text in dump_payloads(Rows.payloads(slice(0, 8_192)), 8_192)]
    ends = np.cumsum([0, *map(len, texts)]).astype(np.uint64)
    column = PayloadColumn(ends, np.frombuffer(b"".join(texts), np.uint8), "made up")
    rows = np.arange(8_192)

    def one_by_one(rows: np.ndarray) -> list[bytes]:
        return [column.data(row) for row in rows.tolist()]

    assert benchmark(one_by_one if by == "data" else column.each, rows) == texts
