"""An empty cache of data sets, and npm archives made in the test."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bebr.models.data import npm


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of built sets, and no registry to ask."""
    monkeypatch.setenv("BEBR_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")  # nothing listens there
    return tmp_path / "cache"


@pytest.fixture
def package(cache: Path) -> Callable[[str, dict[str, object]], npm.Package]:
    """package(name, files) puts an npm archive into the cache, as `npm pack` would leave it."""

    def make(name: str, files: dict[str, object]) -> npm.Package:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w:gz") as archive:
            for path, content in files.items():
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                member = tarfile.TarInfo(f"package/{path}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(raw.getvalue()).digest()).decode()
        made = npm.Package(name, "1.0.0", integrity)
        (cache / "npm").mkdir(parents=True, exist_ok=True)
        (cache / "npm" / made.file).write_bytes(raw.getvalue())
        return made

    return make
