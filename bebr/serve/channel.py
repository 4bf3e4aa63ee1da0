"""How a client reaches its server: options of the channel, and which calls are repeated."""

from __future__ import annotations

import json
from pathlib import Path

import grpc

from bebr.serve.listening import is_loopback
from bebr.serve.target import host_of
from bebr.tls import TLS
from bebr.v1 import bebr_pb2 as pb

MOST_RETRIES = 4  # gRPC makes at most five attempts
# A first attempt may have succeeded unheard: `Client` looks before it goes on.
_ONCE = ("Create", "Drop", "Cutover", "Rollback", "Restore")
# gRPC leaves out messages of a stream that it sends again (seen with 1.85).
_STREAMS = ("UpsertStream",)
_RETRY = {
    "initialBackoff": "0.1s",
    "maxBackoff": "3s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


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


def open_channel(target: str, retries: int, tls: TLS | None) -> grpc.Channel:
    """A channel whose calls are repeated up to ``retries`` times where the server is away."""
    if retries not in range(MOST_RETRIES + 1):
        raise ValueError(f"retries is {retries!r}: want 0 to {MOST_RETRIES}")
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", -1),  # the server limits its replies
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_http_proxy", 0),  # a proxy for the web has no business between an application and its index
        # A server that comes back is found soon: by default the pauses between attempts to connect grow to minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.enable_retries", int(retries > 0)),
        ("grpc.per_rpc_retry_buffer_size", 2**31 - 1),  # by default only messages below 256 kB are repeated
    ]
    if retries:
        names = [
            {"service": service.full_name, "method": method.name}
            for service in pb.DESCRIPTOR.services_by_name.values()
            for method in service.methods
            if method.name not in (*_ONCE, *_STREAMS)
        ]
        config = {"methodConfig": [{"name": names, "retryPolicy": {"maxAttempts": retries + 1, **_RETRY}}]}
        options.append(("grpc.service_config", json.dumps(config)))
    if tls is None:
        return grpc.insecure_channel(target, options=options)
    if tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.secure_channel(target, _credentials(tls), options=options)


def _credentials(tls: TLS) -> grpc.ChannelCredentials:
    """``OSError`` for a file that cannot be read."""
    ca, key, certificate = (
        None if file is None else Path(file).read_bytes() for file in (tls.ca, tls.key, tls.certificate)
    )
    return grpc.ssl_channel_credentials(ca, key, certificate)
