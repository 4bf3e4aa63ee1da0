"""Which collections are served: those that are there, as of each call."""

from __future__ import annotations

import asyncio
import threading

import pytest

import bebr
from bebr.serve.registry import CollectionRegistry


def test_a_call_that_looked_before_a_collection_was_made_does_not_answer_for_later_ones(tmp_path, monkeypatch):
    """Many wait for one opening. One of a collection that was not there yet is no answer to who has just made it."""
    looked, made = threading.Event(), threading.Event()

    async def report(_name: str, _works: bool | None) -> None:
        pass

    async def calls(db: bebr.store.database.Database) -> None:
        registry = CollectionRegistry(db, report)
        find = registry._found

        def slow(name: str):
            try:
                return find(name)
            except KeyError:
                looked.set()
                assert made.wait(20)
                raise

        monkeypatch.setattr(registry, "_found", slow)
        try:
            early = asyncio.create_task(registry.served("docs"))
            assert await asyncio.to_thread(looked.wait, 20)
            db.create_collection("docs", dim=3)
            late = asyncio.create_task(registry.served("docs"))
            await asyncio.sleep(0)  # it waits beside the other
            made.set()
            with pytest.raises(KeyError):
                await early
            assert (await late).collection.name == "docs"
        finally:
            made.set()
            await registry.close()

    with bebr.open(tmp_path) as db:
        asyncio.run(calls(db))
