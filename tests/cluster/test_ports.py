"""Ports that roots of one database share."""

from __future__ import annotations

import pytest

from bebr.cluster import ports

URL = "postgresql://db/search"


def test_a_port_is_for_roots_of_one_database(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(ports, "_TRIES", 2)
    with ports.held("127.0.0.1", 7777, URL), ports.held("127.0.0.1", 7777, URL):
        other = ports.held("127.0.0.1", 7777, "postgresql://db/other")
        with pytest.raises(OSError, match=r"port 7777 of .* is that of a root of another database"), other:
            pass
        with ports.held("127.0.0.1", 7778, "postgresql://db/other"):
            pass
    with ports.held("127.0.0.1", 7777, "postgresql://db/other"):
        pass
