"""What a merge measures of its new file, and what that costs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import bebr
from bebr.exact import exact, recall
from bebr.index import segments
from bebr.index.raw import default_candidates
from bebr.index.segments import SegmentView
from bebr.store.database import Database
from bebr.store.segments import calibrating
from tests.conftest import clustered


@pytest.mark.parametrize("index", ["auto", "graph"])
def test_the_least_effort_is_found_from_below(tmp_path, monkeypatch, index):
    """One scan, and nothing is tried of many more lists or candidates than are needed: a merge of 150,000 rows spent
    more than half of its time so. Of lists, nothing is searched but in the scan."""
    asked: list[int | None] = []
    search, looked_at = calibrating.search_segments, calibrating.looked_at

    def counted(views, *rest, **how):
        effort = views[0].effort
        asked.append(None if effort is None else effort.by_k[0][1])
        return search(views, *rest, **how)

    def looked(index, prepared, nprobe):
        tried.append(nprobe)
        return looked_at(index, prepared, nprobe)

    tried: list[int] = []
    monkeypatch.setattr(calibrating, "search_segments", counted)
    monkeypatch.setattr(calibrating, "looked_at", looked)
    rows = clustered(4000, 64)
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18), index=index)
        docs.upsert(range(4000), rows)
        docs.settle()
        (view,) = docs.snapshot.segments
        measured = dict(view.part.effort.by_k)
        pieces = -(-calibrating.QUERIES // calibrating._TOGETHER)
        every = None if index == "graph" else len(view.part.index.list_sizes)
        assert asked.count(every) == pieces and (index == "graph") == (len(asked) > pieces)
        tried += [effort for effort in asked if effort != every]
        assert max(tried) < 2 * max(measured.values())
        assert list(measured) == [10, 100] and measured[10] <= measured[100]
        queries = clustered(200, 64, seed=3)
        for k in measured:
            scan = docs.search(queries, k, exact=True).ids
            assert recall(docs.search(queries, k).ids, scan) > 0.93
        assert len(np.unique(docs.search(queries, 10).ids)) > 500
        monkeypatch.setattr(calibrating, "_LOSS_OF_ROWS", 1.0)  # rows reach .995 for the .98 that queries are promised
        rows_reach = {
            share: calibrating.calibrated(view.part, None, share, lambda: None).effort for share in (0.98, 0.995)
        }
        assert rows_reach[0.995] == view.part.effort and rows_reach[0.98].at(10) < measured[10]


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("wanted", [1, 2, 3, 34, 98, 700, 16_000])
def test_the_least_effort_of_a_power_law_is_found_in_few_measurements(power, wanted):
    asked = []

    def lost(effort):
        asked.append(effort)
        return 0.01 * ((wanted - 0.5) / effort) ** power

    found = calibrating.least_effort(lost, 1, 1 << 14, 0.01)
    assert wanted <= found <= wanted + wanted // 32
    assert len(asked) == len(set(asked)) <= 4 + math.log2(wanted) and max(asked) < 2 * max(wanted, 2)


def test_an_effort_is_found_whatever_is_lost():
    """Where less is not lost by more, where nothing or all is, and where chance decides."""
    chance = np.random.default_rng(0)
    for lost in (lambda _: 0.0, lambda _: 1.0, lambda effort: 1 / (1 + effort % 7), lambda _: chance.random()):
        for first, most in ((1, 1), (1, 512), (11, 16_384), (512, 512)):
            asked = []

            def counted(effort, lost=lost, asked=asked):
                asked.append(effort)
                return lost(effort)

            assert first <= calibrating.least_effort(counted, first, most, 0.05) <= most
            assert all(first <= effort < most for effort in asked) and len(asked) <= 40
            assert calibrating.least_effort(counted, first, most, 0.0) <= most  # nothing may be lost


def narrow_model() -> bebr.Binarizer:
    """By its margin lists lose near rows, which its sign plane scores too low."""
    made = bebr.untrained(64, 18)
    low = made.tensors | {"stage.weight": made.tensors["stage.weight"] * np.float32(2 / math.pi)}
    return bebr.Binarizer.from_tensors(low, made.config | {"margin": 0.1})


def test_lists_do_not_make_good_for_what_the_sign_plane_rules_out(tmp_path, monkeypatch):
    """Else all of them are looked at: 216 signs of 200,000 rows of 384 dimensions lost .006, and .005 were allowed."""
    monkeypatch.setattr(segments, "_LEAST_MARGIN", 0.1)
    narrow = narrow_model()
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        docs = db.create_collection("docs", narrow)
        docs.upsert(range(4000), clustered(4000, 64))
        docs.settle()
        (view,) = docs.snapshot.segments
        assert 1 < view.part.effort.at(10) <= len(view.part.index.list_sizes) // 2


def test_lists_are_searched_by_a_wide_margin(tmp_path):
    """Whatever a model's training found to be enough: rows that the sign plane rules out are lost in every list."""
    narrow = narrow_model()
    queries = clustered(100, 64, seed=3)
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        docs = db.create_collection("docs", narrow)
        docs.upsert(range(2000), clustered(2000, 64))
        docs.settle()
        (view,) = docs.snapshot.segments
        scan = docs.search(queries, 10, exact=True).ids
        prepared = narrow.prepare(queries)
        every = len(view.part.index.list_sizes)
        by_parts = calibrating.search_segments([SegmentView(view.part.index)], narrow, prepared, 10, nprobe=every)
        for found in (docs.search(queries, 10, nprobe=every), by_parts):
            assert recall(found.ids, scan) > 0.97
        # An index by itself has the model's margin.
        assert recall(view.part.index.search_prepared(prepared, 10, nprobe=every, batch_invariant=True).ids, scan) < 0.8


def test_where_vectors_are_kept_lists_have_to_hold_the_best_by_exact_scores(tmp_path):
    """Not the best by code, which are neighbours by chance where codes are small, and lie in any list."""
    rows, queries = clustered(6000, 64), clustered(200, 64, seed=3)
    nearest = exact(rows, queries, 10, "cosine")
    efforts, measured = {}, {}
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        for keep in (None, "int8"):
            docs = db.create_collection(f"docs-{keep}", bebr.untrained(64, 10), keep=keep)
            docs.upsert(range(6000), rows)
            docs.settle()
            (view,) = docs.snapshot.segments
            efforts[keep] = view.part.effort
            every = docs.search(queries, 10, nprobe=len(view.part.index.list_sizes)).ids
            assert recall(docs.search(queries, 10).ids, nearest) > 0.95 * recall(every, nearest)
            measured[keep] = view.part.rescored
    assert [k for k, _ in efforts[None].by_k] == [10, 100] and measured[None] is None
    asked = [max(default_candidates(k), many) for k, many in measured["int8"]]
    assert [k for k, _ in efforts["int8"].by_k] == asked
    assert efforts["int8"].at(asked[0]) < efforts[None].at(10)
