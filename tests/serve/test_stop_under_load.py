"""SIGTERM under load: no acknowledged write is lost, and no call that was accepted goes unanswered."""

from __future__ import annotations

import asyncio
import signal
import threading

import numpy as np
import pytest

import bebr

WRITERS = 4


@pytest.mark.parametrize("front", [True, False])
def test_a_stopping_server_loses_no_acknowledged_write_and_no_accepted_call(start, tmp_path, bz, vectors, front):
    if front:
        pytest.importorskip("bebr._front")
    with start(tmp_path, front=front, grace=120.0) as server:  # where the machine is busy, calls last
        with server.connect() as client:
            client.create_collection("docs", bz).upsert(range(3000), vectors)
        written: list[list[int]] = [[] for _ in range(WRITERS)]
        ended: list[str] = []

        def write(mine: list[int], number: int) -> None:
            with bebr.connect(server.target, retries=0) as client:
                docs = client.collection("docs")
                for i in range(10**6):
                    ids = 10_000 + 10 * (i * WRITERS + number) + np.arange(10)
                    try:
                        docs.upsert(ids, vectors[ids % 3000])
                    except ConnectionError:
                        ended.append("away")
                        return
                    mine += ids.tolist()

        threads = [threading.Thread(target=write, args=(mine, i)) for i, mine in enumerate(written)]
        for thread in threads:
            thread.start()

        async def search_and_stop() -> list[object]:
            async with await bebr.connect_async(server.target, retries=0) as client:
                docs = await client.collection("docs")
                long = np.repeat(vectors, 3, axis=0)  # in pieces of 256 queries, one after the other
                calls = [asyncio.create_task(docs.search(long, 50, exact=True)) for _ in range(4)]
                begun = server.computed()
                while server.computed() < begun + 0.3:  # until it has them: a busy machine takes its time
                    await asyncio.sleep(0.05)
                assert not any(call.done() for call in calls)
                server.process.send_signal(signal.SIGTERM)
                return await asyncio.gather(*calls, return_exceptions=True)

        answers = asyncio.run(search_and_stop())
        for thread in threads:
            thread.join()
        server.process.wait(120)
        assert server.process.returncode == 0, server.errors()
        assert ended == ["away"] * WRITERS
        for found in answers:
            assert not isinstance(found, BaseException), found
            assert (found.ids[:, 0] % 3000 >= 0).all() and found.ids.shape == (9000, 50)
    with bebr.open(tmp_path) as db:
        docs = db.collection("docs")
        acknowledged = sorted(id for mine in written for id in mine)
        assert acknowledged and all(row is not None for row in docs.get(acknowledged, payloads=False))
