"""Searches of the blocking client past gRPC's own: over connections of `bebr._front`, where these do what was asked
for. What they cannot settle themselves is asked again by gRPC, which has the pauses and repeats of the service config:
a search changes nothing."""

from __future__ import annotations

import importlib
import os
from typing import Any
from urllib.parse import unquote

import grpc

from bebr.serve.answers import Answer, message_of, read_answer
from bebr.serve.channel import RETRIED, SEARCH, Address
from bebr.serve.status import error_of_status
from bebr.serve.steps import Search
from bebr.serve.target import socket_address

_PATH = f"/bebr.v1.{SEARCH}"
# Searches of one client at a time; gRPC has one connection for all others.
_MOST = 32
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def direct_searches(address: Address) -> tuple[Direct | None, str]:
    """None where searches go by gRPC; and how they go, in words."""
    place = socket_address(address.target)
    if address.tls is not None:
        return None, "by gRPC: under TLS"
    if place is None:
        return None, "by gRPC: the target is for gRPC to resolve"
    try:
        extension = importlib.import_module("bebr._front")
    except ImportError:
        return None, "by gRPC: bebr was built without libnghttp2"
    host, port = place
    headers = list(address.metadata)
    caller = extension.Caller(host=host, port=port, authority=address.target, headers=headers, most=_MOST)
    return Direct(caller, address), "direct"


class Direct:
    """Safe to use from many threads, not in the child of a fork."""

    def __init__(self, caller: Any, address: Address) -> None:
        self._caller, self._target, self._repeats = caller, address.target, address.retries > 0
        self._process = os.getpid()

    def search(self, asked: Search, timeout: float | None) -> Answer | None:
        """None: it is to be asked by gRPC. Errors of `error_of_status`, among them those that the server answered, and
        of `read_answer`; an exception of a signal's handler."""
        if os.getpid() != self._process:
            return None
        how = asked.width, asked.ascending, asked.whole
        failed, scores, ids, reply = self._caller.search(_PATH, asked.head, asked.queries, timeout, *how)
        if failed is None:
            if scores is None:
                return read_answer(reply, asked)
            return Answer(scores, ids, None if reply is None else message_of(reply))
        outcome, status, message = failed
        if outcome == "answered":
            code = _CODES.get(status, grpc.StatusCode.UNKNOWN)
            if code in RETRIED and self._repeats:
                return None
            raise error_of_status(code, unquote(message.decode()), self._target)
        if outcome == "late":
            raise error_of_status(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", self._target)
        return None

    def close(self) -> None:
        if os.getpid() == self._process:
            self._caller.close()
