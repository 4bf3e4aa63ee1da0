"""No path from a request reaches the file system: paths and addresses in every string of every RPC."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

import bebr
from bebr.v1 import bebr_pb2 as pb

METHODS = [method for service in pb.DESCRIPTOR.services_by_name.values() for method in service.methods]
_OPENED, _MADE = 0x20, 0x100  # IN_OPEN, IN_CREATE
_TEXT = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


class Watch:
    """What was opened or made in a folder since, whoever did it, C++ too: inotify."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._file = libc.inotify_init1(os.O_NONBLOCK)
        assert self._file >= 0 and libc.inotify_add_watch(self._file, os.fsencode(folder), _OPENED | _MADE) >= 0

    def seen(self) -> list[str]:
        found: list[str] = []
        try:
            data = os.read(self._file, 1 << 16)
        except BlockingIOError:
            return found
        while data:
            length = struct.unpack_from("iIII", data)[3]
            found.append(data[16 : 16 + length].rstrip(b"\0").decode())
            data = data[16 + length :]
        return found


@pytest.fixture
def places(tmp_path) -> dict[str, Path]:
    """Folders: data, place (of snapshots), temporary, and outside with a file that nobody may open."""
    made = {name: tmp_path / name for name in ("data", "place", "temporary", "outside")}
    for folder in made.values():
        folder.mkdir()
    index = bebr.FlatIndex(bebr.untrained(64, 10))
    index.add(np.eye(64, dtype=np.float32))
    index.save(made["outside"] / "secret")
    return made


def strings(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    """Every field of text or bytes of a message, those inside others too."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            yield from strings(getattr(message, field.name))
        elif field.type in _TEXT:
            yield message, field


def put(message: Message, field: FieldDescriptor, text: str) -> None:
    value = text if field.type == FieldDescriptor.TYPE_STRING else b"s" + text.encode()
    if field.is_repeated:
        getattr(message, field.name)[:] = [value]
    else:
        setattr(message, field.name, value)


def requests(kind: type[Message], honest: Message, text: str) -> Iterator[Message]:
    """With the text in one field after the other, the rest as an honest client sends it; then in all of them."""
    for number in range(len(list(strings(kind())))):
        request = kind()
        request.CopyFrom(honest)
        put(*list(strings(request))[number], text)
        yield request
    request = kind()
    for message, field in strings(request):
        put(message, field, text)
    yield request


def test_no_path_from_a_request_reaches_the_file_system(places, bz, vectors):
    with bebr.open(places["data"]) as db:
        db.create_collection("docs", bz, text="body").upsert(range(9), vectors[:9], [{"body": "a b"}] * 9)
        db.set_alias("live", "docs")
        db.snapshot(places["place"])
    log = places["outside"].parent / "log"
    arguments = [sys.executable, "-m", "tests.serve.watched_server", places["data"], places["place"], log]
    environment = {**os.environ, "TMPDIR": str(places["temporary"])}
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        port = elsewhere.getsockname()[1]
        secret = places["outside"] / "secret"
        hostile = [
            *("../outside/secret", "../../../../../../../../etc/passwd", str(secret), str(secret.parent / "made")),
            *(f"file://{secret}", f"http://127.0.0.1:{port}/x", f"s3://127.0.0.1:{port}/x", f"{secret}\0.bebr", "."),
        ]
        process = subprocess.Popen(list(map(str, arguments)), stdout=subprocess.PIPE, text=True, env=environment)
        try:
            target = process.stdout.readline().split()[-1]
            watch = Watch(places["outside"])
            for text in hostile:
                ask_everything(target, bz, vectors, text)
        finally:
            process.terminate()
            process.communicate(timeout=30)
        assert process.returncode == 0
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert watch.seen() == []
    assert sorted(path.name for path in places["outside"].iterdir()) == ["secret"]
    own = [places["data"], places["place"], places["temporary"], *CODE]
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(event == "open" for event, _ in events)  # it is watched at all: snapshots were read
    for event, about in events:
        path = Path(about[0]).resolve() if about and about[0] else Path("/")
        special = path.is_relative_to("/proc") or str(path) == os.devnull
        harmless = event == "open" and (about[0].isdigit() or special)
        harmless |= event == "subprocess.Popen" and about[0].endswith("/ldconfig")  # how Python finds a library
        assert harmless or any(path.is_relative_to(one) for one in own), (event, about)


# What an import may open.
CODE = [Path(entry).resolve() for entry in (*sys.path, sys.prefix, sys.base_prefix) if entry]


def ask_everything(target: str, bz, vectors, text: str) -> None:
    columns = pb.Vectors(f32=vectors[:1].tobytes(), dimension=64, count=1)
    one = np.int64([1]).tobytes()
    honest = {
        "UpsertRequest": pb.UpsertRequest(collection="docs", ids=one, vectors=columns, payloads=["{}"]),
        "SearchRequest": pb.SearchRequest(collection="docs", queries=columns, k=1),
        "GetRequest": pb.GetRequest(collection="docs", ids=one),
        "ScrollRequest": pb.ScrollRequest(collection="docs", limit=1),
        "SetPayloadsRequest": pb.SetPayloadsRequest(collection="docs", ids=one, payloads=["{}"]),
        "DeleteRequest": pb.DeleteRequest(collection="docs", ids=np.int64([99]).tobytes()),
        "CountRequest": pb.CountRequest(collection="docs"),
        "CreateCollectionRequest": pb.CreateCollectionRequest(name="docs", dim=4),
        "MigrateCollectionRequest": pb.MigrateCollectionRequest(name="docs", model=bz.digest),
        "SetAliasRequest": pb.SetAliasRequest(alias="live", collection="docs"),
        "RestoreSnapshotRequest": pb.RestoreSnapshotRequest(collection="docs"),
    }
    with grpc.insecure_channel(target) as channel:
        for method in METHODS:
            kind = getattr(pb, method.input_type.name)
            path = f"/{method.containing_service.full_name}/{method.name}"
            for request in requests(kind, honest.get(kind.DESCRIPTOR.name, kind()), text):
                try:
                    channel.unary_unary(path)(request.SerializeToString(), timeout=20)
                except grpc.RpcError as error:
                    wrong = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED)
                    assert error.code() not in wrong, (path, request, error.details())
