"""Upstream's own suites over adapters, in a folder and on a server."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

import bebr
from bebr.collection.protocol import CollectionLike, DatabaseLike
from tests.serve.conftest import Running

# Haystack would report what it runs to its makers.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")

_names = (f"ecosystem-{i}" for i in itertools.count())


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


@pytest.fixture
def make_collection(db: DatabaseLike) -> Iterator[Callable[..., CollectionLike]]:
    """``make_collection(dim, metric="cosine")``: empty, without a model, and dropped after the test."""
    made: list[str] = []

    def make(dim: int, metric: str = "cosine") -> CollectionLike:
        made.append(next(_names))
        return db.create_collection(made[-1], dim=dim, metric=metric, keep="float16")

    yield make
    for name in made:
        db.drop_collection(name)
