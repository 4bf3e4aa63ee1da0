"""The application: routes of the API, `/metrics`, `/openapi.json`, and the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path
from starlette.types import ASGIApp

from bebr.http import admin, collections, points, searches
from bebr.http.endpoint import Api, Endpoint, enter, failure
from bebr.http.guard import Guard
from bebr.http.openapi import describe
from bebr.http.routes import Route
from bebr.http.values import dump
from bebr.serve.access import Access
from bebr.serve.status import Refused

_FILES = resources.files("bebr.http") / "static"
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PAGES = {"/": "index.html", "/docs": "docs.html"}


def routes(latency: Callable[[], dict[str, Any]]) -> tuple[Route, ...]:
    """Every route of the API, for requests and for the OpenAPI page."""
    return (*collections.ROUTES, *points.ROUTES, *searches.ROUTES, *admin.routes(latency))


def make_app(
    api: Api, latency: Callable[[], dict[str, Any]], metrics: Callable[[], bytes], host: str, loopback: bool
) -> ASGIApp:
    """``metrics``: what `/metrics` says, made in a thread; ``host``: where it listens."""
    table = routes(latency)
    app = Starlette(
        routes=[
            *(Path(route.path, Endpoint(route, api), methods=[route.verb]) for route in table),
            *_own(api, table, metrics),
        ],
        exception_handlers={404: _unknown, 405: _unknown},
    )
    app.router.redirect_slashes = False
    return Guard(app, api.access.open, host, loopback)


def _own(api: Api, table: Sequence[Route], metrics: Callable[[], bytes]) -> Iterator[Path]:
    """What is no call of a service. Pages hold no data, so they need no key."""
    described = dump(describe(table))

    async def openapi(request: Request) -> Response:
        return Response(described, media_type="application/json")

    async def health(request: Request) -> Response:
        return Response(dump({"status": "SERVING"}), media_type="application/json")

    async def scraped(request: Request) -> Response:
        try:
            _check_all(api.access, request)
        except Refused as refused:
            return failure(refused.code.name, refused.message)
        text = await api.threads.run("", metrics)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    yield Path("/openapi.json", openapi)
    yield Path("/v1/health", health)
    yield Path("/metrics", scraped)
    files = dict(_files())
    for path, name in _PAGES.items():
        yield Path(path, _file(*files[name]))
    for name, (content, kind) in files.items():
        yield Path(f"/static/{name}", _file(content, kind))


def _check_all(access: Access, request: Request) -> None:
    """`Refused` unless the request may see figures of every collection."""
    enter(access, "Admin/Info", request)
    access.check_all_granted()


def _files() -> Iterator[tuple[str, tuple[bytes, str]]]:
    for file in _FILES.iterdir():
        yield file.name, (file.read_bytes(), _KINDS[file.name[file.name.rindex(".") :]])


def _file(content: bytes, kind: str) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


async def _unknown(request: Request, error: Exception) -> Response:
    path = request.url.path[:80]
    if isinstance(error, HTTPException) and error.status_code == 405:
        response = failure("METHOD_NOT_ALLOWED", f"{request.method} is not for {path}: see /docs")
        response.headers.update(error.headers or {})
        return response
    return failure("NOT_FOUND", f"there is no {path}: see /docs")
