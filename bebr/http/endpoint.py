"""One request, from bytes to bytes: who asks, how much, how long; errors become a status and one form of JSON."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bebr.http.fields import check_body
from bebr.http.routes import Asked, Route
from bebr.http.values import dump, load_body
from bebr.serve.access import Access
from bebr.serve.admission import Budget, largest
from bebr.serve.calls import REQUEST_ID, SAID, Call, Calls
from bebr.serve.limits import Limits
from bebr.serve.queues import FairQueue
from bebr.serve.registry import CollectionRegistry
from bebr.serve.rpc import Services
from bebr.serve.status import Refused, status_of

_log = logging.getLogger("bebr.serve")

TIMEOUT = "x-timeout-ms"
# Memory that a body takes while it is worked on, for each of its bytes: "[]," becomes a list of 64 bytes.
_COPIES = 24
# Nothing else runs in Python while JSON is read.
MOST_BYTES = 16 << 20
# Seconds that a client has to send its body.
_BODY_SECONDS = 60.0

STATUS = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 409,
    "TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "DATA_LOSS": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class Answered(Exception):
    """An error that HTTP has and gRPC has not, or says in another way."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def failure(code: str, message: str) -> Response:
    """``{"error": {"code": …, "message": …}}`` with the status of ``code``."""
    headers = {"www-authenticate": "Bearer"} if code == "UNAUTHENTICATED" else None
    content = dump({"error": {"code": code, "message": message.encode(errors="replace").decode()}})
    return Response(content, STATUS[code], headers, "application/json")


class Api:
    """What all routes share: the services of a server, and threads for large bodies and replies."""

    def __init__(
        self,
        registry: CollectionRegistry,
        services: Services,
        access: Access,
        limits: Limits,
        budget: Budget,
        calls: Calls,
        threads: FairQueue,
    ) -> None:
        self.registry, self.services, self.access = registry, services, access
        self.budget, self.calls, self.threads = budget, calls, threads
        self.ending: set[asyncio.Future[bytes]] = set()  # late calls that still have memory
        self.most_bytes = min(MOST_BYTES, limits.message_bytes, largest(limits.memory_bytes) // _COPIES)


class Endpoint:
    """The ASGI application of one route."""

    def __init__(self, route: Route, api: Api) -> None:
        self._route, self._api = route, api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            said = {name: request.headers[name] for name in SAID if name in request.headers}
            with self._api.calls.noted(self._route.rpc, said, _peer(request)) as call:
                response = await self._response(request, call)
            response.headers[REQUEST_ID] = call.request_id
        except asyncio.CancelledError:  # the grace of a stopping server is over
            response = failure("UNAVAILABLE", "the server stops")
        await response(scope, receive, send)

    async def _response(self, request: Request, call: Call) -> Response:
        call.collection = request.path_params.get("name", "")
        try:
            return Response(await self._answered(request), media_type="application/json")
        except ClientDisconnect:
            call.code, message = "CANCELLED", "the client went away"
        except Answered as error:
            call.code, message = error.code, error.message
        except Exception as error:
            known = status_of(error)
            if known is None:
                _log.exception("%s failed", call.method)
                call.code, message = "INTERNAL", f"{type(error).__name__} in the server: its log has the details"
            else:
                call.code, message = known[0].name, known[1]
        return failure(call.code, message)

    async def _answered(self, request: Request) -> bytes:
        api, route = self._api, self._route
        enter(api.access, route.rpc, request)
        seconds = _seconds(request)
        size = self._announced(request)
        with ExitStack() as memory:
            memory.enter_context(api.budget.hold(_COPIES * size, "the request"))
            data = await _received(request, size)
            asked = Asked(api.registry, api.services, api.budget, api.threads, request.path_params, len(data))
            task = asyncio.ensure_future(self._run(asked, data))
            api.ending.add(task)
            task.add_done_callback(partial(self._ended, memory.pop_all()))
            return await _in_time(task, request, seconds)

    async def _run(self, asked: Asked, data: bytes) -> bytes:
        asked.values = check_body(await asked.read(lambda: load_body(data)), self._route.fields)
        return await self._route.run(asked)

    def _ended(self, memory: ExitStack, done: asyncio.Future[bytes]) -> None:
        memory.close()
        self._api.ending.discard(done)
        if not done.cancelled():
            done.exception()  # nobody asks for it where the call was late

    def _announced(self, request: Request) -> int:
        """How many bytes the body has at most."""
        text, most = request.headers.get("content-length"), self._api.most_bytes
        chunked = "transfer-encoding" in request.headers
        size = int(text) if text is not None else most if chunked else 0
        if size > most:
            raise Answered("TOO_LARGE", f"the body has {size} bytes: this server takes at most {most}; split it")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if size and kind != "application/json":
            raise Answered("UNSUPPORTED_MEDIA_TYPE", f"content-type is {kind[:80]!r}: want application/json")
        return size


def enter(access: Access, rpc: str, request: Request) -> None:
    """Lets a request in by its key; `Refused`, as of `Access.enter`."""
    try:
        access.enter(rpc, _tokens(request))
    except Refused as refused:
        access.note_refused(refused, _peer(request), rpc)
        raise


def _peer(request: Request) -> str:
    """The caller's address, as gRPC writes it."""
    host, port = request.client or ("", 0)
    return f"{'ipv6' if ':' in host else 'ipv4'}:{host}:{port}"


def _tokens(request: Request) -> list[str]:
    """What stands behind "Bearer" in each authorization; "" where something else does."""
    found = []
    for text in request.headers.getlist("authorization"):
        scheme, _, token = text.partition(" ")
        found.append(token.strip() if scheme.lower() == "bearer" else "")
    return found


def _seconds(request: Request) -> float | None:
    """How long the call may take; None: as long as it does."""
    text = request.headers.get(TIMEOUT)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise ValueError(f"{TIMEOUT} is {text[:80]!r}: want a whole number of milliseconds")
    return int(text) / 1000


async def _received(request: Request, most: int) -> bytes:
    data = bytearray()

    async def receive() -> None:
        async for piece in request.stream():
            data.extend(piece)
            if len(data) > most:
                raise Answered("TOO_LARGE", f"the body has more than {most} bytes: split it")

    try:
        await asyncio.wait_for(receive(), _BODY_SECONDS)
    except asyncio.TimeoutError:
        raise Answered("REQUEST_TIMEOUT", f"the body was not there within {_BODY_SECONDS:.0f} seconds") from None
    return bytes(data)


async def _in_time(task: asyncio.Future[bytes], request: Request, seconds: float | None) -> bytes:
    """The result, unless the client goes away or its time is over: the task is cancelled then, as a call of gRPC is,
    and not waited for. A write that has begun is finished."""
    gone = asyncio.ensure_future(_gone(request))
    waited: set[asyncio.Future[Any]] = {task, gone}
    try:
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientDisconnect
        raise Answered("DEADLINE_EXCEEDED", f"the call took longer than {TIMEOUT} allows; a write may have been made")
    finally:
        gone.cancel()
        task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
