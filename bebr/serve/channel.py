"""How a client reaches its server: its address, options of the channel, and which calls are repeated."""

from __future__ import annotations

import json
import os
from collections.abc import Container
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from google.protobuf.message import Message

from bebr.serve.listening import is_loopback
from bebr.serve.pem import read_certificates, read_pair
from bebr.serve.target import host_of, parse_target
from bebr.tls import TLS, as_tls
from bebr.v1 import bebr_pb2 as pb

SEARCH = "Points/Search"

TOKEN = "BEBR_TOKEN"
"""The variable that has the key."""

MOST_RETRIES = 4  # gRPC makes at most five attempts
# A server that stops cancels the calls that it has read and not begun.
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
# A first attempt may have succeeded unheard: `Client` looks before it goes on.
_ONCE = ("Create", "Drop", "Cutover", "Rollback", "Restore")
# gRPC leaves out messages of a stream that it sends again (seen with 1.85).
_STREAMS = ("UpsertStream",)
_RETRY = {
    "initialBackoff": "0.1s",
    "maxBackoff": "3s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": [code.name for code in RETRIED],
}


@dataclass(frozen=True)
class Address:
    """Where a client's server is, and how it is called. Pickled without its token, for pickles are kept and sent: where
    there was one, the variable BEBR_TOKEN must have it where it is unpickled."""

    target: str
    timeout: float | None
    retries: int
    tls: TLS | None
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @staticmethod
    def of(
        target: str,
        timeout: float | None,
        retries: int,
        token: str | None,
        tls: TLS | bool | str | os.PathLike[str] | None,
    ) -> Address:
        """``ValueError`` names what is wrong with one of them."""
        target, checked = parse_target(target), as_tls(tls)
        if retries not in range(MOST_RETRIES + 1):
            raise ValueError(f"retries is {retries!r}: want 0 to {MOST_RETRIES}")
        metadata = authorization(target, token, checked)
        return Address(target, _check_timeout(timeout), retries, checked, metadata)

    def within(self, timeout: float | None) -> Address:
        """With another time limit for each call."""
        return replace(self, timeout=_check_timeout(timeout))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.target, self.timeout, self.retries, bool(self.metadata), self.tls)

    def options(self) -> list[tuple[str, int | str]]:
        """Of a channel whose calls are repeated up to ``retries`` times where the server is away."""
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", -1),  # the server limits its replies
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_http_proxy", 0),  # a proxy for the web has no business between an application and its index
            # A server that comes back is found soon: by default the pauses between attempts to connect grow to minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.enable_retries", int(self.retries > 0)),
            ("grpc.per_rpc_retry_buffer_size", 2**31 - 1),  # by default only messages below 256 kB are repeated
        ]
        if self.retries:
            names = [
                {"service": service.full_name, "method": method.name}
                for service in pb.DESCRIPTOR.services_by_name.values()
                for method in service.methods
                if method.name not in (*_ONCE, *_STREAMS)
            ]
            config = {"methodConfig": [{"name": names, "retryPolicy": {"maxAttempts": self.retries + 1, **_RETRY}}]}
            options.append(("grpc.service_config", json.dumps(config)))
        if self.tls is not None and self.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options

    def credentials(self) -> grpc.ChannelCredentials | None:
        """None for plain text. ``OSError`` and ``ValueError`` for its files."""
        return None if self.tls is None else _credentials(self.tls)

    def aio_channel(self) -> grpc.aio.Channel:
        """Of the event loop that runs. Errors of `credentials`."""
        credentials, options = self.credentials(), self.options()
        if credentials is None:
            return grpc.aio.insecure_channel(self.target, options=options)
        return grpc.aio.secure_channel(self.target, credentials, options=options)


def _unpickled(target: str, timeout: float | None, retries: int, token: bool, tls: TLS | None) -> Address:
    key = None
    if token:
        key = os.environ.get(TOKEN)
        if not key:
            raise ValueError(f"the client of {target} had a token, which pickles leave out: set {TOKEN} here")
    return Address.of(target, timeout, retries, key, tls)


def _check_timeout(timeout: float | None) -> float | None:
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is {timeout!r}: want seconds above 0, or None")
    return timeout


def authorization(target: str, token: str | None, tls: TLS | None) -> tuple[tuple[str, str], ...]:
    """What each call says of who calls. ``ValueError`` for a token that others would read on its way."""
    if token is None:
        return ()
    if not (isinstance(token, str) and token.isascii() and token.isprintable() and token and " " not in token):
        raise ValueError("token is not as `bebr keys create` prints them: want printable ASCII without spaces")
    host = host_of(target)
    if tls is None and host is not None and not is_loopback(host):
        raise ValueError(f"token is given without tls, and {target} is another machine: it would travel in plain text")
    return (("authorization", f"Bearer {token}"),)


def _credentials(tls: TLS) -> grpc.ChannelCredentials:
    """``OSError`` for a file that cannot be read; ``ValueError`` for one that is not what it should be."""
    ca = None if tls.ca is None else read_certificates(tls.ca, "tls.ca")
    certificate, key = None, None
    if tls.certificate is not None and tls.key is not None:
        certificate, key = read_pair(tls.certificate, tls.key, ("tls.certificate", "tls.key"))
    return grpc.ssl_channel_credentials(ca, key, certificate)


def stubs_of(channel: Any, as_bytes: Container[str] = ()) -> dict[str, Any]:
    """What makes the calls of each method, "Points/Search", over a channel, blocking or not. A request is a message, or
    its bytes; ``as_bytes``: of which methods replies are bytes, too."""
    stubs = {}
    for service_name, service in pb.DESCRIPTOR.services_by_name.items():
        for method in service.methods:
            name = f"{service_name}/{method.name}"
            make = channel.stream_unary if method.client_streaming else channel.unary_unary
            stubs[name] = make(
                f"/{service.full_name}/{method.name}",
                request_serializer=_sent,
                response_deserializer=None if name in as_bytes else getattr(pb, method.output_type.name).FromString,
            )
    return stubs


def _sent(request: Message | bytes) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()
