"""SimCSE as a producer: a folder of the published layout to unit vectors of sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bebr.models import weights as files
from bebr.models.networks import NetworkProducer, check_vocabulary, restored
from bebr.models.simcse.config import Config, manifest, renamed
from bebr.models.simcse.network import Encoder
from bebr.models.simcse.tokens import Tokens

__all__ = ["VARIANTS", "SimCSE"]

VARIANTS = ("supervised", "unsupervised")
_WANTED = "a folder with config.json, model.safetensors or pytorch_model.bin, and the tokenizer's files"


class SimCSE(NetworkProducer):
    """Sentences to float32 of unit length, 768 dimensions (base) or 1,024 (large).

    ``variant`` says which vector of the first token is taken: ``"supervised"`` after the pooler, tanh(W h + b),
    ``"unsupervised"`` before it (there the pooler only serves in training). The version is the digest of the weights
    and the variant.
    """

    name = "simcse"
    metric = "cosine"
    modality = "text"

    def __init__(self, network: Encoder, tokens: Tokens, variant: str, device: str = "cpu") -> None:
        if variant not in VARIANTS:
            raise ValueError(f"variant: got {variant!r}, wanted 'supervised' or 'unsupervised'")
        check_vocabulary(tokens.size, network, "weights: the tokenizer has")
        self.tokens, self.variant = tokens, variant
        super().__init__(network, network.config.hidden_size, device)

    def refresh(self) -> None:
        super().refresh()
        self.version += f"-{self.variant}"

    @classmethod
    def load(
        cls, weights: str | Path | None, variant: str | None = None, max_tokens: int | None = None, device: str = "cpu"
    ) -> SimCSE:
        """From a folder as ``save`` or Hugging Face writes it. ``variant`` may be left out where ``save`` wrote it.
        Texts are cut to ``max_tokens`` word pieces, marks included: 128, as the authors do, or fewer if it reads fewer.

        Raises ValueError listing the keys of the weights that are missing, unexpected or of another shape;
        FileNotFoundError naming what is not there.
        """
        path = files.find(weights, cls.name, _WANTED)
        raw = files.read_config(path.parent, cls.name)
        config = Config.from_json(raw)
        variant = variant or raw.get("simcse_variant")
        if variant is None:
            raise ValueError(f"variant: {path.parent} does not say: give 'supervised' or 'unsupervised'")
        max_tokens = min(128, config.max_tokens) if max_tokens is None else max_tokens
        if max_tokens > config.max_tokens:
            raise ValueError(f"max_tokens: got {max_tokens}, but the network reads at most {config.max_tokens}")
        state = renamed(files.read(path), config.model_type)
        files.compare(state, manifest(config), path)
        tokens = Tokens.read(path.parent, config.model_type, config.pad_token_id, max_tokens)
        return cls(restored(Encoder, config, state), tokens, variant, device)

    def save(self, folder: str | Path, **more: Any) -> None:
        """With ``tokenizer.json`` besides: a folder that Hugging Face reads too."""
        super().save(folder, simcse_variant=self.variant, **more)
        self.tokens.save(Path(folder))

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            ids, mask = (torch.from_numpy(part).to(self.device) for part in self.tokens(batch))
            vectors = self.network(ids, mask, pooled=self.variant == "supervised")
            out: npt.NDArray[np.float32] = torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
        return out
