"""As many rows get exact scores over the wire, by the front and by Python, as on disk."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr.store.database import Database
from tests.conftest import clustered

ROWS = 6000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file in lists whose codes are small, so that it was measured to want more candidates; and rows in memory."""
    path, rows = tmp_path_factory.mktemp("rescored"), clustered(ROWS, 64)
    with Database(path, seal_rows=10**9, flat_rows=1000) as db:
        made = db.create_collection("docs", bebr.untrained(64, 10), keep="float16")
        made.upsert(range(5000), rows[:5000], [{"odd": bool(i % 2)} for i in range(5000)])
        made.settle()
        made.upsert(range(5000, ROWS), rows[5000:], [{"odd": bool(i % 2)} for i in range(1000)])
        assert made.snapshot.candidates.at(10) > 100
    return path


def searches(collection, queries):
    """Of several ways in turn, each with and without `rescore`."""
    return [
        how(**given)
        for given in ({}, {"rescore": 50})
        for how in (
            lambda **given: collection.search(queries, 10, **given),
            lambda **given: collection.search(queries[:1], 10, **given),
            lambda **given: collection.search(queries, 5, offset=3, **given),
            lambda **given: collection.search(queries, 10, allow=np.arange(0, ROWS, 2), **given),
            lambda **given: collection.search(queries, 10, filter={"odd": True}, **given),
            lambda **given: collection.search_ids(range(40), 10, **given),
            lambda **given: collection.search(queries[:4], 2, group_by="odd", group_size=4, **given),
        )
    ]


@pytest.mark.parametrize("front", [False, True])
def test_a_server_finds_what_the_folder_does(start, folder, front):
    queries = clustered(60, 64, seed=3)
    with Database(folder, flat_rows=1000) as db:
        wanted = searches(db.collection("docs"), queries)
        measured = db.collection("docs").measure_recall(queries, 10)
    assert wanted[0].ids.tolist() != wanted[len(wanted) // 2].ids.tolist()
    with start(folder, **({} if front else {"front": False})) as server, server.connect() as client:
        docs = client.collection("docs")
        for found, local in zip(searches(docs, queries), wanted, strict=True):
            np.testing.assert_array_equal(found.ids, local.ids)
            np.testing.assert_array_equal(found.scores, local.scores)
        assert docs.measure_recall(queries, 10) == measured
