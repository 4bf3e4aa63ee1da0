"""TLS between clients, a root and its leaves: processes of the command line."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack

import pytest

import bebr
from bebr.cluster.watching import Watched
from tests.certificates import make_certificates
from tests.cluster.running import until

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def test_a_root_reaches_leaves_over_tls_and_clients_the_root(postgres, bz, vectors, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pem = make_certificates(tmp_path)
    url, files = postgres.schema(), ("--tls-cert", pem / "server.pem", "--tls-key", pem / "server.key")
    with ExitStack() as stack:

        def started(*command: object) -> str:
            watched = Watched([sys.executable, "-m", "bebr", *map(str, command)])
            stack.callback(watched.stop)
            until(lambda: watched.state().address)
            return watched.state().address

        leaf = started("leaf", url, "--segments", f"file://{tmp_path}/segments", "--port", 0, *files)
        root = started("root", url, "--port", 0, "--leaf-tls-ca", pem / "ca.pem", *files)
        for address in (leaf, root):
            with pytest.raises(ConnectionError, match="it speaks TLS"):
                bebr.connect(address, retries=0)
        with bebr.connect(root, tls=pem / "ca.pem") as client:
            docs = client.create_collection("docs", bz)
            docs.upsert(range(100), vectors[:100])
            assert docs.search(vectors[7:8], 1).ids.tolist() == [[7]]
