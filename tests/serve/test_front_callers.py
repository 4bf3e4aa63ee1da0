"""Ids of calls and addresses of callers, whoever answers."""

from __future__ import annotations

import re

import grpc
import pytest

import bebr
from bebr.serve.convert import vectors_to_message
from bebr.serve.keys import KeyFile, Role
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc
from tests.serve.conftest import FRONT

FRONTS = [True, False] if FRONT else [False]


@pytest.fixture
def folder(tmp_path, bz, vectors):
    with bebr.open(tmp_path) as db:
        db.create_collection("docs", bz).upsert(range(100), vectors[:100], [{"n": i} for i in range(100)])
    return tmp_path


def searches(vectors):
    """One that a front answers itself, one that it forwards, and one that is refused."""
    queries = vectors_to_message(vectors[:1])
    yield pb.SearchRequest(collection="docs", queries=queries, k=3)
    yield pb.SearchRequest(collection="docs", queries=queries, k=3, group_by="n")
    yield pb.SearchRequest(collection="docs", queries=queries, k=0)


def id_of(call) -> str:
    found = [value for name, value in call.trailing_metadata() if name == "x-request-id"]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("front", FRONTS)
def test_replies_carry_the_callers_id_or_another(start, folder, vectors, front):
    with start(folder, front=front) as server, grpc.insecure_channel(server.target) as channel:
        made = []
        for given in (None, "mine:1", "x" * 128, "x" * 129, "a b", "a;b"):
            metadata = () if given is None else (("x-request-id", given),)
            for request in searches(vectors):
                try:
                    _, call = rpc.PointsStub(channel).Search.with_call(request, metadata=metadata, timeout=20)
                except grpc.RpcError as error:
                    call = error
                if given in ("mine:1", "x" * 128):
                    assert id_of(call) == given
                else:
                    made.append(id_of(call))
        assert len(set(made)) == len(made)
        assert all(re.fullmatch(r"[0-9a-f]{8}-\d+", one) for one in made)


@pytest.mark.parametrize("front", FRONTS)
def test_the_log_says_who_called(start, folder, vectors, front):
    with start(folder, front=front, slow_ms=0) as server:
        with grpc.insecure_channel(server.target) as channel:
            for i, request in enumerate(searches(vectors)):
                metadata = (("x-request-id", f"call-{i}"), ("x-bebr-peer", "ipv4:192.0.2.1:1"))  # a lie
                try:
                    rpc.PointsStub(channel).Search(request, metadata=metadata, timeout=20)
                except grpc.RpcError as error:
                    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            channel.unary_unary("/bebr.v1.Admin/Info")(b"", timeout=20)
        said = server.stop()
    lines = [line for line in said.splitlines() if "slow call" in line]
    peers = {re.search(r'peer="([^"]*)"', line).group(1) for line in lines}
    assert len(lines) == 4 and len(peers) == 1, said
    assert re.fullmatch(r"ipv4:127\.0\.0\.1:\d+", peers.pop())
    assert sorted(re.findall(r"bebr.serve.calls (call-\d)", said)) == ["call-0", "call-1", "call-2"]


@pytest.mark.parametrize("front", FRONTS)
def test_the_audit_log_says_who_called(start, folder, bz, front):
    file = KeyFile(folder)
    boss, reader = file.create("boss", Role.ADMIN), file.create("reader", Role.READ)
    with start(folder, front=front) as server:
        for token in (boss, reader):
            with grpc.insecure_channel(server.target) as channel:
                metadata = (("authorization", f"Bearer {token}"), ("x-bebr-peer", "ipv4:192.0.2.1:1"))
                request = pb.SetAliasRequest(alias="other", collection="docs").SerializeToString()
                try:
                    channel.unary_unary("/bebr.v1.Collections/SetAlias")(request, metadata=metadata, timeout=20)
                except grpc.RpcError as error:
                    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
        said = server.stop()
    found = re.findall(r"who=(\w+) .*result=(\w+) from=ipv4:127\.0\.0\.1:\d+\n", said)
    assert found == [("boss", "OK"), ("reader", "PERMISSION_DENIED")], said
