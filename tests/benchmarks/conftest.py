"""The benchmarks are not installed: they are found from the root of the tree, as ``python -m`` finds them there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Each test has a cache of its own, so that none can pass on what another left."""
    monkeypatch.setenv("BEBR_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"
