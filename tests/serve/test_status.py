"""Codes of errors, and the client's exceptions for codes that no test can make a real server send on purpose."""

from __future__ import annotations

import errno

import grpc
import pytest

from bebr.collection.protocol import DatabaseLocked
from bebr.serve.status import error_of, status_of


class Failed(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "what grpc said"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, ConnectionError),
        (grpc.StatusCode.CANCELLED, ConnectionError),  # how a call ends that a stopping server had not taken yet
        (grpc.StatusCode.UNIMPLEMENTED, ConnectionError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TimeoutError),
        (grpc.StatusCode.NOT_FOUND, KeyError),
        (grpc.StatusCode.INTERNAL, RuntimeError),
    ],
)
def test_a_failed_call_is_the_exception_of_its_code(code, kind):
    error = error_of(Failed(code), "host:1")
    assert type(error) is kind
    assert "what grpc said" in str(error)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE])
def test_what_the_system_runs_out_of_is_a_limit(number):
    code, details = status_of(OSError(number, "some words", "/the/folder/file"))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "/the/folder" not in details  # where the data lies is not for clients


def test_another_failure_of_the_system_is_a_fault_of_the_server():
    assert status_of(OSError(errno.EIO, "a failing disk")) is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DatabaseLocked("another one writes it"), grpc.StatusCode.ABORTED),
        (ConnectionError("PostgreSQL cannot be reached"), grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_what_others_are_the_reason_of_comes_back_as_it_was(error, code):
    found, details = status_of(error)
    assert found == code and details in str(error)
    failed = Failed(code)
    failed.details = lambda: details
    assert type(error_of(failed, "host:1")) is type(error)
