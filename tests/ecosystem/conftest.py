"""Upstream's own suites over adapters, in a folder and on a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

import bebr
from bebr.collection.protocol import CollectionLike, DatabaseLike
from tests.serve.conftest import Running

# Haystack would report what it runs to its makers.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")


@pytest.fixture(scope="module", params=["local", "remote"])
def db(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseLike]:
    path = tmp_path_factory.mktemp("ecosystem")
    if request.param == "local":
        with bebr.open(path) as local:
            yield local
        return
    server = Running(path)
    try:
        with server.connect() as client:
            yield client
    finally:
        server.kill()


@pytest.fixture(scope="module")
def _made(db: DatabaseLike) -> dict[tuple[int, str], CollectionLike]:
    """By dimensions and metric: making a model of 768 dimensions takes longer than a test."""
    return {}


@pytest.fixture
def make_collection(
    db: DatabaseLike, _made: dict[tuple[int, str], CollectionLike]
) -> Iterator[Callable[..., CollectionLike]]:
    """``make_collection(dim, metric="cosine")``: empty, and made without a model."""

    def make(dim: int, metric: str = "cosine") -> CollectionLike:
        if (dim, metric) not in _made:
            _made[dim, metric] = db.create_collection(f"{metric}-{dim}", dim=dim, metric=metric, keep="float16")
        return _made[dim, metric]

    yield make
    for collection in _made.values():
        collection.truncate()
