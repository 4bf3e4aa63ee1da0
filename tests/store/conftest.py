from __future__ import annotations

import time

import numpy as np
import pytest

import bebr
from tests.conftest import model_of


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
