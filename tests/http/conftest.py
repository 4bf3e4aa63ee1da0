from __future__ import annotations

import pytest

from tests.http_client import Http
from tests.serve.conftest import bz, start

__all__ = ["bz", "start"]

pytest.importorskip("uvicorn", reason="HTTP needs uvicorn: pip install 'bebr[http]'")


@pytest.fixture(scope="session")
def web(start, tmp_path_factory):
    """A server that answers HTTP, for all tests that do not stop it."""
    with start(tmp_path_factory.mktemp("web"), http=True, max_memory_bytes=256 << 20) as server:
        yield server


@pytest.fixture
def http(web) -> Http:
    return Http(web.http)
