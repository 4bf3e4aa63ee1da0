"""What a merge measures of its new file, and what that costs."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr.exact import recall
from bebr.store.database import Database
from bebr.store.segments import calibrating
from tests.conftest import clustered


@pytest.mark.parametrize("index", ["auto", "graph"])
def test_the_least_effort_is_found_from_below(tmp_path, monkeypatch, index):
    """One scan, and no search of many more lists or candidates than are needed: half of the lists cost what a scan
    costs, and a merge of 150,000 rows spent more than half of its time so."""
    asked: list[int | None] = []
    search = calibrating.search_segments

    def counted(views, *rest, **how):
        effort = views[0].effort
        asked.append(None if effort is None else effort.by_k[0][1])
        return search(views, *rest, **how)

    monkeypatch.setattr(calibrating, "search_segments", counted)
    rows = clustered(4000, 64)
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18), index=index)
        docs.upsert(range(4000), rows)
        docs.settle()
        (view,) = docs.snapshot.segments
        measured = dict(view.part.effort.by_k)
        pieces = -(-calibrating.QUERIES // calibrating._TOGETHER)
        assert asked.count(None) == pieces
        assert max(effort for effort in asked if effort is not None) < 2 * max(measured.values())
        assert list(measured) == [10, 100] and measured[10] <= measured[100]
        queries = clustered(200, 64, seed=3)
        for k in measured:
            scan = docs.search(queries, k, exact=True).ids
            assert recall(docs.search(queries, k).ids, scan) > 0.93
        assert len(np.unique(docs.search(queries, 10).ids)) > 500
