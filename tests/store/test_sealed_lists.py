"""Seals of a collection that is too large to be scanned write lists at once: those of an earlier file, where they
fit."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr.store.database import Database
from bebr.store.segments import calibrating
from bebr.store.upkeep import rewriting
from tests.conftest import clustered

ROWS = 3000  # of a seal; a collection of 2,000 rows is scanned


@pytest.fixture(autouse=True)
def _no_merges(monkeypatch):
    monkeypatch.setattr(rewriting, "to_merge", lambda *_: [])


def opened(path) -> Database:
    return Database(path, seal_rows=10**9, flat_rows=2000)


def sealed(docs, rows: np.ndarray) -> None:
    docs.upsert(range(len(docs), len(docs) + len(rows)), rows)
    docs.flush()


def kinds(docs) -> list[str]:
    """Of the files, in the order in which they came."""
    return [view.part.index.kind for view in docs.snapshot.segments]


def lists_of(docs) -> list[bytes]:
    """The centroids of each file in lists."""
    indexes = [view.part.index for view in docs.snapshot.segments]
    return [index._engine.centroids.tobytes() for index in indexes if index.kind == "ivf"]


def recall_of_a_scan(docs, queries: np.ndarray, k: int, **how) -> float:
    by_code = {"rescore": 0 if docs.stats().kept_bytes else None}
    found, wanted = docs.search(queries, k, **by_code, **how).ids, docs.search(queries, k, exact=True, **by_code).ids
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]))


def test_later_seals_are_in_the_lists_of_the_first(tmp_path):
    with opened(tmp_path) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18))
        for seed in range(4):
            sealed(docs, clustered(1500 if seed == 0 else ROWS, 64, seed))
        assert kinds(docs) == ["flat", "ivf", "ivf", "ivf"]
        assert len(set(lists_of(docs))) == 1


def test_seals_after_a_restart_are_in_the_same_lists(tmp_path):
    for seed in range(3):
        with opened(tmp_path) as db:
            if seed == 0:
                db.create_collection("docs", bebr.untrained(64, 18))
            sealed(db.collection("docs"), clustered(ROWS, 64, seed))
            assert kinds(db.collection("docs")) == ["ivf"] * (seed + 1)
            assert len(set(lists_of(db.collection("docs")))) == 1


@pytest.mark.parametrize("index", ["flat", "graph"])
def test_seals_of_other_collections_are_flat(tmp_path, index):
    with opened(tmp_path) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18), index=index)
        for seed in range(2):
            sealed(docs, clustered(ROWS, 64, seed))
        assert kinds(docs) == ["flat", "flat"]


def test_small_seals_are_flat(tmp_path):
    with opened(tmp_path) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18))
        for count in (2000, 499, 500):
            sealed(docs, clustered(count, 64, count))
        assert kinds(docs) == ["flat", "flat", "ivf"]


def test_seals_have_lists_of_their_own_where_those_of_earlier_files_are_too_many(tmp_path):
    with opened(tmp_path) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18))
        for seed, count in enumerate((10_000, 600)):
            sealed(docs, clustered(count, 64, seed))
        assert [view.part.index.nlist for view in docs.snapshot.segments] == [256, 64]


@pytest.mark.parametrize("keep", [None, "float16"])
def test_searches_between_seals_find_what_is_promised(tmp_path, keep):
    """Files of a seal each, and rows in memory beside them."""
    queries = clustered(200, 64, seed=99)
    with opened(tmp_path) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18), keep=keep)
        for seed in range(5):
            sealed(docs, clustered(ROWS, 64, seed))
        docs.upsert(range(len(docs), len(docs) + 500), clustered(500, 64, 5))
        docs.delete(range(0, 9000, 7))
        for k in (1, 10, 100):
            assert recall_of_a_scan(docs, queries, k) >= 0.98


def other_kind(count: int, seed: int) -> np.ndarray:
    """Rows without clusters, of another part of the space."""
    x = np.random.default_rng(seed).standard_normal((count, 64)) + 0.5
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_rows_of_another_kind_are_looked_for_in_more_lists(tmp_path, monkeypatch):
    """Their seal is in the lists that are there, of which its rows need more; the next of their kind is flat."""
    queries = other_kind(200, 99)
    with opened(tmp_path) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18))
        for seed in range(2):
            sealed(docs, clustered(ROWS, 64, seed))
        known = docs.snapshot.segments[-1].part.effort
        sealed(docs, other_kind(ROWS, 0))
        assert len(set(lists_of(docs))) == 1
        assert docs.snapshot.segments[-1].part.effort.at(10) > 1.5 * known.at(10)
        assert recall_of_a_scan(docs, queries, 10) >= 0.98
        assert recall_of_a_scan(docs, queries, 10, nprobe=known.at(10)) < 0.98
        sealed(docs, other_kind(ROWS, 1))
        assert kinds(docs) == ["ivf", "ivf", "ivf", "flat"]


def test_an_effort_that_is_known_is_not_measured_again(tmp_path, monkeypatch):
    with opened(tmp_path) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18))
        sealed(docs, clustered(ROWS, 64, 0))
        part = docs.snapshot.segments[0].part
        monkeypatch.setattr(calibrating, "least_effort", lambda *_: pytest.fail("it was measured"))
        assert calibrating.calibrated(part, None, 0.98, lambda: None, part.effort) == part.effort
