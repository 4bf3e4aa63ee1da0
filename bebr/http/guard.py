"""What every reply says to browsers, and which of their requests a server without keys answers."""

from __future__ import annotations

import ipaddress
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bebr.http.endpoint import failure

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Around the application. ``open``: the server asks for no key, so a page of another site must not call it: neither
    by its address (an Origin that is not the Host) nor, where it listens on loopback, by a name of its own that
    leads there (a Host that is not ``host`` or loopback)."""

    def __init__(self, app: ASGIApp, open: bool, host: str, loopback: bool) -> None:
        self._app, self._open = app, open
        self._host, self._loopback = host, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message)
            await send(message)

        wrong = self._wrong(Headers(scope=scope)) if self._open else ""
        if wrong:
            await failure("PERMISSION_DENIED", wrong)(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _wrong(self, headers: Headers) -> str:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._loopback and not self._known(_name(host)):
            return f"host is {host[:80]!r}: a server without keys answers to localhost; make keys for other names"
        if origin is not None and urlsplit(origin).netloc != host:
            return f"origin is {origin[:80]!r}: a server without keys answers its own pages alone"
        return ""

    def _known(self, name: str) -> bool:
        if name in ("localhost", self._host.lower()):
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _add_headers(message: MutableMapping[str, Any]) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
