"""Keys that the front looks at itself: it lets in whom Python lets in, and says to the others what Python says."""

from __future__ import annotations

import grpc
import pytest

import bebr
from bebr.serve.access import RULES
from bebr.serve.convert import vectors_to_message
from bebr.serve.keys import KeyFile, Role
from bebr.v1 import bebr_pb2 as pb
from tests.serve.fronted import Fronted, answered

pytest.importorskip("bebr._front", reason="built without libnghttp2")


@pytest.fixture
def folder(tmp_path, bz, vectors):
    with bebr.open(tmp_path) as db:
        for name in ("mine", "other"):
            db.create_collection(name, bz).upsert(range(10), vectors[:10])
        db.set_alias("alias", "mine")
    return tmp_path


def test_every_role_may_search():
    """The front looks at what a key is for, and at no role."""
    assert RULES["Points/Search"].role is min(Role)


def test_callers_are_told_what_python_tells_them(folder, vectors):
    file = KeyFile(folder)
    everything, mine = file.create("everything", Role.READ), file.create("reads-mine", Role.ADMIN, ["mine"])
    search = "/bebr.v1.Points/Search"
    keys = [
        *((), (("authorization", f"Bearer {everything}"),), (("authorization", f"Bearer {mine}"),)),
        *((("authorization", f"bearer {mine}"),), (("authorization", f"Bearer  {mine}"),)),
        *((("authorization", f"Bearer {mine[:-1]}"),), (("authorization", f"Basic {mine}"),)),
        *((("authorization", mine),), (("authorization", "Bearer "),), (("authorization", "Bearer ü"),)),
        (("authorization", f"Bearer {mine}"), ("authorization", f"Bearer {everything}")),
    ]
    names = ["mine", "other", "alias", "nothing", "", "it's", 'a"b', "ü", "a{}b", "x" * 200]
    queries = vectors_to_message(vectors[:1])
    calls = [(search, pb.SearchRequest(collection=name, queries=queries, k=3), key) for name in names for key in keys]
    calls += [
        ("/bebr.v1.Collections/Drop", pb.DropCollectionRequest(name="nothing"), ()),
        ("/bebr.v1.Collections/None", pb.DropCollectionRequest(name="nothing"), ()),
        ("/grpc.health.v1.Health/Check", pb.DropCollectionRequest(), ()),
        ("/nothing", pb.DropCollectionRequest(), keys[2]),
    ]

    def outcomes(served: Fronted) -> list[tuple[str, str]]:
        found = []
        with grpc.insecure_channel(served.target) as channel:
            for path, request, key in calls:
                metadata = [(name, value) for name, value in key if value.isascii()]
                try:
                    reply = channel.unary_unary(path)(request.SerializeToString(), metadata=metadata, timeout=20)
                    ids = pb.SearchResponse.FromString(reply).ids.hex() if path == search else reply.hex()
                    found.append(("OK", ids))
                except grpc.RpcError as error:
                    found.append((error.code().name, error.details()))
        served.stop()
        return found

    python = outcomes(Fronted(folder, keys=KeyFile(folder), front=False))
    fronted = Fronted(folder, keys=KeyFile(folder))
    assert outcomes(fronted) == python
    assert {code for code, _ in python} >= {"OK", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND"}
    assert fronted.last["answered"] >= 2 and fronted.last["denied"] > 30


def test_a_key_counts_until_it_is_revoked(folder, vectors):
    """Another process makes and revokes it: the front finds out with the next call."""
    file = KeyFile(folder)
    kept = file.create("kept", Role.READ)
    served = Fronted(folder, keys=KeyFile(folder))
    try:
        with bebr.connect(served.target, token=kept) as client:
            client.collection("mine").search(vectors[:1], 1)
            for _ in range(5):
                brief = file.create("brief", Role.READ, ["mine"])
                client.collections()  # Python reads the file that has changed
                with bebr.connect(served.target, token=brief) as other:
                    mine = other.collection("mine")
                    with answered(served, 1):
                        mine.search(vectors[:1], 1)
                    file.revoke("brief")
                    with answered(served, 0), pytest.raises(PermissionError, match="revoked"):
                        mine.search(vectors[:1], 1)
            with answered(served, 1):
                client.collection("mine").search(vectors[:1], 1)
            file.path.replace(file.path.with_name("gone"))
            with answered(served, 0), pytest.raises(PermissionError, match="no key of this server"):
                client.collection("mine").search(vectors[:1], 1)
    finally:
        served.stop()
