"""The server as a process: what it says of itself, how it stops, what it refuses."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from safetensors.numpy import save

import bebr
from bebr.training.compat.compatible import make_compatible
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc
from tests.serve.conftest import FRONT

SERVICES = {f"bebr.v1.{name}" for name in ("Collections", "Models", "Points", "Admin")}


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.target) as channel:
        yield channel


def status(call, *args) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call(*args)
    return error.value.code(), error.value.details()


def test_health(channel):
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", *SERVICES):
        reply = health.Check(health_pb2.HealthCheckRequest(service=name))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    code, _ = status(health.Check, health_pb2.HealthCheckRequest(service="bebr.v1.Nothing"))
    assert code == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_describes_the_services(channel, version):
    request = reflection_pb2.ServerReflectionRequest
    asked = iter([request(list_services=""), request(file_containing_symbol="bebr.v1.Points")])
    listed, described = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )(asked)
    assert {service.name for service in listed.list_services_response.service} >= SERVICES | {"grpc.health.v1.Health"}
    files = described.file_descriptor_response.file_descriptor_proto
    file = descriptor_pb2.FileDescriptorProto.FromString(files[0])
    methods = {service.name: [method.name for method in service.method] for service in file.service}
    assert methods == {name: [m.name for m in s.methods] for name, s in pb.DESCRIPTOR.services_by_name.items()}


def test_requests_of_other_clients_are_checked_too(client, channel, bz, vectors):
    """Whatever is wrong with the bytes has its status code and says what was got and wanted."""
    client.create_collection("raw", bz)
    points, collections, models = rpc.PointsStub(channel), rpc.CollectionsStub(channel), rpc.ModelsStub(channel)
    good = pb.Vectors(f32=vectors[:2].tobytes(), dimension=64, count=2)
    two = np.arange(2).tobytes()

    def upsert(ids=two, vectors=good, payloads=()):
        return points.Upsert(pb.UpsertRequest(collection="raw", ids=ids, vectors=vectors, payloads=payloads))

    def search(queries=good, k=1, **fields):
        return points.Search(pb.SearchRequest(collection="raw", queries=queries, k=k, **fields))

    def register(changed):
        data = save(bz.tensors, metadata={"bebr": json.dumps(bz.config | changed)})
        return models.Register(pb.RegisterModelRequest(data=data))

    assert upsert().rows == 2
    for call, words in [
        (lambda: upsert(ids=two[:-1]), "ids has 15 bytes"),
        (lambda: upsert(ids=two[:8]), "one id per row"),
        (lambda: upsert(vectors=pb.Vectors(dimension=64, count=2)), "neither f32 nor f16"),
        (lambda: upsert(vectors=pb.Vectors(f16=vectors[:2].tobytes(), dimension=64, count=2)), "vectors.f16 has 512"),
        (lambda: upsert(vectors=pb.Vectors(f32=vectors[:2].tobytes(), dimension=32, count=4)), "want (n, 64)"),
        (lambda: upsert(vectors=pb.Vectors(f32=b"", dimension=0, count=2)), "dimension is 0"),
        (lambda: upsert(vectors=pb.Vectors(f32=b"", dimension=2**32 - 1, count=2**32 - 1)), "has 0 bytes"),
        (lambda: upsert(payloads=["{}"]), "payloads has 1"),
        (lambda: upsert(payloads=["{}", "[1]"]), "payloads[1]"),
        (lambda: upsert(payloads=["{}", "[" * 100_000]), "payloads[1]"),
        (lambda: upsert(payloads=["{}", "{"]), "payloads[1]"),
        (lambda: upsert(payloads=["{}", '{"a": NaN}']), "NaN is not a number in JSON"),
        (lambda: upsert(payloads=["{}", '{"a": [-Infinity]}']), "-Infinity is not a number in JSON"),
        (lambda: upsert(payloads=["{}", '{"a": 1e999}']), "1e999 is too large"),
        (lambda: upsert(payloads=["{}", '{"a": "\\ud800"}']), "payloads[1]"),
        (lambda: register({"widths": "48"}), "widths is '48': want a list"),
        (lambda: register({"input_dim": None}), "input_dim is None: want a whole number"),
        (lambda: search(k=0), "k is 0"),
        (lambda: search(query=7), "query is 7"),
        (lambda: search(oversampling=0), "oversampling is 0"),
        (lambda: search(allow=b"123"), "allow has 3 bytes"),
        (lambda: search(queries=pb.Vectors(f32=b"", dimension=64, count=0)), "at least one"),
        (lambda: collections.Create(pb.CreateCollectionRequest(name="a/b", model=bz.digest)), "name is 'a/b'"),
    ]:
        code, details = status(call)
        assert code == grpc.StatusCode.INVALID_ARGUMENT and words in details, details
    assert len(client.collection("raw")) == 2

    missing = pb.SearchRequest(collection="missing", queries=good, k=1)
    for call, words in [
        (lambda: points.Search(missing), "missing"),
        (lambda: models.Get(pb.GetModelRequest(digest="0")), "no model"),
        (lambda: collections.Create(pb.CreateCollectionRequest(name="new", model="0")), "no model"),
        (lambda: points.GetPayloads(pb.GetPayloadsRequest(collection="raw", ids=np.arange(3).tobytes())), "id 2 "),
    ]:
        code, details = status(call)
        assert code == grpc.StatusCode.NOT_FOUND and words in details, details
    code, details = status(collections.Create, pb.CreateCollectionRequest(name="raw", model=bz.digest))
    assert code == grpc.StatusCode.ALREADY_EXISTS and "raw" in details
    code, details = status(search, good, 1 << 20)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "65536" in details
    code, details = status(models.Register, pb.RegisterModelRequest(data=b"no model at all"))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "binarizer" in details
    code, details = status(lambda: search(model="0123456789abcdef"))
    assert code == grpc.StatusCode.FAILED_PRECONDITION and bz.digest in details
    assert search(model=bz.digest).counts == [1, 1]


def test_queries_of_another_model_are_refused(client, bz, vectors):
    """The name is taken over by a collection of another model while a client holds the old one."""
    collection = client.create_collection("taken-over", bz)
    client.drop_collection("taken-over")
    client.create_collection("taken-over", bebr.train(vectors, widths=[32], seed=0))
    with pytest.raises(bebr.IncompatibleModel, match=bz.digest):
        collection.search(vectors[:1])


def test_a_newer_model_must_be_registered(client, bz, vectors):
    plain = bebr.train(vectors, widths=[32], seed=1)
    newer = make_compatible(plain, bz, vectors, vectors, epochs=0)
    collection = client.create_collection("older", bz)
    collection.upsert(range(100), vectors[:100])
    with pytest.raises(bebr.IncompatibleModel, match="not registered"):
        collection.search(vectors[:2], binarizer=newer)
    client.register_model(newer)
    assert collection.search(vectors[:2], binarizer=newer).ids[:, 0].tolist() == [0, 1]


def test_waiting_searches_are_coalesced(client, server, bz, vectors, queries):
    collection = client.create_collection("crowd", bz)
    collection.upsert(range(3000), vectors)
    expected = collection.search(queries, 10)
    before = collection.stats().batching

    async def ask_at_once():
        async with await bebr.connect_async(server.target) as crowd:
            docs = await crowd.collection("crowd")
            return await asyncio.gather(*(docs.search(query, 10) for query in queries[:50]))

    for found, wanted in zip(asyncio.run(ask_at_once()), expected.ids, strict=True):
        np.testing.assert_array_equal(found.ids[0], wanted)
    after = collection.stats().batching
    assert after.requests - before.requests == after.queries - before.queries == 50
    assert after.batches - before.batches < 50  # joined, at least some
    assert after.largest >= 50  # the batch of `expected`


def test_without_coalescing_the_answers_are_the_same(start, client, bz, vectors, queries, tmp_path):
    collection = client.create_collection("joined", bz)
    collection.upsert(range(500), vectors[:500])
    with start(tmp_path, coalesce=False) as alone, alone.connect() as other:
        assert other.info()["coalesce"] is False
        copy = other.create_collection("alone", bz)
        copy.upsert(range(500), vectors[:500])
        for mine, theirs in zip(collection.search(queries, 10)[:2], copy.search(queries, 10)[:2], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert copy.stats().batching.batches == 0


def test_limits_are_stated_and_the_client_keeps_to_them(start, tmp_path, bz, vectors, queries):
    with start(tmp_path, max_message_bytes=64 * 1024) as server, server.connect() as client:
        assert client.info()["limits"]["message_bytes"] == 64 * 1024
        collection = client.create_collection("docs", bz)
        assert collection.upsert(range(3000), vectors, [{"n": i} for i in range(3000)]) == 3000  # 768 KB: in pieces
        assert collection.delete(range(2990, 3000)) == 10
        hits = collection.search(np.repeat(queries, 20, axis=0), 3, with_payloads=True)  # 256 KB of queries
        assert hits.ids.shape == (1000, 3)
        assert hits.payloads[0] == [{"n": i} for i in hits.ids[0].tolist()]
        for piece in range(20):
            np.testing.assert_array_equal(hits.ids[piece::20], hits.ids[::20])
        with pytest.raises(bebr.LimitExceeded, match="65536"):
            collection.upsert([1, 2], vectors[:2], [None, {"text": "x" * 100_000}])
        with pytest.raises(bebr.LimitExceeded, match="65536"):  # 50 * 2 * 900 bytes of payload in one reply
            collection.upsert([1, 2], vectors[:2], [{"text": "x" * 900}] * 2)
            collection.search(queries, 2, allow=[1, 2], with_payloads=True)
        with grpc.insecure_channel(server.target) as channel:
            large = pb.Vectors(f32=np.zeros((1000, 64), np.float32).tobytes(), dimension=64, count=1000)
            request = pb.SearchRequest(collection="docs", queries=large, k=1)
            code, details = status(rpc.PointsStub(channel).Search, request)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "65536" in details


def test_stop_finishes_calls_in_progress_and_frees_the_folder(start, tmp_path, bz, vectors):
    with start(tmp_path) as server:
        client = server.connect()
        collection = client.create_collection("docs", bz)
        health = health_pb2_grpc.HealthStub(grpc.insecure_channel(server.target))
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        written, ended = [], []

        def write() -> None:
            try:
                for i in range(10_000):
                    collection.upsert([i], vectors[:1])
                    written.append(i)
            except ConnectionError as error:
                ended.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        while len(written) < 20:
            time.sleep(0.005)
        server.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        writer.join(30)
        assert ended  # ConnectionError, and no other error
        server.process.communicate(timeout=8)  # it waited for calls, not for the whole grace period
        said = [line for line in server.errors().splitlines() if " INFO bebr.audit " not in line]
        assert (server.process.returncode, said) == (0, [])
        client.close()
    with bebr.open(tmp_path) as db:
        assert len(db.collection("docs")) in (len(written), len(written) + 1)
        assert None not in db.collection("docs").get(written)


@pytest.mark.parametrize("front", [True, False] if FRONT else [False])
def test_who_watches_its_health_is_told_that_it_stops_and_not_waited_for(start, tmp_path, front):
    with start(tmp_path, front=front) as server, grpc.insecure_channel(server.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest(service=name)) for name in ("", "collection/none")]
        assert [next(watch).status for watch in watches] == [
            health_pb2.HealthCheckResponse.SERVING,
            health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
        ]
        server.process.terminate()
        server.process.communicate(timeout=8)  # the grace period has ten seconds
        assert (server.process.returncode, server.errors()) == (0, "")
        assert next(watches[0]).status == health_pb2.HealthCheckResponse.NOT_SERVING
        for watch in watches:
            with pytest.raises(grpc.RpcError) as error:
                next(watch)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("front", [True, False] if FRONT else [False])
def test_a_client_that_asks_nothing_just_now_is_not_waited_for(start, tmp_path, bz, vectors, front):
    with start(tmp_path, front=front) as server, server.connect() as client:
        collection = client.create_collection("docs", bz)
        collection.upsert([1], vectors[:1])
        collection.search(vectors[:1], k=1)  # over a connection that nobody looks at until the next search
        server.process.terminate()
        server.process.communicate(timeout=8)  # the grace period has ten seconds
        assert server.process.returncode == 0


def test_an_address_or_a_folder_in_use_is_an_error(start, server, tmp_path):
    port = int(server.target.split(":")[1])
    with pytest.raises(RuntimeError, match=f"OSError: cannot listen on 127.0.0.1:{port}"), start(tmp_path, port=port):
        pass
    with bebr.open(tmp_path), pytest.raises(RuntimeError, match="DatabaseLocked"), start(tmp_path):
        pass


def test_an_unreachable_server_is_a_connection_error():
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=target):
            bebr.connect(target)


def test_a_closed_client_says_so(server):
    client = server.connect()
    client.close()
    with pytest.raises(ValueError, match="closed"):
        client.collections()
