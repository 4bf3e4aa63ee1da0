"""The OpenAPI description of the routes, made from the table that checks requests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from bebr.about import info
from bebr.http.endpoint import STATUS, TIMEOUT
from bebr.http.routes import Route
from bebr.serve.access import RULES
from bebr.serve.calls import REQUEST_ID

_ERRORS = {400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503, 504}


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.verb.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "bebr", "version": info()["version"], "description": "Collections of embeddings as JSON."},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "responses": {
                str(status): {
                    "description": f"{_phrase(status)}: {', '.join(code for code in STATUS if STATUS[code] == status)}",
                    "content": _content({"$ref": "#/components/schemas/Error"}),
                }
                for status in sorted(_ERRORS)
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`bebr keys create`"}},
        },
        "security": [{}, {"key": []}],
    }


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string", "enum": sorted(STATUS)}, "message": {"type": "string"}},
        }
    },
}


def _operation(route: Route) -> dict[str, Any]:
    role = RULES[route.rpc].role.name.lower()
    headers = {REQUEST_ID: "An id of the call, for the log.", TIMEOUT: "How long it may take, in milliseconds."}
    made: dict[str, Any] = {
        "operationId": f"{route.verb.lower()}_{re.sub(r'[^a-z_]+', '_', route.path.removeprefix('/v1/')).strip('_')}",
        "tags": [route.rpc.partition("/")[0]],
        "summary": route.text,
        "description": f"With keys: the role {role}. Over gRPC: {route.rpc}.",
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": _TEXT} for name in _parameters(route.path)),
            *({"name": name, "in": "header", "schema": _TEXT, "description": text} for name, text in headers.items()),
        ],
        "responses": {
            "200": {"description": "Done.", "content": _content({"type": "object"}, route.answer)},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(_ERRORS)},
        },
    }
    if route.fields:
        required = [name for name, one in route.fields.items() if one.required]
        body = {
            "type": "object",
            "properties": {name: one.schema for name, one in route.fields.items()},
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }
        made["requestBody"] = {"required": bool(required), "content": _content(body)}
    return made


_TEXT = {"type": "string"}


def _parameters(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def _content(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **({} if example is None else {"example": example})}}


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
