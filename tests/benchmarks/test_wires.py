"""The light client's protocols: what goes out, and when a reply is whole, good, or an error."""

from __future__ import annotations

import socket
import struct

import numpy as np
import pytest

from benchmarks.wires import http2, postgres, resp
from benchmarks.wires.base import Plain
from benchmarks.wires.http2 import ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, WINDOW_UPDATE, frame
from benchmarks.wires.resp import Resp

NAMES = b"*3\r\n$2\r\n17\r\n$1\r\n3\r\n$3\r\n255\r\n"
ROWS = postgres.message(b"2", b"") + b"".join(
    postgres.message(b"D", struct.pack(">hi", 1, len(id)) + id) for id in (b"17", b"3", b"255")
)
READY = postgres.message(b"Z", b"I")
WIRES = {
    "resp": (resp.whole, NAMES, Resp("", b"", 3, 1)),
    "postgres": (postgres.whole, ROWS + READY, postgres.Postgres("", "", (), "")),
}


@pytest.mark.parametrize("name", WIRES)
def test_a_reply_is_whole_with_its_last_byte(name):
    whole, reply, wire = WIRES[name]
    pair = socket.socketpair()
    for cut in range(1, len(reply)):
        line = Plain(pair[0], whole)
        assert line.take(reply[:cut]) is None
        assert line.take(reply[cut:]) == reply
    assert wire.ids(reply) == [17, 3, 255]
    with pytest.raises(RuntimeError, match="1 bytes came behind a reply"):
        line.take(reply + b"*")
    for one in pair:
        one.close()


def test_redis_is_sent_arrays_and_its_errors_are_raised():
    query = np.array([1.0, -2.0], np.float32)
    sent = b"*8\r\n$4\r\nVSIM\r\n$1\r\nx\r\n$4\r\nFP32\r\n$8\r\n" + query.tobytes()
    assert Resp("", b"x", 10, 64).request(query) == sent + b"\r\n$5\r\nCOUNT\r\n$2\r\n10\r\n$2\r\nEF\r\n$2\r\n64\r\n"
    with pytest.raises(RuntimeError, match="WRONGTYPE"):
        resp.whole(b"-WRONGTYPE not a set\r\n")


def test_a_vector_is_bound_in_binary_and_errors_of_postgres_are_raised():
    sent = postgres.Postgres("", "", (), "").request(np.array([1.0, -2.0], np.float32))
    (bind, bound), (execute, _), (sync, _) = postgres.messages(sent)
    assert (bind, execute, sync) == (b"B", b"E", b"S")
    vector = struct.pack(">hhff", 2, 0, 1.0, -2.0)
    assert bound == b"\0search\0" + struct.pack(">hhhi", 1, 1, 1, 12) + vector + b"\0\0"
    with pytest.raises(RuntimeError, match="no such row"):
        postgres.whole(postgres.message(b"E", b"SERROR\0Mno such row\0\0") + READY)
    with pytest.raises(RuntimeError, match="asks for a password"):
        postgres.whole(postgres.message(b"R", struct.pack(">I", 5) + b"salt"))


def test_headers_are_literals_that_no_table_keeps():
    sent = http2.headers("/bebr.v1.Points/Scroll")
    assert sent.startswith(b"\0\x07:method\x04POST") and b"\x16/bebr.v1.Points/Scroll" in sent


@pytest.fixture
def calls():
    """A connection, and the server's end of it."""
    ours, theirs = socket.socketpair()
    theirs.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", http2.INITIAL_WINDOW, 1000)) + frame(SETTINGS, ACK, 0, b""))
    line = http2.Calls(ours)
    greeting = http2.PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", http2.TABLE_SIZE, 0))
    assert theirs.recv(1000) == greeting + frame(SETTINGS, ACK, 0, b"")
    yield line, theirs
    ours.close()
    theirs.close()


STATUS = b"\0\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x01"  # and one letter: as nghttp2 sends it


def answered(message: bytes, status: bytes = STATUS + b"0", stream: int = 1) -> bytes:
    body = b"\0" + struct.pack(">I", len(message)) + message
    first = frame(HEADERS, END_HEADERS, stream, b"\x88")
    return first + frame(DATA, 0, stream, body) + frame(HEADERS, END_HEADERS | END_STREAM, stream, status)


def test_calls_take_odd_streams_and_replies_are_whole_with_their_stream(calls):
    line, _ = calls
    request = http2.call("/a/b", b"asked")
    for stream in (1, 3):
        sent = line.ask(request)
        head, data = sent[:-19], sent[-19:]
        assert head == frame(HEADERS, END_HEADERS, stream, http2.headers("/a/b"))
        assert data == frame(DATA, END_STREAM, stream, b"\0\0\0\0\5asked")
        reply = answered(b"found", stream=stream)
        assert line.take(reply[:-1]) is None and line.take(reply[-1:]) == b"found"


def test_a_call_that_failed_is_raised(calls):
    line, _ = calls
    line.ask(http2.call("/a/b", b""))
    with pytest.raises(RuntimeError, match="the call failed"):
        line.take(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88" + STATUS + b"5"))
    line.ask(http2.call("/a/b", b""))
    with pytest.raises(RuntimeError, match="sent a frame 3 on stream 3"):
        line.take(frame(3, 0, 3, bytes(4)))


def test_pings_are_answered_and_windows_given_back(calls):
    line, theirs = calls
    line.ask(http2.call("/a/b", b""))
    assert line.take(frame(PING, 0, 0, b"8 bytes.")) is None
    assert theirs.recv(100) == frame(PING, ACK, 0, b"8 bytes.")
    assert line.take(answered(bytes(20_000))) == bytes(20_000)
    assert theirs.recv(100) == frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 20_005))


def test_no_more_is_sent_than_the_server_lets_through(calls):
    line, _ = calls
    with pytest.raises(RuntimeError, match="lets 1000 bytes through, a call has 1005"):
        line.ask(http2.call("/a/b", bytes(1000)))
    for _ in range(65):  # 65,535 are the connection's
        line.take(answered(b"", stream=line.ask(http2.call("/a/b", bytes(995)))[8]))
    with pytest.raises(RuntimeError, match="lets 535 bytes through"):
        line.ask(http2.call("/a/b", bytes(995)))
    line.take(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 465)))
    line.ask(http2.call("/a/b", bytes(995)))
    with pytest.raises(ValueError, match="a frame has at most 16,384"):
        http2.call("/a/b", bytes(16_380))
