"""CLIP (Radford et al. 2021) from its files: pictures and texts to unit vectors of one space, and pictures' patches.

Caption AnyThing's filter asks it whether a caption fits a crop; as a producer it makes texts find regions by look.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bebr.models import weights as files
from bebr.models.caption_anything.clip_config import SIZES, Config, manifest
from bebr.models.clip import Block, text_vectors
from bebr.models.networks import NetworkProducer, restored, sized
from bebr.models.pixels import Resampling, by_channel, middles
from bebr.models.rils.tokens import FILES, Tokens, vocabulary_of

__all__ = ["Clip", "Network"]

_WANTED = "a folder that save() wrote, or a state dict under the published keys (open_clip's .bin or .safetensors)"
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_FACTS = ("input_resolution", "context_length", "vocab_size")  # numbers that some files hold beside the weights


class Pictures(nn.Module):
    """Normalised pixels [n, 3, side, side] to tokens [n, 1 + patches, width], class token first, before ``ln_post``."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.width
        self.conv1 = nn.Conv2d(3, d, config.patch_size, config.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(d))
        self.positional_embedding = nn.Parameter(torch.zeros(config.patches + 1, d))
        self.ln_pre, self.ln_post = nn.LayerNorm(d), nn.LayerNorm(d)
        blocks = [Block(d, config.heads, causal=False) for _ in range(config.layers)]
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})
        self.proj = nn.Parameter(torch.zeros(d, config.embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(patches), 1, -1), patches], 1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.transformer["resblocks"]:
            x = block(x)
        return x


class Network(nn.Module):
    """Both encoders. Vectors are not normalised here."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        text = config.text_width
        self.visual = Pictures(config)
        blocks = [Block(text, config.text_heads, causal=True) for _ in range(config.text_layers)]
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})
        self.token_embedding = nn.Embedding(config.vocab_size, text)
        self.positional_embedding = nn.Parameter(torch.zeros(config.context, text))
        self.ln_final = nn.LayerNorm(text)
        self.text_projection = nn.Parameter(torch.zeros(text, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """[n, embed_dim]: the class token."""
        return self.visual.ln_post(self.visual(pixels)[:, 0]) @ self.visual.proj

    def encode_text(self, tokens: Tensor) -> Tensor:
        """int64 [n, t] to [n, embed_dim]: the mark of the text's end."""
        return text_vectors(self, tokens)


class Clip(NetworkProducer):
    """Pictures or texts to float32 of unit length: 512 dimensions (B/32, B/16) or 768 (L/14). The version is the
    digest of the weights."""

    name = "clip"
    metric = "cosine"
    modality = "image|text"

    def __init__(self, network: Network, tokens: Tokens, device: str = "cpu") -> None:
        self.tokens = tokens
        super().__init__(network, network.config.embed_dim, device)

    @classmethod
    def load(
        cls,
        weights: str | Path | None,
        size: str | None = None,
        vocabulary: str | Path | None = None,
        device: str = "cpu",
    ) -> Clip:
        """``size``, as ``"vit-b-32"``, is needed where no ``config.json`` lies beside the weights. ``vocabulary`` is
        the file of CLIP's merges, looked for beside the weights if None.

        OpenAI's own files are programs (TorchScript) and are refused; open_clip's hold the same weights. Raises
        ValueError listing the keys that are missing, unexpected or of another shape; FileNotFoundError.
        """
        path, described = cls.found(weights, _WANTED, size, SIZES)
        config = described or sized(path.parent, size, SIZES)
        state = {key: one for key, one in files.read(path, within="state_dict").items() if key not in _FACTS}
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
                pixels = middles(batch, self.network.config.image_size, Resampling.BICUBIC).to(self.device)
                vectors = self.network.encode_image(by_channel(pixels, _MEAN, _DEVIATION))
            out: npt.NDArray[np.float32] = torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
        return out
