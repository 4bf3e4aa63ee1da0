"""Calls of gRPC over HTTP/2 in plain text (RFC 9113), one outstanding on each connection.

Headers are literals that no table keeps, and the server is asked for a table of no bytes, so that a block of headers
means the same wherever it comes.
"""

from __future__ import annotations

import re
import socket
import struct

from benchmarks.wires.base import received

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
TABLE_SIZE, INITIAL_WINDOW = 1, 4  # settings

_HEAD = struct.Struct(">HBBBI")
_WINDOW, _FRAME = 65_535, 16_384  # what both sides begin with
# The field grpc-status with the value 0, in letters or in Huffman's code (RFC 7541, appendix B).
_GOOD = re.compile(rb"(?:\x0bgrpc-status|\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f)(?:\x010|\x81\x07)")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


def headers(path: str) -> bytes:
    """Of a call, as literals that no table keeps (RFC 7541, 6.2.2)."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
    fields["content-type"] = "application/grpc"
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


def call(path: str, body: bytes) -> bytes:
    """Two frames, of a stream that `on_stream` gives them. ``ValueError`` where the body takes a third."""
    sent = b"\0" + struct.pack(">I", len(body)) + body
    if len(sent) > _FRAME:
        raise ValueError(f"a request of {len(sent):,} bytes, a frame has at most {_FRAME:,}")
    return frame(HEADERS, END_HEADERS, 0, headers(path)) + frame(DATA, END_STREAM, 0, sent)


def on_stream(called: bytes, stream: int) -> bytes:
    data, number = _HEAD.size + int.from_bytes(called[:3], "big"), struct.pack(">I", stream)
    return b"".join((called[:5], number, called[9 : data + 5], number, called[data + 9 :]))


class Calls:
    """A connection: the settings of both sides are exchanged once it is there."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._stream, self._got = -1, b""
        self._room = self._first_room = _WINDOW  # what may be sent: on the connection, on a new stream
        self._owed = 0  # received, and not given back yet
        self._settled = False
        self._begin()
        connected.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", TABLE_SIZE, 0)))
        while not self._settled:
            self.take(received(connected))

    def _begin(self) -> None:
        self._body, self._trailers, self._ended = b"", b"", False

    def ask(self, request: bytes) -> bytes:
        """Of `call`."""
        self._stream += 2
        size = len(request) - 2 * _HEAD.size - int.from_bytes(request[:3], "big")
        if size > self._room or size > self._first_room:
            raise RuntimeError(f"the server lets {min(self._room, self._first_room)} bytes through, a call has {size}")
        self._room -= size
        return on_stream(request, self._stream)

    def take(self, data: bytes) -> bytes | None:
        got, at = self._got + data, 0
        while len(got) - at >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(got, at)
            end = at + _HEAD.size + (high << 8) + low
            if end > len(got):
                break
            self._frame(kind, flags, stream, got[at + _HEAD.size : end])
            at = end
        self._got = got[at:]
        return self._reply() if self._ended else None

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in (DATA, HEADERS):
            if stream != self._stream or self._ended or flags & (PADDED | PRIORITY):
                raise RuntimeError(
                    f"a frame {kind} with flags {flags} on stream {stream} is not of call {self._stream}"
                )
            self._ended = bool(flags & END_STREAM)
        if kind == DATA:
            self._body += payload
            self._give_back(len(payload))
        elif kind == HEADERS:
            self._trailers = payload  # or the first ones, which others replace
        elif kind == WINDOW_UPDATE:
            if stream == 0:
                self._room += int.from_bytes(payload, "big")
        elif kind == SETTINGS:
            self._settings(flags, payload)
        elif kind == PING:
            if not flags & ACK:
                self._send(frame(PING, ACK, 0, payload))
        elif kind in (RESET, GOAWAY, CONTINUATION):
            raise RuntimeError(f"the server sent a frame {kind} on stream {stream}: {payload!r}")

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            self._settled = True
            return
        for name, value in struct.iter_unpack(">HI", payload):
            if name == INITIAL_WINDOW:
                self._first_room = value
        self._send(frame(SETTINGS, ACK, 0, b""))

    def _give_back(self, size: int) -> None:
        self._owed += size
        if self._owed > _WINDOW // 4:
            self._send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._owed)))
            self._owed = 0

    def _send(self, few: bytes) -> None:
        if self.socket.send(few) != len(few):
            raise RuntimeError("the server reads nothing")

    def _reply(self) -> bytes:
        body, trailers = self._body, self._trailers
        self._begin()
        if not _GOOD.search(trailers):
            raise RuntimeError(f"the call failed, or is not said to have gone well: {trailers!r}")
        if body[:1] != b"\0" or len(body) != 5 + int.from_bytes(body[1:5], "big"):
            raise RuntimeError(f"want one plain message, {len(body)} bytes came: {body[:5]!r}")
        return body[5:]
