from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest

import bebr
from bebr.store.database import Database
from bebr.store.upkeep import rewriting
from tests.conftest import model_of

# Two files stay two, however long a busy machine takes from one line of a test to the next.
rewriting.CALM = 3600.0


@pytest.fixture(scope="session", params=[("cosine", 1), ("l2", 2)], ids=lambda p: f"{p[0]}-{p[1]}")
def bz(request, vectors) -> bebr.Binarizer:
    metric, factor_bytes = request.param
    return model_of(vectors, widths=[48, 16], metric=metric, factor_bytes=factor_bytes)


@pytest.fixture(scope="session")
def same_answers(queries):
    """A check that a collection holds exactly the rows of a dict id -> vector, and finds them as a fresh index
    would."""

    def check(collection, rows: dict[int, np.ndarray]) -> None:
        assert len(collection) == len(rows)
        fresh = bebr.FlatIndex(collection.binarizer)
        if rows:
            fresh.add(np.stack(list(rows.values())), list(rows))
        for k in (1, 10, len(rows) + 3):
            hits, expected = (c.search(queries[:5], k, exact=True) for c in (collection, fresh))
            np.testing.assert_array_equal(hits.ids, expected.ids)
            np.testing.assert_array_equal(hits.scores, expected.scores)

    return check


@pytest.fixture(scope="session")
def until():
    """Waits for what another thread brings about."""

    def wait(condition, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.01)

    return wait


class Shared:
    """A database in PostgreSQL and a folder for its segments. `open`: as another process would, with a cache of its
    own; `lease_seconds` is long, so that a lease ends only where a test says so."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self._folder, self._caches = url, folder, itertools.count()
        self.segments = f"file://{folder}/segments"

    def open(self, **options) -> Database:
        cache = self._folder / f"cache{next(self._caches)}"
        given = {"segments": self.segments, "cache": cache, "lease_seconds": 600, **options}
        return Database(self.url, **given)


@pytest.fixture
def shared(postgres, tmp_path) -> Shared:
    return Shared(postgres.schema(), tmp_path)


@pytest.fixture
def two(shared):
    """Two that have it open. Both know of a collection before there is anything in it, where a test lets them look."""
    with shared.open(seal_rows=10_000) as first, shared.open() as second:
        yield first, second
