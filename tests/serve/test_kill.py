"""kill -9 at any moment: every acknowledged write is there after the restart, and nothing that was never sent."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest

import bebr


@pytest.mark.parametrize("seed", [0, 1])
def test_every_acknowledged_write_survives(start, tmp_path, bz, vectors, queries, seed):
    chance = random.Random(seed)
    acknowledged: dict[int, int] = {}  # id -> row of `vectors`
    sent: dict[int, set[int | None]] = {}  # id -> what an unacknowledged write may have made of it (None: deleted)
    dead = threading.Event()

    def write(client, part: int) -> None:
        """Upserts and deletes ids of its own (part, part + 2, ...) until the server dies."""
        collection = client.collection("docs")
        while not dead.is_set():
            ids = chance.sample(range(part, 600, 2), 20)
            rows = [chance.randrange(3000) for _ in ids]
            delete = chance.random() < 0.2
            for i, row in zip(ids, rows, strict=True):
                sent.setdefault(i, set()).add(None if delete else row)
            try:
                if delete:
                    collection.delete(ids)
                else:
                    collection.upsert(ids, vectors[rows], [{"row": row} for row in rows])
            except ConnectionError:
                return
            for i, row in zip(ids, rows, strict=True):
                sent.pop(i)
                if delete:
                    acknowledged.pop(i, None)
                else:
                    acknowledged[i] = row

    for life in range(3):
        with start(tmp_path) as server:
            client = server.connect()
            if life == 0:
                client.create_collection("docs", bz)
            dead.clear()
            writers = [threading.Thread(target=write, args=[client, part]) for part in range(2)]
            for writer in writers:
                writer.start()
            dead.wait(chance.uniform(0.1, 0.6))
            while not acknowledged and any(writer.is_alive() for writer in writers):  # on a busy machine
                time.sleep(0.01)
            if chance.random() < 0.5:
                client.collection("docs").flush()
            server.kill()
            dead.set()
            for writer in writers:
                writer.join(30)
            client.close()
        with bebr.open(tmp_path) as db:  # the next life starts a server here
            collection = db.collection("docs")
            hits = collection.search(queries[:1], 700, exact=True, with_payloads=True)
            found = {i: p["row"] for i, p in zip(hits.ids[0].tolist(), hits.payloads[0], strict=True) if i >= 0}
            assert len(found) == len(collection) > 0
            for i in range(600):
                allowed = {acknowledged.get(i), *sent.get(i, ())}
                assert found.get(i) in allowed, (i, found.get(i), allowed)
            # The codes too, not only the payloads, are those of the last write.
            fresh = bebr.FlatIndex(bz)
            fresh.add(vectors[list(found.values())], list(found))
            expected = fresh.search(queries[:1], 700, exact=True)
            np.testing.assert_array_equal(hits.ids, expected.ids)
            np.testing.assert_array_equal(hits.scores, expected.scores)
            acknowledged = found
            sent.clear()
