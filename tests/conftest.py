"""What every test may use: embeddings with a steep spectrum, as real ones have, made from a seed."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
from typing import Any

import numpy as np
import pytest

import bebr

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def pytest_collection_finish() -> None:
    """Modules and tests live as long as the process: once frozen, no garbage collection looks at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _log_as_it_was():
    """A server that was started in this process writes bebr's log to its own handlers from then on."""
    log = logging.getLogger("bebr")
    before = log.handlers[:], log.propagate, log.level
    yield
    log.handlers[:], log.propagate = before[:2]
    log.setLevel(before[2])


NO_DEVICE = 3  # what `pytest -m cuda` ends with where there is none


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `cuda` need a device: without one they are skipped, and asked for alone they are refused. Those
    marked `cluster` start Ray, which takes a minute of processors: they run where they are asked for."""
    for item in items:
        if item.get_closest_marker("cluster") and config.option.markexpr != "cluster":
            item.add_marker(pytest.mark.skip(reason="starts Ray: ask for it by -m cluster"))
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked:
        return
    from bebr import device

    if isinstance(why := device.found(), list):
        return
    if config.option.markexpr == "cuda":
        pytest.exit(f"no CUDA device: {why}", NO_DEVICE)
    for item in marked:
        item.add_marker(pytest.mark.skip(reason=f"no CUDA device: {why}"))


def clustered(n: int, d: int, seed: int = 0) -> np.ndarray:
    """float32[n, d]: a mixture of 50 Gaussians whose spectrum falls as 1/i, unit length."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((d, d)))[0]
    scale = 1 / np.sqrt(np.arange(1, d + 1))
    centers = np.random.default_rng(2).standard_normal((50, d)) * scale
    x = centers[rng.integers(0, 50, n)] + rng.standard_normal((n, d)) * scale
    x = x @ basis + 0.1
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


_models: dict[tuple[Any, ...], bebr.Binarizer] = {}


def model_of(x: np.ndarray, **options: Any) -> bebr.Binarizer:
    """``bebr.train(x, seed=0, **options)``, done once a process: for tests of something else than training."""
    options = {"metric": "cosine", "seed": 0} | options
    key = (hashlib.sha256(np.ascontiguousarray(x)).digest(), x.shape, repr(sorted(options.items())))
    if key not in _models:
        _models[key] = bebr.train(x, **options)
    return _models[key]


@pytest.fixture(scope="session")
def vectors() -> np.ndarray:
    """3,000 vectors of 64 dimensions."""
    return clustered(3000, 64)


@pytest.fixture(scope="session")
def queries() -> np.ndarray:
    """50 vectors from the same mixture, none of them in ``vectors``."""
    return clustered(50, 64, seed=9)


def payloads_of(collection, ids) -> list[dict | None]:
    """The payload of each row; all of them are there."""
    return [row.payload for row in collection.get(ids)]


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean share of ``truth``'s rows found."""
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)]))


@pytest.fixture(scope="session")
def postgres():
    """PostgreSQL's server (`tests.postgres.Server`), for all tests of a process."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'bebr[cluster]'")
    from benchmarks.postgres import programs
    from tests.postgres import Server

    if programs() is None:
        pytest.skip("needs PostgreSQL's server: apt-get install postgresql")
    server = Server()
    yield server
    server.remove()
