"""DSU's residual networks as a producer: a picture to one unit vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bebr.models import items as kinds
from bebr.models import weights as files
from bebr.models.dsu.adaptation import measured
from bebr.models.dsu.config import SIZES, Config, backbone_state, manifest
from bebr.models.dsu.network import Network
from bebr.models.dsu.perturbation import plugged, statistics
from bebr.models.networks import NetworkProducer, restored, sized, untrained
from bebr.models.pixels import Resampling, by_channel, squeezed
from bebr.models.producer import check_batch_size

__all__ = ["Dsu"]

_WANTED = (
    "a folder that save() wrote, a re-identification checkpoint of ResNet-50, a ResNet-18 of Dassl, or torchvision's"
)
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures


class Dsu(NetworkProducer):
    """Pictures to float32 of unit length: 2048 dimensions (re-identification, behind the neck) or 512 (ResNet-18). The
    version is the digest of the weights. A picture is squeezed into the network's rectangle, as published."""

    name = "dsu"
    metric = "cosine"
    modality = "image"

    def __init__(self, network: Network, device: str = "cpu") -> None:
        super().__init__(network, network.config.dim, device)

    @classmethod
    def fresh(cls, config: Config = SIZES["tiny"], seed: int = 0, device: str = "cpu") -> Dsu:
        """An untrained one."""
        network = untrained(Network, config)
        network.initialize(seed)
        return cls(network, device)

    @classmethod
    def load(cls, weights: str | Path | None, size: str | None = None, device: str = "cpu") -> Dsu:
        """``size``, ``"reid-resnet50"`` or ``"resnet18"``, is needed where no ``config.json`` lies beside the weights.

        Training files hold the weights under ``state_dict``. ``resnet18`` takes torchvision's ImageNet weights too, to
        begin a training with. Raises ValueError listing the keys that are missing, unexpected or of another shape;
        FileNotFoundError.
        """
        path, described = cls.found(weights, _WANTED, size, SIZES)
        config = described or sized(path.parent, size, SIZES)
        state = backbone_state(files.read(path, within="state_dict"), config)
        files.compare(state, manifest(config), path)
        return cls(restored(Network, config, state), device)

    @staticmethod
    def same(config: Config, size: Config) -> bool:
        return replace(config, adapted=False) == size

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            out: npt.NDArray[np.float32] = normalize(self.network(self.pixels(batch)), dim=1).cpu().numpy()
        return out

    def adapted(self, pictures: Sequence[Any], reach: float = 1.0, batch_size: int = 64) -> Dsu:
        """Another producer with these weights that draws a picture's statistics back towards those of ``pictures``,
        which are the training ones or some of them: ours, see ``adaptation.py``. Its vectors are another version.

        reach: how far from them a picture's statistics may be; 1 is as far as the training pictures' own are on the
        whole. Raises ValueError for fewer than two pictures or a reach that is not positive.
        """
        kinds.check(pictures, self.modality)
        check_batch_size(batch_size)
        if len(pictures) < 2 or not reach > 0:
            raise ValueError(f"pictures, reach: got {len(pictures)} and {reach}, wanted at least 2, and above 0")
        config = self.network.config
        state = {key: value for key, value in self.network.state_dict().items() if not key.startswith("adaptation.")}
        plain = restored(Network, replace(config, adapted=False), state).eval()
        found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in config.place_channels]
        with torch.inference_mode():
            for start in range(0, len(pictures), batch_size):
                chosen = pictures[start : start + batch_size]
                opened = [kinds.picture(item, f"pictures[{start + at}]") for at, item in enumerate(chosen)]
                with plugged(plain.places, _Kept(found)):
                    plain(self.pixels(opened))
        state["adaptation.reach"] = torch.tensor(float(reach))
        for place, parts in enumerate(found):
            middles, spreads = measured(*(torch.cat(some) for some in zip(*parts, strict=True)))
            state |= {f"adaptation.middles.{place}": middles, f"adaptation.spreads.{place}": spreads}
        return Dsu(restored(Network, replace(config, adapted=True), state), self.device)

    @property
    def resampling(self) -> Resampling:
        """How pictures are resized: by cubics for re-identification, by lines in Dassl."""
        return Resampling.BICUBIC if self.network.config.neck else Resampling.BILINEAR

    def pixels(self, pictures: list[Any]) -> Tensor:
        """RGB PIL images to what the network reads, [n, 3, height, width]."""
        config = self.network.config
        return self.normalised(squeezed(pictures, (config.height, config.width), self.resampling).to(self.device))

    @staticmethod
    def normalised(pixels: Tensor) -> Tensor:
        """Values 0 to 1, [n, 3, height, width], by the mean and deviation of ImageNet's pictures."""
        return by_channel(pixels, _MEAN, _DEVIATION)


class _Kept:
    """Keeps the statistics of what passes the places, which are passed in turn."""

    def __init__(self, found: list[list[tuple[Tensor, Tensor]]]) -> None:
        self.found, self.passed = found, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.found[self.passed].append(statistics(x))
        self.passed += 1
        return x
