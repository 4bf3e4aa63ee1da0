"""GVT as a producer: a picture to one unit vector, or to several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bebr.models import items as kinds
from bebr.models import weights as files
from bebr.models.gvt.config import SIZES, Config, manifest
from bebr.models.gvt.layouts import network_state
from bebr.models.gvt.network import Network, initialize
from bebr.models.networks import NetworkProducer, restored, untrained
from bebr.models.pixels import Resampling, by_channel, squeezed
from bebr.models.producer import Progress, check_batch_size

__all__ = ["Gvt", "normalised"]

_WANTED = (
    "a folder that save() wrote, or a file of GVT, of EVA02_CLIP_L_psz14 or of timm's eva02_large_patch14_clip_224"
)
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Gvt(NetworkProducer):
    """Pictures to float32 of unit length, 1024 dimensions (L/14): the mean of all tokens after ``ln_vision``.

    ``latents`` and ``tokens`` give several vectors of a picture, for ``bebr.MaxSimIndex``. The version is the digest of
    the weights. A picture is squeezed into the network's square, as published: nothing is cut off, proportions change.
    """

    name = "gvt"
    metric = "cosine"
    modality = "image"

    def __init__(self, network: Network, device: str = "cpu") -> None:
        super().__init__(network, network.config.width, device)

    @classmethod
    def fresh(cls, config: Config = SIZES["tiny"], seed: int = 0, device: str = "cpu") -> Gvt:
        """An untrained one."""
        network = untrained(Network, config)
        initialize(network, seed)
        return cls(network, device)

    @classmethod
    def load(cls, weights: str | Path | None, size: str | None = None, device: str = "cpu") -> Gvt:
        """Where no ``config.json`` lies beside the weights they are of ``size``, by default ``"vit-l-14"``, the one
        published, in any of the layouts of ``layouts.py``; the tensors may stand under ``model``.

        Raises ValueError listing the keys that are missing, unexpected or of another shape; FileNotFoundError.
        """
        path, config = cls.found(weights, _WANTED, size, SIZES)
        if config is None:
            state, config = network_state(files.read(path, within="model"), SIZES[size or "vit-l-14"], path)
        else:
            state = files.read(path)
            files.compare(state, manifest(config), path)
        return cls(restored(Network, config, state), device)

    @staticmethod
    def same(config: Config, size: Config) -> bool:
        return config in (size, size.without_latents())

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            out: npt.NDArray[np.float32] = normalize(self.network.encode_image(self.pixels(batch)), dim=1).cpu().numpy()
        return out

    def latents(
        self, items: Sequence[Any], batch_size: int = 64, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """The resampler's latents of each picture, each of unit length: float32 [n, latents, dim].

        Raises ValueError where the weights came without a resampler, and what ``embed`` raises.
        """
        if not self.network.config.latents:
            raise ValueError(
                "latents: these weights are an encoder's alone: they have no resampler; tokens() they have"
            )
        return self._several(self.network.resample, self.network.config.latents, items, batch_size, progress)

    def tokens(
        self, items: Sequence[Any], batch_size: int = 64, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """The patches of each picture, row by row, each of unit length and without the class token: float32
        [n, patches, dim]. Errors as ``embed``."""
        patches = self.network.config.patches
        return self._several(lambda pixels: self.network.tokens(pixels)[:, 1:], patches, items, batch_size, progress)

    def _several(
        self,
        network: Callable[[Tensor], Tensor],
        count: int,
        items: Sequence[Any],
        batch_size: int,
        progress: Progress | None,
    ) -> npt.NDArray[np.float32]:
        kinds.check(items, self.modality)
        check_batch_size(batch_size)
        out = np.empty((len(items), count, self.dim), np.float32)
        for start in range(0, len(items), batch_size):
            chosen = items[start : start + batch_size]
            opened = [kinds.picture(item, f"items[{start + at}]") for at, item in enumerate(chosen)]
            with torch.inference_mode():
                out[start : start + len(opened)] = normalize(network(self.pixels(opened)), dim=2).cpu().numpy()
            if progress is not None:
                progress(start + len(opened), len(items))
        return out

    def pixels(self, pictures: list[Any]) -> Tensor:
        """RGB PIL images to what the network reads, [n, 3, side, side]."""
        side = self.network.config.image_size
        return normalised(squeezed(pictures, (side, side), Resampling.BICUBIC).to(self.device))


def normalised(pixels: Tensor) -> Tensor:
    """Values 0 to 1, [n, 3, height, width], by the mean and deviation that CLIP was trained with."""
    return by_channel(pixels, _MEAN, _DEVIATION)
