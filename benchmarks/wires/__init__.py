"""Protocols of servers as a client that costs little speaks them: bytes made beforehand go out, replies are read until
they are whole. One file a protocol; `benchmarks.light_client` asks over them."""

from __future__ import annotations

from benchmarks.wires.base import Line, Wire

__all__ = ["Line", "Wire"]
