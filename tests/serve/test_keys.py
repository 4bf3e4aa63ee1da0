"""Keys and what they allow: who gets in, to what, and what the audit log says of it."""

from __future__ import annotations

import os
import re
import stat
import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import bebr
from bebr.serve.access import RULES
from bebr.serve.convert import vectors_to_message
from bebr.serve.keys import KeyFile, Role
from bebr.serve.steps import Ask
from bebr.v1 import bebr_pb2 as pb
from tests import commands

REQUESTS = int(os.environ.get("BEBR_KEY_REQUESTS", "300"))


@pytest.fixture(scope="module")
def guarded(start, tmp_path_factory, bz, vectors):
    """A server that asks for keys, its keys by name, and two collections of ten rows."""
    path = tmp_path_factory.mktemp("guarded")
    with bebr.open(path) as db:
        for name in ("mine", "other"):
            db.create_collection(name, bz).upsert(range(10), vectors[:10])
        db.set_alias("alias", "mine")
    file = KeyFile(path)
    keys = {role.name.lower(): file.create(role.name.lower(), role) for role in Role}
    keys["reads-mine"] = file.create("reads-mine", Role.READ, ["mine"])
    keys["runs-mine"] = file.create("runs-mine", Role.ADMIN, ["mine", "made"])
    with start(path) as server:
        server.keys, server.file = keys, file
        yield server


def connect(server, name: str):
    return bebr.connect(server.target, token=server.keys[name])


def every_method():
    for service in pb.DESCRIPTOR.services_by_name.values():
        yield from service.methods


def test_every_rpc_states_its_role_and_the_names_that_it_takes():
    assert set(RULES) == {f"{method.containing_service.name}/{method.name}" for method in every_method()}
    for method in every_method():
        naming = {"name", "collection", "alias"} & {field.name for field in method.input_type.fields}
        assert set(RULES[f"{method.containing_service.name}/{method.name}"].names) == naming, method.full_name


