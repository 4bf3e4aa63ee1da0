"""Collections over gRPC (proto/bebr/v1/bebr.proto): the server, and the client that :func:`bebr.connect` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bebr.extras import needed

if TYPE_CHECKING:
    from bebr.serve.server import run as serve

__all__ = ["serve"]


def __getattr__(name: str) -> Any:
    # The client must not load the server.
    if name == "serve":
        with needed("server", "bebr.serve"):
            from bebr.serve.server import run

        return run
    raise AttributeError(f"module 'bebr.serve' has no attribute {name!r}")
