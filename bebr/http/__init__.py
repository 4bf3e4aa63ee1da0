"""Collections over HTTP, beside gRPC and by the same services: JSON, `/metrics` and a dashboard (docs/http.md)."""

from __future__ import annotations

from bebr.extras import needed

with needed("http", "bebr serve --http"):
    from bebr.http.listener import Http

__all__ = ["Http"]
