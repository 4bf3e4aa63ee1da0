"""A language model behind HTTP, by the chat-completions interface that OpenAI's service and many servers share."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from bebr.models.taggpt.port import LanguageModelError

__all__ = ["Chat"]

_RETRIED = (408, 409, 425, 429)  # and all from 500 on
_PIECE = 1 << 16


class _Passing(Exception):
    """What another attempt may mend; ``wait``: how many seconds the server asked for."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


class Chat:
    """``POST {url}/chat/completions``, with ``url`` as ``https://host/v1``.

    model        the server's name for it
    api_key      sent as a bearer token and nowhere else: messages show none of it; None: no token
    temperature  1.5, as the released code of TagGPT
    timeout      seconds for a whole request, from connecting to the last byte
    retries      further attempts after 408, 409, 425, 429, 5xx, a timeout, a broken connection, a body that is cut off
                 or not JSON, or no choices; ``backoff`` seconds before the first, doubled each time (at most 60), with
                 a random part, or what ``Retry-After`` says if that is more
    most_bytes   a larger answer is refused

    A server that gives fewer than ``n`` choices is asked again for the rest. Redirects are not followed, proxies not
    used. Raises LanguageModelError naming the address, the attempts and the last failure.
    """

    def __init__(
        self,
        url: str,
        model: str,
        api_key: str | None = None,
        *,
        temperature: float = 1.5,
        max_tokens: int = 256,
        timeout: float = 60.0,
        retries: int = 4,
        backoff: float = 1.0,
        most_bytes: int = 4 << 20,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = _address(url)
        for name, value in (("timeout", timeout), ("max_tokens", max_tokens), ("most_bytes", most_bytes)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: got {value}, wanted above 0")
        for name, value in (("retries", retries), ("backoff", backoff), ("temperature", temperature)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: got {value}, wanted at least 0")
        if api_key is not None and (not api_key or not api_key.isascii() or not api_key.isprintable()):
            raise ValueError("api_key: wanted printable ASCII without line breaks")
        self._https, self._host, self._port = parts.scheme == "https", str(parts.hostname), parts.port
        self._path = f"{parts.path.rstrip('/')}/chat/completions"
        self.url = f"{parts.scheme}://{parts.netloc}{self._path}"
        self.model, self.temperature, self.max_tokens = model, temperature, max_tokens
        self.timeout, self.retries, self.backoff, self.most_bytes = timeout, retries, backoff, most_bytes
        self.name = f"{model} at temperature {temperature:g}"
        self._api_key, self._sleep, self._random = api_key, sleep, random.Random()

    def complete(self, prompt: str, n: int = 1) -> list[str]:
        """``n`` answers to ``prompt`` as one message of the user."""
        replies: list[str] = []
        while len(replies) < n:
            replies += self._asked(prompt, n - len(replies))
        return replies[:n]

    def _asked(self, prompt: str, n: int) -> list[str]:
        """At least one answer, after as many attempts as are allowed."""
        request = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "n": n}
        body = json.dumps({**request, "temperature": self.temperature, "max_tokens": self.max_tokens}).encode()
        for attempt in range(self.retries + 1):
            try:
                return self._choices(self._posted(body))
            except _Passing as failure:
                if attempt == self.retries:
                    raise LanguageModelError(
                        self._hidden(f"{self.url}: no answer in {attempt + 1} attempts; the last: {failure}")
                    ) from None
                wait = min(60.0, self.backoff * 2**attempt) * (0.5 + self._random.random())
                self._sleep(max(wait, min(failure.wait, 300.0)))
        raise AssertionError("unreachable")

    def _posted(self, body: bytes) -> bytes:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self.timeout)
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
        if self._api_key is not None:
            headers["Authorization"] = f"Bearer {self._api_key}"
        late = _Passing(f"no whole answer within {self.timeout:g} s")
        expired = threading.Event()
        watch: threading.Timer | None = None
        try:
            begun = time.monotonic()
            connection.connect()
            # A socket's timeout starts anew with every byte: a server that drips them could hold us for ever.
            left = max(0.0, self.timeout - (time.monotonic() - begun))
            watch = threading.Timer(left, _hang_up, (connection.sock, expired))
            watch.daemon = True
            watch.start()
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            answer = self._body(response)
        except (http.client.HTTPException, OSError) as error:
            if isinstance(error, LanguageModelError):
                raise
            if expired.is_set() or isinstance(error, TimeoutError):
                raise late from None
            if isinstance(error, http.client.IncompleteRead):
                raise _Passing("the answer was cut off") from None
            raise _Passing(f"the connection failed: {error!r}") from None
        finally:
            if watch is not None:
                watch.cancel()
            connection.close()
        if expired.is_set():  # an answer without a length looks whole where the watch ended it
            raise late
        return self._checked(response, answer)

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        while piece := response.read(_PIECE):
            parts.append(piece)
            size += len(piece)
            if size > self.most_bytes:
                raise LanguageModelError(f"{self.url}: the answer has more than {self.most_bytes:,} bytes")
        if response.length:  # reading in pieces, it does not mind an end before the promised length
            raise http.client.IncompleteRead(b"".join(parts), response.length)
        return b"".join(parts)

    def _checked(self, response: http.client.HTTPResponse, body: bytes) -> bytes:
        if response.status == 200:
            return body
        told = f"status {response.status} {response.reason}: {_excerpt(body)}"
        if response.status in _RETRIED or response.status >= 500:
            wait = response.headers.get("Retry-After", "")
            raise _Passing(told, float(wait) if wait.isdecimal() else 0.0)
        raise LanguageModelError(self._hidden(f"{self.url}: {told}"))

    def _choices(self, body: bytes) -> list[str]:
        try:
            answer: Any = json.loads(body)
        except (ValueError, RecursionError):
            raise _Passing(f"the answer is not JSON: {_excerpt(body)}") from None
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not isinstance(choices, list):
            raise self._odd("wanted an object with a list 'choices'", body)
        if not choices:
            raise _Passing("the answer has no choices")
        replies = []
        for place, choice in enumerate(choices):
            message = choice.get("message") if isinstance(choice, dict) else None
            content = message.get("content") if isinstance(message, dict) else None
            if not isinstance(content, str):
                raise self._odd(f"wanted a string as choices[{place}].message.content", body)
            replies.append(content)
        return replies

    def _odd(self, wanted: str, body: bytes) -> LanguageModelError:
        return LanguageModelError(self._hidden(f"{self.url}: {wanted}; got {_excerpt(body)}"))

    def _hidden(self, text: str) -> str:
        """Without the key, should a server send it back."""
        return text if self._api_key is None else text.replace(self._api_key, "***")


def _hang_up(connected: socket.socket, expired: threading.Event) -> None:
    expired.set()
    with contextlib.suppress(OSError):  # it has ended by itself
        connected.shutdown(socket.SHUT_RDWR)


def _excerpt(body: bytes) -> str:
    text = " ".join(body[:400].decode("utf-8", "replace").split())
    return repr(text[:200]) if text else "an empty body"


def _address(url: str) -> SplitResult:
    wanted = f"url: got {_bare(url)!r}, wanted http(s)://host[:port]/path, as https://host/v1"
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError as error:  # a port that is no number, brackets that do not close
        raise ValueError(wanted) from error
    if not whole or parts.query or parts.username or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(wanted)
    return parts


def _bare(url: str) -> str:
    """Without what stands before an @: that may be a password."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}{found}{rest.rpartition('@')[2]}"
