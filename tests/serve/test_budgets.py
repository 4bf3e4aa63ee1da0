"""What the data of a server may take: refused early, with its limit and what was asked; what frees space works."""

from __future__ import annotations

import asyncio
import os
import subprocess

import numpy as np
import pytest

import bebr
from bebr.serve.budgets import Budgets, Most, folder_bytes
from tests import commands


def test_rows_are_counted_over_all_collections_and_with_those_on_their_way(start, tmp_path, bz, vectors):
    with start(tmp_path, max_rows=1000) as server, server.connect() as client:
        docs, others = client.create_collection("docs", bz), client.create_collection("others", bz)
        docs.upsert(range(600), vectors[:600])
        others.upsert(range(300), vectors[:300])
        with pytest.raises(bebr.LimitExceeded, match=r"rows: 900 of the 1000 .* asks for 101 more; .* max_rows"):
            docs.upsert(range(600, 701), vectors[:101])
        assert len(docs) == 600
        docs.upsert(range(500, 700), vectors[:200])  # 100 of them are there
        docs.upsert(range(700), vectors[:700])  # at the limit rows can be replaced
        with pytest.raises(bebr.LimitExceeded, match="1000 of the 1000"):
            others.upsert(["new"], vectors[:1])
        assert docs.delete(range(10)) == 10
        others.upsert(["new"], vectors[:1])

        async def at_once():
            async with await bebr.connect_async(server.target) as client:
                collection = await client.collection("others")
                writes = (collection.upsert([1000 + i], vectors[i : i + 1]) for i in range(50))
                return await asyncio.gather(*writes, return_exceptions=True)

        assert sum(one == 1 for one in asyncio.run(at_once())) == 9
        assert len(docs) + len(others) == 1000
        assert client.info()["limits"]["rows"] == 1000


def test_metrics_say_what_is_taken(tmp_path):
    (tmp_path / "file").write_bytes(bytes(100))
    budgets = Budgets(Most(rows=9, collections=3, disk_bytes=1000), tmp_path, lambda: 7, lambda: 2)
    assert budgets.used() == {"rows": 7, "collections": 2, "disk_bytes": 100}


def test_a_stream_of_upserts_says_how_many_rows_are_written(start, tmp_path, bz):
    many = np.random.default_rng(0).standard_normal((60_000, 64)).astype(np.float32)  # several messages
    with start(tmp_path, max_rows=40_000) as server, server.connect() as client:
        docs = client.create_collection("docs", bz)
        with pytest.raises(bebr.LimitExceeded, match=r"rows: .*first \d+ rows are written"):
            docs.upsert(range(len(many)), many)
        assert 0 < len(docs) <= 40_000


def test_collections_are_counted_and_dropping_makes_room(start, tmp_path, bz):
    with start(tmp_path, max_collections=2) as server, server.connect() as client:
        for name in ("a", "b"):
            client.create_collection(name, bz)
        with pytest.raises(bebr.LimitExceeded, match=r"collections: 2 of the 2 .* asks for 1 more; drop one"):
            client.create_collection("c", bz)
        client.create_collection("b", bz, exist_ok=True)
        client.drop_collection("a")
        client.create_collection("c", bz)


def test_disk_has_a_budget_and_what_frees_space_works_at_its_end(start, tmp_path, bz, vectors):
    with bebr.open(tmp_path) as db:
        db.create_collection("docs", bz).upsert(range(100), vectors[:100])
        db.create_collection("more", bz).upsert(range(100), vectors[:100])
    most = folder_bytes(tmp_path) + 200_000
    with start(tmp_path, max_disk_bytes=most) as server, server.connect() as client:
        docs = client.collection("docs")
        with pytest.raises(bebr.LimitExceeded, match=rf"disk_bytes: \d+ of the {most} .* the upsert asks for \d+ more"):
            for i in range(100, 200):
                docs.upsert([i], vectors[i : i + 1], [{"text": "x" * 10_000}])
        rows = len(docs)
        assert 100 <= rows < 130 and folder_bytes(tmp_path) < 2 * most
        with pytest.raises(bebr.LimitExceeded, match="the payloads ask"):
            for i in range(100):
                docs.set_payloads([i], [{"text": "x" * 10_000}])
        assert docs.delete([0, 1]) == 2 and docs.truncate() == rows - 2
        client.drop_collection("more")
        docs.flush()


def test_memory_of_the_process_has_a_budget(start, tmp_path, bz, vectors):
    with start(tmp_path, max_process_bytes=1 << 20) as server, server.connect() as client:
        with pytest.raises(
            bebr.LimitExceeded, match=r"process_bytes: \d+ of the 1048576 .* the model asks for \d+ more"
        ):
            client.register_model(bz)
        assert client.collections() == []


def test_a_reply_may_be_smaller_than_a_request(start, tmp_path, bz, vectors):
    with start(tmp_path, max_reply_bytes=10_000) as server, server.connect() as client:
        docs = client.create_collection("docs", bz)
        docs.upsert(range(2000), vectors[:2000], [{"text": "x" * 3000}] * 2000)
        with pytest.raises(
            bebr.LimitExceeded, match=r"the reply would have \d+ bytes.* at most 10000 \(max_reply_bytes\)"
        ):
            docs.search(vectors[0], 5, with_payloads=True)
        assert len(docs.scroll(limit=100)) == 100  # in as many replies as it needs
        assert docs.search(vectors[:20], 100).ids.shape == (20, 100)


def test_limits_are_options_and_are_checked(tmp_path):
    said = commands.done("serve", tmp_path, "--max-rows", 5, "--max-disk-mb", 7, "--print-config").stdout
    assert (
        "max_rows = 5  # flag" in said and "max_disk_mb = 7  # flag" in said and "# max_collections is not set" in said
    )
    with pytest.raises(ValueError, match="max_rows is 0"):
        Most(rows=0)


def test_a_budget_without_limits_asks_for_nothing(tmp_path):
    budgets = Budgets(Most(), tmp_path / "not there", lambda: 1 / 0, lambda: 1 / 0)
    budgets.check_bytes(1 << 60, "all of it")
    assert not budgets.limited and budgets.rows_left() is None and budgets.used() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_deletes_and_drops_work_on_a_full_disk(start, tmp_path, bz, vectors):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "none", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        with start(place / "data") as server, server.connect() as client:
            docs, more = client.create_collection("docs", bz), client.create_collection("more", bz)
            more.upsert(range(100), vectors[:100])
            with pytest.raises(bebr.LimitExceeded):
                for i in range(1000):
                    docs.upsert([i], vectors[i : i + 1], [{"text": "x" * 50_000}])
            rows = len(docs)
            assert docs.delete([0, 1, 2]) == 3 and len(docs) == rows - 3
            client.drop_collection("docs")
            assert client.collections() == ["more"]
            assert more.upsert(range(100, 200), vectors[100:200]) == 100  # there is room again
    finally:
        subprocess.run(["umount", place], check=True)


def test_memory_is_no_budget_on_a_system_that_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr("bebr.serve.budgets._STATM", tmp_path / "statm")
    assert Most(rows=5).process_bytes is None
    with pytest.raises(ValueError, match=r"max_process_bytes is 5: want None on a system without .*statm"):
        Most(process_bytes=5)
