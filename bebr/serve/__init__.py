"""Collections over gRPC (proto/bebr/v1/bebr.proto): the server, and the client that :func:`bebr.connect` returns."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from bebr.extras import needed

if TYPE_CHECKING:
    from bebr.serve.server import run as serve

__all__ = ["serve"]


def __getattr__(name: str) -> Any:
    # The client must not load the server.
    if name == "serve":
        # Imports make many objects and drop few: looking for garbage meanwhile is a tenth of a server's start.
        collects = gc.isenabled()
        gc.disable()
        try:
            with needed("server", "bebr.serve"):
                from bebr.serve.server import run
        finally:
            if collects:
                gc.enable()
        return run
    raise AttributeError(f"module 'bebr.serve' has no attribute {name!r}")
