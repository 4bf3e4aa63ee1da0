"""Why a client and a server did not come together: one spoke TLS, and the other did not. gRPC says only that the
connection was closed, or names a wrong version."""

from __future__ import annotations

import socket
import ssl

from bebr.serve.channel import Address
from bebr.serve.target import socket_address

_PATIENCE = 1.0  # seconds for each step of a question
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and settings, none
_SETTINGS = 4  # the type of the first frame of a server


def mismatch(address: Address) -> str | None:
    """What would be right, where the server at ``address`` speaks TLS and a client that found no answer did not, or the
    other way round; else None. Asks the server, for up to two seconds."""
    place = socket_address(address.target)
    if place is None:
        return None
    if address.tls is None and _speaks_tls(place):
        why = "it speaks TLS: connect with tls= (--tls-ca), the certificate of the authority that signed its own"
    elif address.tls is not None and _speaks_plain(place):
        why = "it does not speak TLS: connect without tls= (--tls-ca)"
    else:
        return None
    return f"no answer from the server at {address.target}, for {why}"


def _speaks_tls(place: tuple[str, str]) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is told to it
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection(place, _PATIENCE) as connection, context.wrap_socket(connection):
            return True
    except (OSError, ValueError):
        return False


def _speaks_plain(place: tuple[str, str]) -> bool:
    """Whether it speaks HTTP/2 without TLS."""
    try:
        with socket.create_connection(place, _PATIENCE) as connection:
            connection.sendall(_PREFACE)
            return connection.recv(4, socket.MSG_WAITALL)[3:] == bytes([_SETTINGS])
    except OSError:
        return False
