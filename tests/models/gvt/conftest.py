"""A small configuration and generated checkpoints of it."""

from __future__ import annotations

import numpy as np
import pytest

from bebr.models.gvt.config import Config, manifest

pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
pytest.importorskip("PIL", reason="Pillow is absent: pip install 'bebr[models]'")

import torch

SMALL = Config(24, 8, 32, 2, 2, 43, 4, 2, 2, 6)


@pytest.fixture
def small() -> Config:
    return SMALL


@pytest.fixture
def generated():
    """generated(config, seed=0): weights of seeded numbers, made from the manifest and not from the network."""

    def make(config: Config, seed: int = 0) -> dict[str, torch.Tensor]:
        random = np.random.default_rng(seed)
        state = {}
        for key, shape in manifest(config).items():
            middle = 1.0 if key.endswith("weight") and len(shape) == 1 else 0.0
            state[key] = torch.from_numpy(np.asarray(random.normal(middle, 0.2, shape), np.float32))
        return state

    return make
