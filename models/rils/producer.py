"""RILS as a producer: pictures and texts to unit vectors of one space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bebr.models import weights as files
from bebr.models.networks import NetworkProducer, check_vocabulary, restored, sized, untrained
from bebr.models.pixels import Resampling, by_channel, middles
from bebr.models.rils.config import SIZES, Config, manifest, renamed
from bebr.models.rils.network import Network
from bebr.models.rils.tokens import BASE, FILES, Tokens, learn, vocabulary_of

__all__ = ["Rils", "normalised"]

_WANTED = "a folder that save() wrote, or a checkpoint of the published class (.pt, .pth or .safetensors)"
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Rils(NetworkProducer):
    """Pictures or texts to float32 of unit length, 512 dimensions (B/16) or 768 (L/16): a text's nearest pictures are
    those that show it. The version is the digest of the weights.

    A picture's short side is resized to the network's and the middle cut out, as SLIP does (Mu et al. 2022).
    """

    name = "rils"
    metric = "cosine"
    modality = "image|text"

    def __init__(self, network: Network, tokens: Tokens, device: str = "cpu") -> None:
        check_vocabulary(tokens.size, network, exactly=True)
        self.tokens = tokens
        super().__init__(network, network.config.embed_dim, device)

    @classmethod
    def fresh(cls, texts: list[str], config: Config = SIZES["tiny"], seed: int = 0, device: str = "cpu") -> Rils:
        """An untrained one with a vocabulary learned from ``texts``, of the config's ``vocab_size`` at most."""
        merges = learn(texts, config.vocab_size - BASE)
        made = replace(config, vocab_size=BASE + len(merges))
        network = untrained(Network, made)
        network.initialize(seed)
        return cls(network, Tokens(merges, made.context), device)

    @classmethod
    def load(
        cls,
        weights: str | Path | None,
        size: str | None = None,
        vocabulary: str | Path | None = None,
        device: str = "cpu",
    ) -> Rils:
        """``size``, ``"vit-b-16"`` or ``"vit-l-16"``, is needed where no ``config.json`` lies beside the weights.
        ``vocabulary`` is the file of CLIP's merges, looked for beside the weights if None.

        A checkpoint may be a training file with the weights under ``state_dict``. Raises ValueError listing the keys
        that are missing, unexpected or of another shape; FileNotFoundError naming what is not there.
        """
        path, described = cls.found(weights, _WANTED, size, SIZES)
        config = described or sized(path.parent, size, SIZES)
        state = renamed(files.read(path, within="state_dict"))
        files.compare(state, manifest(config), path)
        tokens = Tokens.read(vocabulary_of(path.parent, vocabulary), config.vocab_size, config.context)
        return cls(restored(Network, config, state), tokens, device)

    def save(self, folder: str | Path, **more: Any) -> None:
        """With ``merges.txt`` besides."""
        super().save(folder, **more)
        self.tokens.save(Path(folder) / FILES[0])

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            if kind == "text":
                vectors = self.network.encode_text(torch.from_numpy(self.tokens(batch)).to(self.device))
            else:
                vectors = self.network.encode_image(self.pixels(batch))
            out: npt.NDArray[np.float32] = torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
        return out

    def pixels(self, pictures: list[Any]) -> Tensor:
        """RGB PIL images to what the network reads, [n, 3, side, side]."""
        side = self.network.config.image_size
        return normalised(middles(pictures, side, Resampling.BILINEAR).to(self.device))


def normalised(pixels: Tensor) -> Tensor:
    """Values 0 to 1, [n, 3, height, width], by the mean and deviation of ImageNet's pictures."""
    return by_channel(pixels, _MEAN, _DEVIATION)
