"""An empty cache of data sets, npm archives made in the test, and what tests of networks share."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="module")
def reference(request: pytest.FixtureRequest) -> ModuleType:
    """The equations in NumPy: ``reference.py`` beside the test."""
    path = request.path.with_name("reference.py")
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_reference", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks this small lose most of their time to threads that wait for each other."""
    torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
