from __future__ import annotations

import argparse

import numpy as np
import pytest

import bebr
from bebr.store.database import Database
from benchmarks import concurrency


@pytest.fixture(scope="module")
def rows() -> concurrency.Rows:
    return concurrency.Rows(0)


@pytest.fixture
def collection(tmp_path, rows):
    bz = bebr.train(rows[np.arange(3000)], widths=[64, 32], metric="cosine", seed=0)
    with Database(tmp_path, seal_rows=100) as db:
        made = db.create_collection("bench", bz)
        concurrency.fill(made, rows, 2000)
        yield made


def test_everything_is_measured_and_payloads_are_those_of_their_rows(collection, rows, tmp_path):
    options = argparse.Namespace(rows=2000, seconds=1.0)
    result = concurrency.searches(collection, rows, options, tmp_path) | concurrency.writers(collection, rows, options)
    beside = result["beside filtered searches and upserts"]
    assert beside["hits"] > 0 and beside["hits_with_the_payload_of_another_write"] == 0
    assert beside["rows_upserted"] > 0 and beside["segments_written"] > 0 and result["16 writers over one"] > 0


def test_a_payload_of_another_write_is_counted(collection, rows):
    q = rows[np.array([5])]
    hits = collection.search(q, 10, with_payloads=True)
    assert concurrency.foreign(collection.binarizer, rows, [(q, hits)]) == (0, 10)
    hits.payloads[0][3] = {"row": 123_456}
    assert concurrency.foreign(collection.binarizer, rows, [(q, hits)]) == (1, 10)
