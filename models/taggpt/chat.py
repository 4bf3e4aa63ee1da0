"""A language model behind HTTP, by the chat-completions interface that OpenAI's service and many servers share."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bebr.models.taggpt.port import LanguageModelError

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

__all__ = ["Chat"]

_RETRIED = (408, 409, 425, 429)  # and all from 500 on


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
        try:
            import httpx
            import tenacity  # noqa: F401 asked for now, not at the first answer
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"a chat server needs {error.name}: pip install 'bebr[chat]'") from error
        _check_address(url)
        for name, value in (("timeout", timeout), ("max_tokens", max_tokens), ("most_bytes", most_bytes)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: got {value}, wanted above 0")
        for name, value in (("retries", retries), ("backoff", backoff), ("temperature", temperature)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: got {value}, wanted at least 0")
        if api_key is not None and (not api_key or not api_key.isascii() or not api_key.isprintable()):
            raise ValueError("api_key: wanted printable ASCII without line breaks")
        self.url = f"{url.rstrip('/')}/chat/completions"
        self.model, self.temperature, self.max_tokens = model, temperature, max_tokens
        self.timeout, self.retries, self.backoff, self.most_bytes = timeout, retries, backoff, most_bytes
        self.name = f"{model} at temperature {temperature:g}"
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        # To make one takes some 20 ms, so once for all requests; plain http has none.
        self._certificates = httpx.create_ssl_context() if url.startswith("https") else False
        self._api_key, self._sleep = api_key, sleep

    def complete(self, prompt: str, n: int = 1) -> list[str]:
        """``n`` answers to ``prompt`` as one message of the user."""
        replies: list[str] = []
        while len(replies) < n:
            replies += self._asked(prompt, n - len(replies))
        return replies[:n]

    def _asked(self, prompt: str, n: int) -> list[str]:
        """At least one answer, after as many attempts as are allowed."""
        from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt

        request = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "n": n}
        body = json.dumps({**request, "temperature": self.temperature, "max_tokens": self.max_tokens}).encode()
        attempts = Retrying(
            stop=stop_after_attempt(self.retries + 1),
            retry=retry_if_exception_type(_Passing),
            wait=self._wait,
            sleep=self._sleep,
        )
        try:
            return attempts(lambda: self._choices(self._posted(body)))
        except RetryError as error:
            last = f"no answer in {self.retries + 1} attempts; the last: {error.last_attempt.exception()}"
            raise LanguageModelError(self._hidden(f"{self.url}: {last}")) from None

    def _wait(self, state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        wait = min(60.0, self.backoff * 2 ** (state.attempt_number - 1)) * (0.5 + random.random())
        return max(wait, min(failure.wait, 300.0) if isinstance(failure, _Passing) else 0.0)

    def _posted(self, body: bytes) -> bytes:
        """In a thread of its own, since the caller's may run an event loop already."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, self._post(body)).result()

    async def _post(self, body: bytes) -> bytes:
        import httpx

        answered = False

        async def exchange() -> tuple[httpx.Response, bytes]:
            nonlocal answered
            client = httpx.AsyncClient(timeout=self.timeout, trust_env=False, verify=self._certificates)
            async with client, client.stream("POST", self.url, content=body, headers=self._headers) as response:
                answered = True
                answer = bytearray()
                async for piece in response.aiter_raw():
                    answer += piece
                    if len(answer) > self.most_bytes:
                        raise LanguageModelError(f"{self.url}: the answer has more than {self.most_bytes:,} bytes")
                return response, bytes(answer)

        try:
            # httpx's timeout starts anew with every read: a server that drips bytes could hold us for ever.
            return self._checked(*await asyncio.wait_for(exchange(), self.timeout))
        except (asyncio.TimeoutError, httpx.TimeoutException):
            raise _Passing(f"no whole answer within {self.timeout:g} s") from None
        except httpx.TransportError as error:
            raise _Passing("the answer was cut off" if answered else f"the connection failed: {error!r}") from None

    def _checked(self, response: httpx.Response, body: bytes) -> bytes:
        if response.status_code == 200:
            return body
        told = f"status {response.status_code} {response.reason_phrase}: {_excerpt(body)}"
        if response.status_code in _RETRIED or response.status_code >= 500:
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


def _excerpt(body: bytes) -> str:
    text = " ".join(body[:400].decode("utf-8", "replace").split())
    return repr(text[:200]) if text else "an empty body"


def _check_address(url: str) -> None:
    wanted = f"url: got {_bare(url)!r}, wanted http(s)://host[:port]/path, as https://host/v1"
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError as error:  # a port that is no number, brackets that do not close
        raise ValueError(wanted) from error
    if not whole or parts.query or parts.username or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(wanted)


def _bare(url: str) -> str:
    """Without what stands before an @: that may be a password."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}{found}{rest.rpartition('@')[2]}"
