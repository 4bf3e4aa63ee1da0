"""A2MC as a producer: a skeleton clip to one unit vector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize

from bebr.models import weights as files
from bebr.models.a2mc.config import SIZES, Config, encoder_state, manifest
from bebr.models.a2mc.network import Network, initialize
from bebr.models.a2mc.prepare import prepared, resampled
from bebr.models.networks import NetworkProducer, restored, sized, untrained

__all__ = ["A2mc"]

_WANTED = "a folder that save() wrote, or a checkpoint of the published class (.pt, .pth or .pth.tar)"


class A2mc(NetworkProducer):
    """Skeleton clips to float32 of unit length, 4096 dimensions as published: what happens over time, then in space.
    The version is the digest of the weights. A clip is prepared as in training, and its middle 95% is read."""

    name = "a2mc"
    metric = "cosine"
    modality = "clip"

    def __init__(self, network: Network, device: str = "cpu") -> None:
        super().__init__(network, network.config.dim, device)

    @classmethod
    def fresh(cls, config: Config = SIZES["tiny"], seed: int = 0, device: str = "cpu") -> A2mc:
        """An untrained one."""
        network = untrained(Network, config)
        initialize(network, seed)
        return cls(network, device)

    @classmethod
    def load(cls, weights: str | Path | None, size: str | None = None, device: str = "cpu") -> A2mc:
        """``size``, ``"ntu"``, is needed where no ``config.json`` lies beside the weights: a training file with the
        weights under ``state_dict``, of which the query encoder is read. Raises ValueError listing the keys that are
        missing, unexpected or of another shape; FileNotFoundError."""
        path, described = cls.found(weights, _WANTED, size, SIZES)
        config = described or sized(path.parent, size, SIZES)
        state = encoder_state(files.read(path, within="state_dict"))
        files.compare(state, manifest(config), path)
        return cls(restored(Network, config, state), device)

    def prepared(self, clip: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """A clip [frames, persons, joints, 3] brought to where every clip begins: ``prepare.py``."""
        config = self.network.config
        return prepared(clip, config.graph, config.persons)

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[np.float32]:
        clips = np.stack([resampled(self.prepared(clip), self.network.config.frames) for clip in batch])
        with torch.inference_mode():
            read = torch.from_numpy(clips.transpose(0, 2, 1, 3, 4)).to(self.device)
            out: npt.NDArray[np.float32] = normalize(torch.cat(self.network(read), 1), dim=1).cpu().numpy()
        return out
