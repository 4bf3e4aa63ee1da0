"""Servers of a database that several processes share: `bebr serve postgresql://… --segments …`."""

from __future__ import annotations

import time

import numpy as np
import pytest

import bebr
from bebr.collection.protocol import DatabaseLocked
from bebr.serve.keys import KeyFile, Role


def until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def test_two_servers_answer_alike_and_one_writes(start, postgres, bz, vectors, queries, tmp_path):
    url, segments = postgres.schema(), f"file://{tmp_path}/segments"
    about = {"segments": segments, "lease_seconds": 600}
    with (
        start(url, cache=str(tmp_path / "a"), **about) as first,
        start(url, cache=str(tmp_path / "b"), **about) as second,
        first.connect() as one,
        second.connect() as other,
    ):
        docs = one.create_collection("docs", bz)
        docs.upsert(range(300), vectors[:300], [{"n": i} for i in range(300)])
        there = other.collection("docs")
        until(lambda: len(there) == 300)
        for options in ({}, {"filter": {"n": {"gte": 100}}}, {"exact": True, "with_payloads": True}):
            hits, same = docs.search(queries, 5, **options), there.search(queries, 5, **options)
            np.testing.assert_array_equal(hits.ids, same.ids)
            np.testing.assert_array_equal(hits.scores, same.scores)
            assert hits.payloads == same.payloads
        with pytest.raises(DatabaseLocked, match=r"'docs' is written by process .+, whose lease holds"):
            there.upsert([1], vectors[:1])
        first.stop()
        assert there.upsert([300], vectors[300:301]) == 1  # its leases ended with it
        other.drop_collection("docs")
        postgres.stop()
        try:
            with (
                bebr.connect(second.target, retries=0) as impatient,
                pytest.raises(ConnectionError, match="cannot be reached"),
            ):
                impatient.create_collection("more", bz)
        finally:
            postgres.start()


def test_keys_lie_in_a_folder_of_their_own(start, postgres, tmp_path):
    token = KeyFile(tmp_path / "keys").create("ann", Role.ADMIN)
    about = {"segments": f"file://{tmp_path}/segments", "cache": str(tmp_path / "a")}
    with start(postgres.schema(), key_folder=str(tmp_path / "keys"), **about) as server:
        with pytest.raises(PermissionError, match="asks for a key"):
            server.connect()
        with bebr.connect(server.target, token=token) as client:
            assert client.collections() == []
    with pytest.raises(RuntimeError, match=r"key_folder is .*, where no keys are"):
        start(postgres.schema(), key_folder=str(tmp_path), **about).__enter__()