def test_calls_with_a_wrong_key_or_none_reach_no_handler(guarded):
    """BEBR_KEY_REQUESTS=10000 for many. Had one reached its handler, it would be answered otherwise: no message of
    these can be parsed."""
    right = guarded.keys["admin"]
    wrong = [
        (),
        (("authorization", "Bearer "),),
        (("authorization", right),),
        (("authorization", f"Basic {right}"),),
        (("authorization", f"Bearer {right[:-1]}"),),
        (("authorization", f"Bearer {right}x"),),
        (("authorization", f"Bearer {right}"), ("authorization", f"Bearer {right}")),
        (("authorization", "Bearer bebr_" + "A" * 5000),),
        (("authorization-bin", right.encode()),),
    ]
    methods = list(every_method())
    codes = set()
    with grpc.insecure_channel(guarded.target) as channel:
        for i in range(REQUESTS):
            method = methods[i % len(methods)]
            path = f"/{method.containing_service.full_name}/{method.name}"
            kind = channel.stream_unary if method.client_streaming else channel.unary_unary
            request = iter([b"\xff"]) if method.client_streaming else b"\xff"
            with pytest.raises(grpc.RpcError) as refused:
                kind(path)(request, metadata=wrong[i // len(methods) % len(wrong)], timeout=30)
            codes.add(refused.value.code())
            assert right not in refused.value.details() and "bebr keys" in refused.value.details()
    assert codes == {grpc.StatusCode.UNAUTHENTICATED}


def test_a_large_message_without_a_key_is_not_received(guarded):
    with grpc.insecure_channel(guarded.target) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/bebr.v1.Points/Search")(bytes(50 << 20), timeout=30)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_each_role_does_what_it_may_and_no_more(guarded, bz, vectors):
    for role, may in (("read", 1), ("write", 2), ("admin", 3)):
        with connect(guarded, role) as client:
            attempts = [
                (1, lambda c: c.collection("other").search(vectors[:1], 1)),
                (1, lambda c: c.model(bz.digest)),
                (2, lambda c: c.collection("other").upsert([3], vectors[3:4])),
                (2, lambda c: c.collection("other").flush()),
                (3, lambda c: c.set_alias("second", "other")),
                (3, lambda c: c.register_model(bz)),
            ]
            for needed, attempt in attempts:
                if needed <= may:
                    attempt(client)
                else:
                    with pytest.raises(PermissionError, match=rf"'{role}' has the role {role}, and .* needs"):
                        attempt(client)


def test_without_a_key_the_client_is_told_what_to_do(guarded):
    with pytest.raises(PermissionError, match=r"token=KEY.*bebr keys create"):
        bebr.connect(guarded.target)
    with pytest.raises(PermissionError, match="no key of this server, or it was revoked"):
        bebr.connect(guarded.target, token="bebr_wrong")


def test_a_key_of_some_collections_sees_and_reaches_these_alone(guarded, bz, vectors):
    with connect(guarded, "reads-mine") as client:
        assert client.collections() == ["mine"] and client.aliases() == {}
        assert len(client.collection("mine")) == 10
        for name in ("other", "alias", "not-there"):  # it does not learn which there are
            with pytest.raises(PermissionError, match=f"'reads-mine' is not granted '{name}'"):
                client.collection(name)
    with connect(guarded, "runs-mine") as client:
        client.create_collection("made", bz)
        client.drop_collection("made")
        with pytest.raises(PermissionError, match="not granted 'other'"):
            client.set_alias("made", "other")  # would be a way in
        with pytest.raises(PermissionError, match="not granted 'new'"):
            client.create_collection("new", bz)
        sent = {"ids": np.int64([1]).tobytes(), "vectors": vectors_to_message(vectors[:1]), "model": bz.digest}
        head = pb.UpsertRequest(collection="mine", **sent)
        with pytest.raises(PermissionError, match="not granted 'other'"):
            client._done(Ask("Points/UpsertStream", iter([head, pb.UpsertRequest(collection="other")])))


def test_health_is_open_but_that_of_a_collection_is_not(guarded):
    def health(name: str, key: str | None = None) -> str:
        metadata = () if key is None else (("authorization", f"Bearer {guarded.keys[key]}"),)
        with grpc.insecure_channel(guarded.target) as channel:
            stub, request = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest(service=name)
            answers = []
            for call in (lambda: stub.Check(request, metadata=metadata, timeout=20),
                         lambda: next(stub.Watch(request, metadata=metadata, timeout=20))):  # fmt: skip
                try:
                    status = call().status
                    answers.append(health_pb2.HealthCheckResponse.ServingStatus.Name(status))
                except grpc.RpcError as error:
                    answers.append(error.code().name)
        assert len(set(answers)) == 1
        return answers[0]

    assert health("") == health("bebr.v1.Points") == "SERVING"
    assert health("collection/mine") == health("collection/none") == "UNAUTHENTICATED"
    assert health("collection/mine", "reads-mine") == "SERVING"
    assert health("collection/other", "reads-mine") == "PERMISSION_DENIED"


def test_a_key_counts_from_the_call_after_it_is_made_until_it_is_revoked(guarded):
    token = guarded.file.create("brief", Role.READ)
    with bebr.connect(guarded.target, token=token) as client:
        assert "mine" in client.collections()
        guarded.file.revoke("brief")
        with pytest.raises(PermissionError, match="revoked"):
            client.collections()


def test_a_file_of_keys_that_is_damaged_or_gone_lets_nobody_in(guarded):
    path = guarded.file.path
    good = path.read_bytes()
    aside = path.with_name("aside")
    with connect(guarded, "read") as client:
        for damaged in (b"{", good.replace(b'"read"', b"1")):
            aside.write_bytes(damaged)
            aside.replace(path)
            with pytest.raises(PermissionError, match="cannot read its keys"):
                client.collections()
        path.unlink()
        with pytest.raises(PermissionError, match="no key of this server"):
            client.collections()
        aside.write_bytes(good)
        aside.replace(path)
        assert client.collections() == ["mine", "other"]


def test_admin_calls_are_in_the_audit_log_with_who_what_and_result(start, tmp_path, bz):
    file = KeyFile(tmp_path)
    boss, reader = file.create("boss", Role.ADMIN), file.create("reader", Role.READ)
    with start(tmp_path) as server:
        with bebr.connect(server.target, token=boss) as client:
            client.create_collection("docs", bz)
            with pytest.raises(ValueError):
                client.create_collection("docs", bz)
            client.drop_collection("docs")
        with bebr.connect(server.target, token=reader) as client, pytest.raises(PermissionError):
            client.drop_collection("docs")
        said = server.stop()
    lines = re.findall(r"bebr.audit \S+ (.*) from=ipv4:127\.0\.0\.1:\d+\n", said)
    assert [line for line in lines if "Models/Register" not in line] == [
        "who=boss call=Collections/Create what=name='docs' result=OK",
        "who=boss call=Collections/Create what=name='docs' result=ALREADY_EXISTS",
        "who=boss call=Collections/Drop what=name='docs' result=OK",
        "who=reader call=Collections/Drop what=- result=PERMISSION_DENIED",
    ]
    assert boss not in said and reader not in said


def test_a_server_does_not_listen_to_others_without_keys(start, tmp_path):
    with (
        pytest.raises(RuntimeError, match=r"host is '0\.0\.0\.0' and the folder has no keys"),
        start(tmp_path, host="0.0.0.0"),
    ):
        pass
    with start(tmp_path, host="0.0.0.0", insecure=True):
        pass
    KeyFile(tmp_path).create("someone", Role.READ)
    with start(tmp_path, host="0.0.0.0"):
        pass


def test_a_token_does_not_leave_this_machine_in_plain_text():
    with pytest.raises(ValueError, match="plain text"):
        bebr.connect("192.0.2.1", token="bebr_x")
    with pytest.raises(ValueError, match="printable ASCII"):
        bebr.connect("localhost", token="a\nb")


def test_the_folder_keeps_hashes_that_its_owner_alone_reads(tmp_path):
    file = KeyFile(tmp_path)
    token = file.create("app", Role.WRITE, ["docs"])
    assert len(token) == len("bebr_") + 43  # 256 bits
    assert token not in file.path.read_text() and stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert KeyFile(tmp_path).find(token).granted("docs") and not KeyFile(tmp_path).find(token).granted("others")
    with pytest.raises(ValueError, match="a key of that name"):
        file.create("app", Role.READ)
    for bad in ({"name": "a b"}, {"collections": []}, {"collections": ["/"]}):
        with pytest.raises(ValueError):
            file.create(**{"name": "good", "role": Role.READ, **bad})
    with pytest.raises(KeyError, match="no key 'none'"):
        file.revoke("none")


def test_keys_made_at_once_are_all_there(tmp_path):
    threads = [threading.Thread(target=KeyFile(tmp_path).create, args=(f"k{i}", Role.READ)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.name for key in KeyFile(tmp_path).current()) == [f"k{i}" for i in range(8)]


def test_keys_by_the_command_line(tmp_path):
    made = commands.done("keys", "create", tmp_path / "data", "app", "--role", "write", "-c", "docs")
    assert re.fullmatch(r"bebr_[\w-]{43}\n", made.stdout) and "first key" in made.stderr
    listed = commands.done("keys", "list", tmp_path / "data").stdout
    assert listed.startswith("app  write  docs  since 20") and made.stdout.strip() not in listed
    assert '"collections": ["docs"]' in commands.done("keys", "list", tmp_path / "data", "--json").stdout
    assert commands.done("keys", "revoke", tmp_path / "data", "app").stdout == "app: revoked\n"
    assert commands.done("keys", "list", tmp_path / "elsewhere").stderr == f"{tmp_path / 'elsewhere'}: no keys\n"
    assert commands.refused("keys", "revoke", tmp_path / "data", "app") == "error: no key 'app'\n"
