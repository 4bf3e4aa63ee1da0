"""FLM as a producer: pairs of a picture and a text, and either alone, to unit vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bebr.models import weights as files
from bebr.models.flm.config import SIZES, Config
from bebr.models.flm.files import manifest, renamed
from bebr.models.flm.network import Network
from bebr.models.flm.tokens import Tokens
from bebr.models.flm.vision import resized
from bebr.models.networks import NetworkProducer, check_vocabulary, restored, sized, untrained
from bebr.models.pixels import Resampling, by_channel, middles

__all__ = ["Flm"]

_WANTED = "a folder that save() wrote, or a checkpoint of the published class (.ckpt, .pt, .pth or .safetensors)"
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
_POSITIONS = "vit_model.visual.positional_embedding"


class Flm(NetworkProducer):
    """Pairs, pictures or texts to float32 of unit length, 768 dimensions (base). The version is the weights' digest.

    A pair is the reconstructor's first query after the last layer, through the pooler. A picture alone is its class
    token, a text alone that query before the picture comes in: of published weights these two are not one space; where
    ``ranking.fit`` trained the projections (ours) a text's nearest pictures are those that show it.
    """

    name = "flm"
    metric = "cosine"
    modality = "image+text|image|text"

    def __init__(self, network: Network, tokens: Tokens, device: str = "cpu") -> None:
        check_vocabulary(tokens.size, network)
        self.tokens = tokens
        super().__init__(network, network.config.width, device)

    @classmethod
    def fresh(cls, captions: list[str], config: Config = SIZES["tiny"], seed: int = 0, device: str = "cpu") -> Flm:
        """An untrained one with a vocabulary learned from ``captions``, of the config's ``vocab_size`` at most."""
        tokens = Tokens.learn(captions, config.vocab_size, config.max_tokens)
        network = untrained(Network, replace(config, vocab_size=tokens.size))
        network.initialize(seed)
        return cls(network, tokens, device)

    @classmethod
    def load(
        cls,
        weights: str | Path | None,
        size: str | None = None,
        image_size: int | None = None,
        vocabulary: str | Path | None = None,
        device: str = "cpu",
    ) -> Flm:
        """``size``, ``"base"``, is needed where no ``config.json`` lies beside the weights. ``image_size`` is that of
        the file if None; for another the table of positions is interpolated. ``vocabulary`` is the folder of RoBERTa's
        tokenizer, that of the weights if None.

        A checkpoint may be Lightning's, with the weights under ``state_dict``. Raises ValueError listing the keys that
        are missing, unexpected or of another shape; FileNotFoundError naming what is not there.
        """
        path, described = cls.found(weights, _WANTED, size, SIZES)
        config = described or sized(path.parent, size, SIZES)
        state = renamed(files.read(path, within="state_dict"), config)
        if described is None:
            config = replace(config, ranked="rank_output.weight" in state, image_size=_side(state, config))
        files.compare(state, manifest(config), path)
        if image_size is not None and image_size != config.image_size:
            config = replace(config, image_size=image_size)
            state[_POSITIONS] = resized(state[_POSITIONS], config.patches)
        folder = path.parent if vocabulary is None else Path(vocabulary).expanduser()
        return cls(restored(Network, config, state), Tokens.read(folder, config.max_tokens), device)

    def save(self, folder: str | Path, **more: Any) -> None:
        """With ``tokenizer.json`` besides."""
        super().save(folder, **more)
        self.tokens.save(Path(folder))

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[np.float32]:
        network = self.network
        with torch.inference_mode():
            if kind == "image":
                vectors = self.alone(picture=network.picture(self.pixels(batch)))
            elif kind == "text":
                vectors = self.alone(queries=network.read(self.ids(batch), self.tokens.marks).queries)
            else:
                shown, texts = zip(*batch, strict=True)
                reading = network.read(self.ids(list(texts)), self.tokens.marks)
                vectors = network.pair(network.look(reading, network.picture(self.pixels(list(shown)))))
            out: npt.NDArray[np.float32] = normalize(vectors, dim=1).cpu().numpy()
        return out

    def alone(self, picture: Tensor | None = None, queries: Tensor | None = None) -> Tensor:
        """[n, d] of what the network made of pictures or texts alone: the first token, projected where it can be."""
        given = picture if picture is not None else queries
        if given is None:
            raise ValueError("picture, queries: got neither, wanted one")
        if not self.network.config.projected:
            return given[:, 0]
        projection = self.network.image_projection if picture is not None else self.network.text_projection
        return given[:, 0] @ projection

    def ids(self, texts: list[str]) -> Tensor:
        """Texts to what the network reads, int64 [n, t]."""
        return self.tokens(texts).to(self.device)

    def pixels(self, pictures: list[Any]) -> Tensor:
        """RGB PIL images to what the network reads, [n, 3, side, side]."""
        cut = middles(pictures, self.network.config.image_size, Resampling.BICUBIC)
        return by_channel(cut.to(self.device), _MEAN, _DEVIATION)


def _side(state: dict[str, Any], config: Config) -> int:
    """Pixels of the pictures that a file's table of positions is for."""
    table = state.get(_POSITIONS)
    across = round((len(table) - 1) ** 0.5) if table is not None and table.ndim == 2 else 0
    square = across >= 1 and table is not None and across * across == len(table) - 1
    return across * config.patch_size if square else config.image_size
