"""Settled files are searched on a device: emulated, where the build has that. Answers are those of exact search."""

from __future__ import annotations

import gc
import time
from typing import Any

import numpy as np
import pytest

import bebr
from bebr import device
from bebr.store.database import Database
from tests.conftest import clustered

EMULATED = device.found("emulated")
pytestmark = pytest.mark.skipif(isinstance(EMULATED, str), reason=f"emulated kernels: {EMULATED}")
ROWS, DIM = 500, 32


def filled(db: Database, name: str = "docs", **how: Any) -> Any:
    """400 rows in a file of which some died, and 100 that are not in one yet."""
    docs = db.create_collection(name, bebr.untrained(DIM, 10), **how)
    x, payloads = clustered(ROWS, DIM), [{"n": i, "even": i % 2 == 0} for i in range(ROWS)]
    docs.upsert(range(400), x[:400], payloads[:400])
    docs.settle()
    docs.delete(range(0, 400, 11))
    docs.upsert(range(400, ROWS), x[400:], payloads[400:])
    return docs


def same(here: Any, there: Any) -> None:
    np.testing.assert_array_equal(there.ids, here.ids)
    np.testing.assert_array_equal(there.scores.view(np.uint32), here.scores.view(np.uint32))


@pytest.mark.parametrize("keep", [None, "float16"])
@pytest.mark.parametrize("flat_rows", [10**6, 100], ids=["flat", "ivf"])
def test_answers_are_those_of_exact_search(tmp_path, queries_of, keep, flat_rows):
    q = queries_of(4)
    with (
        Database(tmp_path / "here", flat_rows=flat_rows) as one,
        Database(tmp_path / "there", flat_rows=flat_rows, device="emulated") as other,
    ):
        here, there = filled(one, keep=keep), filled(other, keep=keep)
        kind = "flat" if flat_rows > ROWS else "ivf"
        assert there.stats().rows_by_kind == {kind: 363}
        assert there.stats().rows_by_device == {"emulated": 363, "cpu": 100} and here.stats().rows_by_device == {}
        assert there.snapshot.engine is None and here.snapshot.engine is not None
        middle = float(here.search(q, 20, exact=True).scores[:, 12].mean())
        for how in (
            {},
            {"k": 450},
            {"offset": 3},
            {"radius": middle},
            {"allow": np.arange(0, ROWS, 3)},
            {"allow": [7, 410]},
            {"filter": {"even": True}},
            {"filter": {"n": {"lt": 12}}},
            {"filter": {"n": {"lt": 200}}, "allow": np.arange(100, 300)},
            {"query": "code", "rescore": 0} if keep else {"query": "code"},
        ):
            asked = {"k": 9, "exact": True, **how}
            same(here.search(q, **asked), there.search(q, **asked))
            same(here.search(q[0], **asked), there.search(q[0], **asked))
        same(here.search_ids([3, 420], 6, exact=True), there.search_ids([3, 420], 6, exact=True))
        groups = [docs.search(q, 2, group_by="even", exact=True) for docs in (here, there)]
        same(*groups)
        assert groups[0].groups == groups[1].groups
        if kind == "ivf":  # of some lists: those that the CPU looks at, by an upper bound of what is not read
            few = there.search(q, 5, nprobe=1).ids
            assert (few >= 0).all() and not np.isin(few, range(0, 400, 11)).any()
            same(here.search(q, 5, exact=True), there.search(q, 5, nprobe=10**4))
        else:
            same(here.search(q, 5, exact=True), there.search(q, 5))


def test_what_a_device_does_not_search_is_searched_here_and_said(tmp_path, queries_of, caplog):
    q = queries_of(3)
    with Database(tmp_path / "graph", flat_rows=100, device="emulated") as db:
        docs = filled(db, index="graph")
        assert docs.stats().rows_by_device == {} and docs.snapshot.engine is not None
    with Database(tmp_path / "small", device="emulated", device_memory=2000) as db:
        docs = filled(db)
        assert docs.stats().rows_by_device == {"cpu": 463} and docs.snapshot.engine is None
        assert "400 rows are searched on the CPU: the index's rows need" in caplog.text
        assert (docs.search(q, 5).ids >= 0).all()
    with Database(tmp_path / "small", device="emulated:1") as db:  # the next opening has room
        found = db.collection("docs")
        assert found.stats().rows_by_device["emulated:1"] == 363
        docs = found.search(q, 5, exact=True)
    with Database(tmp_path / "small") as db:
        same(db.collection("docs").search(q, 5, exact=True), docs)


def test_room_that_others_give_back_is_taken(tmp_path, queries_of):
    with Database(tmp_path, device="emulated", device_memory=12_000) as db:  # a file takes 400 times 20 bytes
        first, second = filled(db, "first"), filled(db, "second")
        assert first.stats().rows_by_device["emulated"] == 363 and second.stats().rows_by_device == {"cpu": 463}
        del first
        db.drop_collection("first")
        gc.collect()
        second.search(queries_of(1), 3)
        assert second.stats().rows_by_device["emulated"] == 363
        second.upsert(range(ROWS), clustered(ROWS, DIM, seed=9))  # a new file, of all rows
        second.settle()
        ends = time.monotonic() + 10
        while second.stats().rows_by_device != {"emulated": 500}:  # once nothing has the old file any more
            assert time.monotonic() < ends
            gc.collect()
            second.search(queries_of(1), 3)
        assert second.search(clustered(ROWS, DIM, seed=9)[77], 1).ids.tolist() == [[77]]


def test_what_cannot_be_asked_for(tmp_path):
    with pytest.raises(ValueError, match="device is 'gpu': want 'cpu', 'cuda' or 'cuda:N'"):
        bebr.open(tmp_path / "a", device="gpu")
    with pytest.raises(ValueError, match="device_memory is 9 on 'cpu': want None"):
        bebr.open(tmp_path / "a", device_memory=9)
    with pytest.raises(ValueError, match="device_memory is 'much'"):
        bebr.open(tmp_path / "a", device="emulated", device_memory="much")
    if isinstance(CUDA := device.found(), str):
        with pytest.raises(bebr.DeviceUnavailable, match=f"device='cuda': {CUDA}"):
            bebr.open(tmp_path / "a", device="cuda")
    assert not (tmp_path / "a").exists()


@pytest.fixture
def queries_of() -> Any:
    return lambda n: clustered(n, DIM, seed=5)
