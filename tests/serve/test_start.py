"""How a server starts, whatever lies in its folder: it listens soon, and damage costs only its own collection."""

from __future__ import annotations

import hashlib
import json
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import bebr
from bebr.serve.front import make_front


@pytest.fixture
def health():
    """The health that a server reports under a name, e.g. "SERVING"; "NOT_FOUND" for a name that it does not know."""

    def check(server, name: str) -> str:
        with grpc.insecure_channel(server.target) as channel:
            try:
                request = health_pb2.HealthCheckRequest(service=name)
                reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=20)
            except grpc.RpcError as error:
                return str(error.code().name)
            return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)

    return check


def flipped(path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_damaged_collection_is_reported_and_the_others_are_served(start, health, tmp_path, bz, vectors, queries):
    with bebr.open(tmp_path) as db:
        for name in ("good", "bad"):
            before = set((tmp_path / "segments").iterdir())
            collection = db.create_collection(name, bz)
            collection.upsert(range(100), vectors[:100])
            collection.settle()
    (file,) = set((tmp_path / "segments").iterdir()) - before
    flipped(file, file.stat().st_size // 2)
    with start(tmp_path) as server, server.connect() as client:
        deadline = time.monotonic() + 20
        while file.name not in server.errors():  # found although nobody asks for the collection
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for _ in range(3):
            with pytest.raises(bebr.CorruptFile, match=file.name):
                client.collection("bad")
        assert server.errors().count(file.name) == 1  # a crowd of calls does not fill the log
        assert (client.collection("good").search(queries, 10).ids >= 0).all()
        assert [health(server, name) for name in ("", "collection/good", "collection/bad", "collection/none")] == [
            "SERVING",
            "SERVING",
            "NOT_SERVING",
            "NOT_FOUND",
        ]
        client.drop_collection("bad")
        assert health(server, "collection/bad") == "NOT_FOUND"
        client.create_collection("bad", bz)
        assert health(server, "collection/bad") == "SERVING"
        assert client.collections() == ["bad", "good"]


def test_a_model_that_this_version_does_not_know_costs_its_collections_only(start, health, tmp_path, bz, vectors):
    """As a newer version might write it: everything is whole, and the configuration says something unheard of."""
    with bebr.open(tmp_path) as db:
        db.create_collection("good", bz).upsert(range(10), vectors[:10])
        unknown = register_unknown(db, bz)
        db._catalog.create_collection("newer", unknown)
    with start(tmp_path) as server, server.connect() as client:
        assert len(client.collection("good")) == 10
        with pytest.raises(bebr.CorruptFile, match="hyperbolic"):
            client.collection("newer")
        assert health(server, "collection/newer") == "NOT_SERVING"
        assert bz.digest in [model.digest for model in client.models()]


def register_unknown(db, bz) -> str:
    """Stores a model of an unknown architecture the way a database stores models; its digest."""
    from safetensors.numpy import save

    data = save(bz.tensors, metadata={"bebr": json.dumps(bz.config | {"architecture": "hyperbolic"})})

    class Foreign:
        digest = hashlib.sha256(data).hexdigest()[:16]

        def to_bytes(self) -> bytes:
            return bytes(data)

    return db._models.add(Foreign())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("No module named 'bebr._front'"), "this bebr was built without libnghttp2"),
        (ImportError("libssl.so.3: cannot open shared object file"), "the front cannot be loaded: libssl.so.3: cannot"),
    ],
)
def test_why_there_is_no_front_is_said(monkeypatch, caplog, error, told):
    def absent(name):
        raise error

    monkeypatch.setattr("bebr.serve.front.importlib.import_module", absent)
    assert make_front(None, None, True, None, None, None) is None
    [record] = caplog.records
    assert record.getMessage().startswith(f"Python answers every call: {told}")
