"""A small configuration and generated checkpoints of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bebr.models.rils.config import Config, manifest

pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
pytest.importorskip("tokenizers", reason="tokenizers is absent: pip install 'bebr[models]'")
pytest.importorskip("PIL", reason="Pillow is absent: pip install 'bebr[models]'")

import torch

SMALL = Config(24, 8, 24, 2, 2, 16, 2, 32, 2, 4, 12, 514 + 6, 20)
MERGES = [("d", "o"), ("do", "g</w>"), ("c", "a"), ("ca", "t</w>"), ("r", "e"), ("re", "d</w>")]


@pytest.fixture
def small() -> Config:
    return SMALL


@pytest.fixture
def generated():
    """generated(config, seed=0): a checkpoint of seeded numbers, made from the manifest and not from the network."""

    def make(config: Config, seed: int = 0) -> dict[str, torch.Tensor]:
        from bebr.models.rils.vision import positions

        random = np.random.default_rng(seed)
        state = {}
        for key, shape in manifest(config).items():
            middle = 1.0 if key.endswith("weight") and (".norm" in key or ".ln_" in key) else 0.0
            state[key] = torch.from_numpy(np.asarray(random.normal(middle, 0.2, shape), np.float32))
        across = config.image_size // config.patch_size
        state["visual.pos_embed"] = positions(config.width, across)
        state["visual.decoder_pos_embed"] = positions(config.decoder_width, across)
        return state

    return make


@pytest.fixture
def merges(tmp_path) -> Path:
    """A vocabulary of 514 + 6 entries in CLIP's file."""
    path = tmp_path / "words" / "merges.txt"
    path.parent.mkdir()
    path.write_text("#version: 0.2\n" + "\n".join(map(" ".join, MERGES)) + "\n")
    return path
