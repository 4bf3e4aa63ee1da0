"""A small configuration and generated checkpoints of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bebr.models.flm.config import Config

pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[models]'")
pytest.importorskip("tokenizers", reason="tokenizers is absent: pip install 'bebr[models]'")
pytest.importorskip("PIL", reason="Pillow is absent: pip install 'bebr[models]'")

import torch

from bebr.models.flm.files import manifest

SMALL = Config(16, 8, 24, 2, 2, 2, 2, 3, 60, 20, 18, 0.1, True, False)


@pytest.fixture
def small() -> Config:
    return SMALL


@pytest.fixture
def generated():
    """generated(config, seed=0): a checkpoint of seeded numbers, made from the manifest and not from the network."""

    def make(config: Config, seed: int = 0) -> dict[str, torch.Tensor]:
        random = np.random.default_rng(seed)
        state = {}
        for key, shape in manifest(config).items():
            middle = 1.0 if key.endswith("weight") and ("LayerNorm" in key or ".ln_" in key) else 0.0
            state[key] = torch.from_numpy(np.asarray(random.normal(middle, 0.2, shape), np.float32))
        return state

    return make


@pytest.fixture
def vocabulary(tmp_path) -> Path:
    """A folder with RoBERTa's two files: marks, bytes and a few merges, the mark for a hidden token last."""
    import json

    from tokenizers.pre_tokenizers import ByteLevel

    words = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "do", "dog", "<mask>"]
    folder = tmp_path / "roberta"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({one: i for i, one in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nd o\ndo g\n")
    return folder
