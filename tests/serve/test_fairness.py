"""Who waits for whom: over the wire, with collections whose searches take as long as a test wants."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest

from bebr.errors import Cancelled
from bebr.index import Hits
from bebr.serve.limits import Limits
from bebr.serve.server import Server
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc


class Slow:
    """A collection whose searches with ``allow``, and whose writes, end when ``go`` is set."""

    closed = False
    snapshot = SimpleNamespace(keyed=False)

    def __init__(self, name: str, bz) -> None:
        self.name = name
        self.binarizer = bz
        self.go = threading.Event()
        self.searched: list[int] = []  # the queries of each search with ``allow`` that was begun
        self.stopped = 0
        self.deleted = 0

    def watch(self, seen) -> None:
        """Nothing of it changes, and all of its searches are Python's."""

    def search_snapshot(self, snapshot, vectors, options, allow, stop) -> Hits:
        if allow is not None:
            self.searched.append(len(vectors))
            while not self.go.wait(0.01):
                if stop.is_set:
                    self.stopped += 1
                    raise Cancelled("stopped")
        shape = len(vectors), options.k
        return Hits(np.zeros(shape, np.float32), np.zeros(shape, np.int64))

    def candidates(self, k: int) -> int:
        return k

    def begin_delete(self, ids) -> Future[int]:
        self.deleted += 1
        assert self.go.wait(30)
        done: Future[int] = Future()
        done.set_result(0)
        return done

    def __len__(self) -> int:
        return 0


class Collections:
    """What a server needs of a database. The collection "stuck" opens when ``go`` of it is set."""

    path = Path()

    def __init__(self, bz) -> None:
        self.all = {name: Slow(name, bz) for name in ("stuck", "crowded", "other")}

    def collections(self) -> list[str]:
        return list(self.all)

    def resolved(self, name: str) -> str:
        return name

    def watch_aliases(self, seen) -> None:
        """There are none."""

    def collection(self, name: str) -> Slow:
        if name == "stuck":
            assert self.all[name].go.wait(30)
        return self.all[name]


@pytest.fixture
def play(bz, vectors):
    """Runs scenario(collections, points, request); ``request`` makes a search, by default one that takes long."""

    def run(scenario) -> None:
        async def main() -> None:
            db = Collections(bz)
            server = Server(db, Limits())
            port = await server.start("127.0.0.1", 0)
            try:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    await asyncio.wait_for(scenario(db.all, rpc.PointsStub(channel), request), 30)
            finally:
                for collection in db.all.values():
                    collection.go.set()
                await server.stop(1)

        def request(name: str, rows: int = 1, long: bool = True) -> pb.SearchRequest:
            queries = pb.Vectors(f32=vectors[:rows].tobytes(), dimension=64, count=rows)
            options = {"allow": np.arange(3).tobytes()} if long else {}
            return pb.SearchRequest(collection=name, queries=queries, k=1, **options)

        asyncio.run(main())

    return run


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_a_collection_that_takes_long_to_open_holds_up_only_its_own_calls(play):
    """The server listened although "stuck" comes first; all other tests here find it in this state."""

    async def scenario(collections, points, request):
        waiting = [points.Search(request("stuck", long=False)) for _ in range(30)]
        late = points.Search(request("stuck", long=False), timeout=0.2)
        assert (await points.Search(request("other", long=False))).counts == [1]
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await late
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        collections["stuck"].go.set()
        for reply in await asyncio.gather(*waiting):
            assert reply.counts == [1]

    play(scenario)


def test_a_crowd_of_long_searches_holds_up_nothing_else(play):
    async def scenario(collections, points, request):
        crowd = [points.Search(request("crowded")) for _ in range(30)]
        await until(lambda: collections["crowded"].searched)
        collections["other"].go.set()
        assert (await points.Search(request("other"))).counts == [1]
        for name in ("other", "crowded"):  # searches without a filter do not even wait in the crowd's own collection
            assert (await points.Search(request(name, long=False))).counts == [1]
        assert len(collections["crowded"].searched) < 30
        collections["crowded"].go.set()
        await asyncio.gather(*crowd)

    play(scenario)


def test_a_crowd_of_writers_holds_up_no_other_collection(play):
    async def scenario(collections, points, request):
        ids = np.arange(3).tobytes()
        crowd = [points.Delete(pb.DeleteRequest(collection="crowded", ids=ids)) for _ in range(100)]
        await until(lambda: collections["crowded"].deleted > 1)
        collections["other"].go.set()
        assert (await points.Delete(pb.DeleteRequest(collection="other", ids=ids))).rows == 0
        assert (await points.Search(request("crowded", long=False))).counts == [1]
        collections["crowded"].go.set()
        await asyncio.gather(*crowd)

    play(scenario)


def test_a_search_whose_time_is_up_is_not_begun(play):
    async def scenario(collections, points, request):
        crowded = collections["crowded"]
        crowd = [points.Search(request("crowded")) for _ in range(10)]
        await until(lambda: crowded.searched)
        await asyncio.sleep(0.1)
        begun = len(crowded.searched)
        late = [points.Search(request("crowded", rows=2), timeout=0.2) for _ in range(5)]
        for call in late:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call
            assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.sleep(0.2)  # the server hears of it a moment later
        crowded.go.set()
        await asyncio.gather(*crowd)
        assert begun < 10 and crowded.searched == [1] * 10

    play(scenario)


def test_a_search_that_is_cancelled_or_late_stops_its_kernel(play):
    async def scenario(collections, points, request):
        crowded = collections["crowded"]
        call = points.Search(request("crowded", rows=2000))
        await until(lambda: crowded.searched)
        call.cancel()
        await until(lambda: crowded.stopped == 1)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await points.Search(request("crowded"), timeout=0.2)
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: crowded.stopped == 2)
        crowded.go.set()
        assert (await points.Search(request("crowded"))).counts == [1]
        assert crowded.searched == [256, 1, 1]  # of the 2,000 queries only the first piece was begun

    play(scenario)
