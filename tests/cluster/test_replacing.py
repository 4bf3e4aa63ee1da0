"""A root that is replaced at its own port, by another process, while clients search."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, closing

import bebr
from bebr.cluster.announcing import Announcing
from bebr.cluster.commands import Commands
from bebr.cluster.placing import Member
from bebr.cluster.watching import Watched
from bebr.store.database import Database
from tests.cluster.running import until


def test_no_search_fails_while_a_root_is_replaced_at_its_port(postgres, here, bz, vectors, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    url, segments = postgres.schema(), f"file://{tmp_path}/segments"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = Commands(url, segments, shards=2, port=port).of(Member("root", 0), "127.0.0.1")
    target, stop, answered, failed = f"127.0.0.1:{port}", threading.Event(), [], []

    def ask(client: bebr.Client) -> None:
        while not stop.is_set():
            try:
                answered.append(client.collection("docs").search(vectors[:1], 1).ids.tolist() == [[0]])
            except Exception as error:
                failed.append(error)

    with Database(url, segments=segments, cache=tmp_path / "a") as db, ExitStack() as stack:
        leaf = here.leaf(db)
        stack.callback(here.stop, leaf)
        stack.enter_context(closing(Announcing(url, leaf)))
        old = Watched(command)
        stack.callback(old.stop)
        until(lambda: old.state().address)
        # With a client's own retries: a connection that waits to be accepted when the old root stops is reset.
        clients = [stack.enter_context(bebr.connect(target)) for _ in range(3)]
        clients[0].create_collection("docs", bz).upsert(range(100), vectors[:100])
        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        stack.callback(lambda: (stop.set(), [thread.join() for thread in threads if thread.ident]))
        for thread in threads:
            thread.start()
        new = Watched(command)
        stack.callback(new.stop)
        until(lambda: new.state().address and len(answered) > 10)
        old.stop()  # by SIGTERM
        after = len(answered)
        until(lambda: len(answered) > after + 30 or failed)
        stop.set()
        for thread in threads:
            thread.join()
        assert failed == [] and all(answered)
