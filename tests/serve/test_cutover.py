"""A cutover that comes while a search is under way, after its model was looked up."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

import bebr
from bebr.serve import convert
from bebr.serve.admission import Budget
from bebr.serve.limits import Limits
from bebr.serve.registry import CollectionRegistry
from bebr.serve.services import Points
from bebr.store.database import Database
from bebr.v1 import bebr_pb2 as pb
from tests.store.test_streaming import new, old, other, stranger  # noqa: F401


@pytest.fixture
def docs(tmp_path, old, new, vectors, other):  # noqa: F811
    """A collection of 600 rows that have vectors of both producers."""
    with Database(tmp_path) as db:
        docs = db.create_collection("docs", old)
        docs.upsert(range(600), vectors[:600])
        docs.migrate(new, vectors=[(range(600), other[:600])])
        yield db, docs


def found(db: Database, meanwhile, model: bebr.Binarizer, q: np.ndarray) -> list[list[int]]:
    """The ids of the best 5 for each query; `meanwhile` comes once the server has looked up what the request names."""

    async def report(name: str, works: bool | None) -> None: ...

    async def ask() -> pb.SearchResponse:
        registry, limits = CollectionRegistry(db, report), Limits()
        look_up = registry.query_model

        async def query_model(*args):
            known = await look_up(*args)
            meanwhile()
            return known

        registry.query_model = query_model
        points = Points(registry, limits, Budget(limits.memory_bytes), coalesce=True)
        request = pb.SearchRequest(collection="docs", model=model.digest, k=5, queries=convert.vectors_to_message(q))
        try:
            return await points.Search(request)
        finally:
            await registry.close()

    return np.frombuffer(asyncio.run(ask()).ids, "<i8").reshape(-1, 5).tolist()


@pytest.mark.parametrize("producer", ["old", "new"])
def test_queries_of_either_producer_are_answered(docs, old, new, vectors, other, producer):  # noqa: F811
    db, collection = docs
    model, x = {"old": (old, vectors), "new": (new, other)}[producer]
    q = x[2600:2610]
    before = collection.search(q, 5, binarizer=model).ids.tolist()
    assert found(db, lambda: collection.cutover(keep_old=True), model, q) == before
    assert found(db, collection.rollback, model, q) == before
    if producer == "new":
        assert found(db, collection.cutover, model, q) == before


def test_queries_of_the_old_producer_are_refused_as_such_once_its_vectors_are_gone(docs, old, new, vectors):  # noqa: F811
    db, collection = docs
    with pytest.raises(bebr.IncompatibleModel, match=f"{old.digest} is not compatible with {new.digest}"):
        found(db, collection.cutover, old, vectors[2600:2610])
