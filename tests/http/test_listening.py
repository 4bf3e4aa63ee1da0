"""How HTTP starts and stops with its server: ports, TLS, and calls in progress."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from tests.http_client import Http


def test_a_port_in_use_is_an_error_before_anything_is_served(start, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(RuntimeError, match=f"cannot listen for HTTP on 127.0.0.1:{port}: Address already in use"),
            start(tmp_path, http=port),
        ):
            pass


def test_beyond_this_machine_it_listens_with_keys_or_insecure_alone(start, tmp_path):
    with pytest.raises(RuntimeError, match="the folder has no keys"), start(tmp_path, http=True, host="0.0.0.0"):
        pass
    with start(tmp_path, http=True, host="0.0.0.0", insecure=True) as server:
        port = server.http.rstrip("/").rpartition(":")[2]
        assert Http(f"http://127.0.0.1:{port}").collections() == []
        assert Http(f"http://127.0.0.1:{port}").ask("GET", "/v1/info", None, {"host": "index.example"})[0] == 200


def test_calls_in_progress_are_finished_when_it_stops(start, tmp_path):
    with start(tmp_path, http=True) as server:
        http = Http(server.http)
        docs = http.create_collection("docs", dim=64, retrain=False)
        docs.upsert(range(3000), np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32))
        found = []
        asking = threading.Thread(target=lambda: found.append(docs.measure_recall(1500, 10)))
        asking.start()
        time.sleep(0.3)
        assert "ERROR" not in server.stop()
        asking.join(30)
        assert found[0].recall > 0.5
        with pytest.raises(OSError):
            http.collections()


def test_under_tls(start, tmp_path):
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run([*command.split(), *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    options = {"tls_certificate": str(certificate), "tls_key": str(key)}
    with start(tmp_path / "data", http=True, **options) as server:
        assert server.http.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(certificate))
        with urllib.request.urlopen(f"{server.http}v1/health", context=trusting) as reply:
            assert json.load(reply) == {"status": "SERVING"}
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(f"{server.http}v1/health", context=ssl.create_default_context())
    with start(tmp_path / "data", http=True, **options, tls_client_ca=str(certificate)) as server:
        with pytest.raises(OSError):  # who shows no certificate does not get as far as a call
            urllib.request.urlopen(f"{server.http}v1/health", context=trusting)
        trusting.load_cert_chain(certificate, key)
        with urllib.request.urlopen(f"{server.http}v1/health", context=trusting) as reply:
            assert reply.status == 200
