"""Other libraries' own suites over bebr, in a folder and on a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

import bebr
from bebr.collection.protocol import CollectionLike, DatabaseLike
from tests.serve.conftest import Running

# Haystack would report what it runs to its makers.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server, of which each module uses collections of its own."""
    server = Running(tmp_path_factory.mktemp("served"))
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module", params=["local", "remote"])
def db(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseLike]:
    if request.param == "local":
        with bebr.open(tmp_path_factory.mktemp("ecosystem")) as local:
            yield local
    else:
        with request.getfixturevalue("served").connect() as client:
            yield client
            for name in client.collections():
                client.drop_collection(name)


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
