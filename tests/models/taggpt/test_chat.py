"""The client of a chat server, against one on the loopback interface that fails in every way we could think of."""

from __future__ import annotations

import json
import time

import pytest

from bebr.models.taggpt import Chat, LanguageModelError
from tests.models.taggpt.conftest import answer, choices

pytest.importorskip("httpx", reason="pip install 'bebr[chat]'")

KEY = "sk-very-secret"


def chat(server, **options) -> Chat:
    options = {"retries": 2, "backoff": 0.0, "timeout": 5.0, **options}
    return Chat(server.url, "some-model", options.pop("api_key", KEY), **options)


def status(code: int, body: bytes = b"", **headers: str):
    return lambda handler: answer(handler, code, body, **headers)


def cut_off(handler) -> None:
    answer(handler, 200, choices("a, b")[:20], promised=500)


def cut_off_chunks(handler) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"ff\r\n{")


def hang(handler) -> None:
    time.sleep(1.0)


def drip(handler) -> None:
    """A byte now and then: no single wait is long, all together are."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.02)


def gone(handler) -> None:
    handler.connection.close()


def test_what_is_sent_and_what_comes_back(server):
    server.script = [choices("red, blue", "green")]
    assert chat(server, temperature=0.5, max_tokens=9).complete("Tags:", 2) == ["red, blue", "green"]
    body, headers = server.seen[0]
    assert body == {
        "model": "some-model",
        "messages": [{"role": "user", "content": "Tags:"}],
        "n": 2,
        "temperature": 0.5,
        "max_tokens": 9,
    }
    assert headers["path"] == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    chat(server, api_key=None).complete("x")
    assert "Authorization" not in server.seen[1][1]


def test_a_server_that_gives_one_choice_a_request_is_asked_again(server):
    server.script = [choices("a"), choices("b"), choices("c", "d", "e")]
    assert chat(server).complete("x", 3) == ["a", "b", "c"]
    assert [body["n"] for body, _ in server.seen] == [3, 2, 1]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (status(429, b'{"error": "slow down"}'), "status 429 Too Many Requests: .*slow down"),
        (status(500), "status 500 Internal Server Error: an empty body"),
        (status(503, b"<html>"), "status 503"),
        (hang, r"no whole answer within 0\.8 s"),
        (drip, r"no whole answer within 0\.8 s"),
        (gone, "the connection failed"),
        (cut_off, "the answer was cut off"),
        (cut_off_chunks, "the answer was cut off"),
        (b'{"choices": [', "the answer is not JSON"),
        (b"", "the answer is not JSON: an empty body"),
        (b"[" * 100_000, "the answer is not JSON"),
        (b"\xff\xfe", "the answer is not JSON"),
        (b'{"choices": []}', "the answer has no choices"),
    ],
    ids=lambda value: getattr(value, "__name__", None) if callable(value) else None,
)
def test_what_may_pass_is_tried_again_and_told_in_the_end(server, step, told):
    server.script = [step, choices("fine")]
    patient = chat(server, timeout=0.8 if step in (hang, drip) else 10)  # a busy machine answers late
    assert patient.complete("x") == ["fine"] and len(server.seen) == 2
    server.seen.clear()
    server.script = [step]
    with pytest.raises(LanguageModelError, match=rf"chat/completions: no answer in 3 attempts; the last: {told}"):
        patient.complete("x")
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (status(401, b"no such key"), "status 401 Unauthorized: 'no such key'"),
        (status(404), "status 404"),
        (status(302, Location="http://127.0.0.1:9/"), "status 302"),
        (b"[]", r"wanted an object with a list 'choices'; got '\[\]'"),
        (b'{"error": "quota"}', "wanted an object with a list 'choices'; got .*quota"),
        (b'{"choices": {"a": 1}}', "wanted an object with a list 'choices'"),
        (b'{"choices": ["text"]}', r"wanted a string as choices\[0\].message.content"),
        (b'{"choices": [{"message": {"content": null}}]}', r"wanted a string as choices\[0\].message.content"),
        (b'{"choices": [{"message": {"content": ["a"]}}]}', r"wanted a string as choices\[0\].message.content"),
        (b" " * 3000 + choices("late"), "the answer has more than 1,000 bytes"),
    ],
    ids=lambda value: getattr(value, "__name__", None) if callable(value) else None,
)
def test_what_will_not_change_is_told_at_once(server, step, told):
    server.script = [step]
    with pytest.raises(LanguageModelError, match=told):
        chat(server, most_bytes=1000).complete("x")
    assert len(server.seen) == 1


def test_an_endless_answer_is_left(server):
    def flood(handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.closing.is_set():
            handler.wfile.write(b"a" * 65536)

    server.script = [flood]
    with pytest.raises(LanguageModelError, match="more than 100,000 bytes"):
        chat(server, most_bytes=100_000).complete("x")


def test_waits_double_and_heed_the_server(server):
    slept: list[float] = []
    server.script = [status(500), status(500), status(429, Retry_After="7"), status(500, Retry_After="soon"), b"[]"]
    with pytest.raises(LanguageModelError, match="choices"):
        chat(server, retries=4, backoff=1.0, sleep=slept.append).complete("x")
    assert 0.5 <= slept[0] < 1.5 and 1 <= slept[1] < 3 and slept[2] == 7 and 4 <= slept[3] < 12


def test_nobody_listens():
    with pytest.raises(LanguageModelError, match="no answer in 2 attempts; the last: the connection failed"):
        Chat("http://127.0.0.1:9/v1", "m", retries=1, backoff=0.0).complete("x")


def test_the_key_stays_out_of_messages(server):
    for step in (
        status(400, f"key {KEY} is bad".encode()),
        json.dumps({"key": KEY}).encode(),
        status(500, KEY.encode()),
    ):
        server.script = [step]
        with pytest.raises(LanguageModelError) as failure:
            chat(server).complete("x")
        assert KEY not in str(failure.value) and "***" in str(failure.value)
    assert KEY not in repr(chat(server)) and KEY not in chat(server).name


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"url": "ftp://host"}, "url: got 'ftp://host', wanted http"),
        ({"url": "host/v1"}, "url: got 'host/v1'"),
        ({"url": "http://me:secret@host/"}, "url: got 'http://host/'"),
        ({"url": "http://host/a b"}, "url: got"),
        ({"url": "http://host:port/"}, "url: got"),
        ({"timeout": 0}, "timeout: got 0, wanted above 0"),
        ({"retries": -1}, "retries: got -1, wanted at least 0"),
        ({"temperature": float("nan")}, "temperature: got nan"),
        ({"most_bytes": 0}, "most_bytes: got 0"),
        ({"api_key": "a\nb"}, "api_key: wanted printable ASCII"),
    ],
)
def test_bad_settings_are_named(options, told):
    with pytest.raises(ValueError, match=told) as failure:
        Chat(**{"url": "http://host/v1", "model": "m", **options})
    assert "secret" not in str(failure.value)
