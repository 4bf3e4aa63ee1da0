"""The contract bebr.v1 may only grow: every message, field, enum value and RPC of ``bebr.v1.txt`` stays as it is.

``python -m tests.serve.test_descriptor`` records what is new, and refuses to forget what was there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from bebr.v1 import bebr_pb2 as pb

RECORDED = Path(__file__).parent / "golden" / "bebr.v1.txt"


def described() -> list[str]:
    """One line for each part of the contract, sorted."""
    file = FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    return sorted([f"package {file.package} ({file.syntax})", *_services(file), *_messages(file), *_enums(file)])


def _services(file: FileDescriptorProto) -> Iterator[str]:
    for service in file.service:
        for method in service.method:
            sent = f"{'stream ' * method.client_streaming}{method.input_type}"
            answered = f"{'stream ' * method.server_streaming}{method.output_type}"
            yield f"rpc {service.name}.{method.name}({sent}) returns ({answered})"


def _messages(file: FileDescriptorProto) -> Iterator[str]:
    pairs = [(message.name, message) for message in file.message_type]
    for name, message in pairs:  # grows
        pairs += [(f"{name}.{inner.name}", inner) for inner in message.nested_type]
        yield f"message {name}"
        yield from _enums(message, f"{name}.")
        for field in message.field:
            label = FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower()
            kind = field.type_name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
            one_of = f" in {message.oneof_decl[field.oneof_index].name}" if field.HasField("oneof_index") else ""
            yield f"message {name}: {label} {kind} {field.name} = {field.number}{one_of}"


def _enums(holder: FileDescriptorProto | DescriptorProto, prefix: str = "") -> Iterator[str]:
    for enum in holder.enum_type:
        for value in enum.value:
            yield f"enum {prefix}{enum.name}: {value.name} = {value.number}"


def test_nothing_of_the_contract_is_gone_or_changed():
    gone = set(RECORDED.read_text().splitlines()) - set(described())
    assert not gone, f"clients rely on {sorted(gone)}: fields and RPCs are only added"


def test_what_is_new_is_recorded():
    new = set(described()) - set(RECORDED.read_text().splitlines())
    assert not new, f"record it by `python -m tests.serve.test_descriptor`: {sorted(new)}"


if __name__ == "__main__":
    before = set(RECORDED.read_text().splitlines()) if RECORDED.exists() else set()
    if before - set(described()):
        sys.exit(f"gone or changed: {sorted(before - set(described()))}")
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text("".join(line + "\n" for line in described()))
