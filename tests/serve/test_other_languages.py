"""A client in another language, made of the proto file alone, as docs/clients has it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("@grpc/grpc-js@1", "@grpc/proto-loader@0.7")


@pytest.fixture
def node(tmp_path):
    """A folder where node finds what the example needs."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", tmp_path, *PACKAGES]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm finds no packages in time")
    if done.returncode:
        pytest.skip(f"npm cannot install here: {done.stderr.strip().splitlines()[-1]}")
    return tmp_path


def test_a_client_in_javascript(node, server):
    shutil.copy(ROOT / "docs" / "clients" / "search.mjs", node)
    command = ["node", "search.mjs", server.target, ROOT / "proto" / "bebr" / "v1" / "bebr.proto"]
    done = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("7 1.000, ") and first.endswith('{"title":"row 7"}')
    assert second.startswith("8 1.000, ") and second.endswith('{"title":"row 8"}')
