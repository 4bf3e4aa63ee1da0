"""A toy encoder and a scripted language model, and a server on the loopback interface that misbehaves on request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from bebr.models import Producer


class Pieces(Producer):
    """Three-letter pieces hashed into 64 counts, to unit length: words of one stem are near, others are not."""

    name, version, dim, metric = "pieces", "1", 64, "cosine"

    def encode(self, kind: str, batch: list[Any]) -> np.ndarray:
        x = np.zeros((len(batch), self.dim), np.float32)
        for row, text in enumerate(batch):
            padded = f"  {text.casefold()} "
            for at in range(len(padded) - 2):
                x[row, hashlib.md5(padded[at : at + 3].encode()).digest()[0] % self.dim] += 1
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)


class Scripted:
    """Answers by a function of the prompt; keeps what it was asked."""

    name = "scripted"

    def __init__(self, answer: Callable[[str, int], str]) -> None:
        self._answer = answer
        self.asked: list[str] = []

    def complete(self, prompt: str, n: int = 1) -> list[str]:
        self.asked.append(prompt)
        return [self._answer(prompt, sample) for sample in range(n)]


@pytest.fixture
def pieces() -> Pieces:
    return Pieces()


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


def choices(*texts: str) -> bytes:
    """A well-formed answer of a chat server."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}} for text in texts]}).encode()


class Server:
    """Plays ``script``, one step a request; a step is a function that gets the handler, or the body of a 200. The last
    step is repeated. ``seen`` keeps the requests: their JSON and headers."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.seen: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.seen.append((json.loads(body), {**dict(self.headers), "path": self.path}))
                step = outer.script[min(len(outer.seen), len(outer.script)) - 1]
                with contextlib.suppress(OSError):  # the client has gone away, as it should
                    answer(self, 200, step) if isinstance(step, bytes) else step(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, promised: int | None = None, **more: str) -> None:
    """Send a response, of which ``promised`` bytes are announced."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if promised is None else promised))
    for name, value in more.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()
