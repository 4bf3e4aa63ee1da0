"""How far one search looks in files of lists and graphs: on disk, and over the wire by the front and by Python."""

from __future__ import annotations

import numpy as np
import pytest

from bebr.store.database import Database
from tests.conftest import recall


@pytest.fixture(scope="module", params=["auto", "graph"])
def folder(request, tmp_path_factory, bz, vectors):
    """2,500 rows in one file of that kind and 300 in memory; and the name of what its searches may be given."""
    path = tmp_path_factory.mktemp("effort")
    with Database(path, flat_rows=1000) as db:
        made = db.create_collection("docs", bz, index=request.param)
        made.upsert(range(2500), vectors[:2500])
        made.settle()
        made.upsert(range(2500, 2800), vectors[2500:2800], [{"odd": bool(i % 2)} for i in range(300)])
        assert made.stats().rows_by_kind == {"graph" if request.param == "graph" else "ivf": 2500}
    return path, "ef_search" if request.param == "graph" else "nprobe"


def searches(collection, queries, what):
    """Of several ways in turn: each with few and with many lists, or candidates."""
    return [
        how(**{what: effort})
        for effort in (1, 2000)
        for how in (
            lambda **given: collection.search(queries, 10, **given),
            lambda **given: collection.search(queries[:1], 10, **given),
            lambda **given: collection.search(queries, 10, allow=np.arange(0, 2800, 2), **given),
            lambda **given: collection.search(queries, 10, filter={"odd": True}, **given),
            lambda **given: collection.search_ids(range(40), 10, **given),
            lambda **given: collection.search(queries[:3], 2, offset=3, **given),
        )
    ]


@pytest.mark.parametrize("front", [False, True])
def test_a_server_looks_as_far_as_it_is_told(start, folder, queries, front):
    path, what = folder
    with Database(path, flat_rows=1000) as db:
        wanted = searches(db.collection("docs"), queries, what)
    with start(path, **({} if front else {"front": False})) as server, server.connect() as client:
        docs = client.collection("docs")
        for found, local in zip(searches(docs, queries, what), wanted, strict=True):
            np.testing.assert_array_equal(found.ids, local.ids)
            np.testing.assert_array_equal(found.scores, local.scores)


def test_more_lists_or_candidates_find_more(folder, queries):
    path, what = folder
    with Database(path, flat_rows=1000) as db:
        docs = db.collection("docs")
        scan = docs.search(queries, 10, exact=True).ids
        few, usual, all_of_it = (docs.search(queries, 10, **how).ids for how in ({what: 1}, {}, {what: 2500}))
        assert recall(few, scan) < recall(usual, scan) <= recall(all_of_it, scan)
        assert recall(all_of_it, scan) > 0.99


@pytest.mark.parametrize("index", ["auto", "graph"])
def test_recall_is_measured_as_far_as_searches_look(start, tmp_path, bz, vectors, queries, index):
    """The same on disk and over the wire."""
    what = "ef_search" if index == "graph" else "nprobe"

    def measured(docs):
        efforts = ({what: 1}, {}, {what: 2500})
        return [docs.measure_recall(queries, 10, rescore=0, **how).recall for how in efforts]

    with Database(tmp_path, flat_rows=1000) as db:
        docs = db.create_collection("docs", bz, index=index, keep="float16")
        docs.upsert(range(2500), vectors[:2500])
        docs.settle()
        few, usual, most = local = measured(docs)
        assert few < usual <= most + 0.02  # codes' order is not the vectors': one more row may push out a right one
        with pytest.raises(ValueError, match=f"{what} is 0"):
            docs.measure_recall(queries, **{what: 0})
    with start(tmp_path) as server, server.connect() as client:
        docs = client.collection("docs")
        assert measured(docs) == local
        with pytest.raises(ValueError, match=f"{what} is 0"):
            docs.measure_recall(queries, **{what: 0})


def test_flat_files_have_neither(tmp_path, bz, vectors, queries):
    with Database(tmp_path) as db:
        docs = db.create_collection("docs", bz)
        docs.upsert(range(2000), vectors[:2000])
        docs.settle()
        found, wanted = docs.search(queries, 10, nprobe=1, ef_search=1), docs.search(queries, 10)
        np.testing.assert_array_equal(found.ids, wanted.ids)
