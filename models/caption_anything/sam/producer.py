"""SAM from its file: pictures to maps, maps and prompts to masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, pad

from bebr.models import weights as files
from bebr.models.caption_anything.sam.config import SIZES, Config, manifest
from bebr.models.caption_anything.sam.decoder import MaskDecoder, PromptEncoder
from bebr.models.caption_anything.sam.encoder import ImageEncoder
from bebr.models.networks import NetworkProducer, restored, sized
from bebr.models.pixels import Resampling, by_channel, squeezed

__all__ = ["Network", "Sam", "Seen"]

_WANTED = "a folder that save() wrote, or a published file (sam_vit_b_01ec64.pth)"
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Network(nn.Module):
    """The three parts."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = ImageEncoder(config)
        self.prompt_encoder = PromptEncoder(config)
        self.mask_decoder = MaskDecoder(config)


@dataclass(frozen=True)
class Seen:
    """A picture's map, ``features`` [1, channels, across, across]: the picture's ``size`` (height, width) was brought
    to ``scaled`` pixels, which lie in the top left of the network's square."""

    features: Tensor
    size: tuple[int, int]
    scaled: tuple[int, int]


class Sam(NetworkProducer):
    """Pictures to the mean of their map, float32 of unit length, 256 dimensions. Regions of a picture have such vectors
    by ``looks.Mapped``, and masks by ``segmenter.BySam``. The version is the digest of the weights."""

    name = "sam"
    metric = "cosine"
    modality = "image"

    def __init__(self, network: Network, device: str = "cpu") -> None:
        super().__init__(network, network.config.channels, device)

    @classmethod
    def load(cls, weights: str | Path | None, size: str | None = None, device: str = "cpu") -> Sam:
        """``size``, as ``"vit-b"``, is needed where no ``config.json`` lies beside the weights.

        Raises ValueError listing the keys that are missing, unexpected or of another shape; FileNotFoundError.
        """
        path, described = cls.found(weights, _WANTED, size, SIZES)
        config = described or sized(path.parent, size, SIZES)
        state = files.read(path)
        files.compare(state, manifest(config), path)
        return cls(restored(Network, config, state), device)

    def see(self, picture: Any) -> Seen:
        """The map of an RGB PIL image: its longer side becomes that of the network, the rest is padded."""
        side = self.network.config.image_size
        scale = side / max(picture.size)
        height, width = (max(1, int(one * scale + 0.5)) for one in (picture.height, picture.width))
        pixels = by_channel(squeezed([picture], (height, width), Resampling.BILINEAR), _MEAN, _DEVIATION)
        with torch.inference_mode():
            features = self.network.image_encoder(pad(pixels, (0, side - width, 0, side - height)).to(self.device))
        return Seen(features, (picture.height, picture.width), (height, width))

    def answer(
        self, seen: Seen, points: npt.ArrayLike, labels: npt.ArrayLike, first: Tensor | None = None
    ) -> tuple[Tensor, npt.NDArray[np.float32]]:
        """Prompts to logits [n, 1 + masks, 4 across, 4 across] of the network's square, and the IoU that each mask is
        expected to have, float32 [n, 1 + masks]. The first mask is for prompts that can mean but one thing.

        points  [n, p, 2] (column, row) in the picture's pixels; ``labels`` int [n, p] of ``decoder``
        first   logits [n, 1, 4 across, 4 across] of a mask that is to be made better
        """
        network, side = self.network, self.network.config.image_size
        scale = np.array([seen.scaled[1] / seen.size[1], seen.scaled[0] / seen.size[0]])
        at = torch.from_numpy(((np.asarray(points, float) * scale + 0.5) / side).astype(np.float32)).to(self.device)
        kinds = torch.from_numpy(np.asarray(labels, np.int64)).to(self.device)
        with torch.inference_mode():
            encoder = network.prompt_encoder
            tokens, mask = encoder.points(at, kinds), encoder.mask(first)
            logits, quality = network.mask_decoder(seen.features, encoder.places(), tokens, mask)
        return logits, quality.cpu().numpy()

    def enlarged(self, seen: Seen, logits: Tensor) -> npt.NDArray[np.float32]:
        """Logits [n, 4 across, 4 across] to those of the picture's pixels, [n, height, width]."""
        side = self.network.config.image_size
        with torch.inference_mode():
            square = interpolate(logits[:, None], (side, side), mode="bilinear", align_corners=False)
            cut = square[..., : seen.scaled[0], : seen.scaled[1]]
            out: npt.NDArray[np.float32] = (
                interpolate(cut, seen.size, mode="bilinear", align_corners=False)[:, 0].cpu().numpy()
            )
        return out

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[np.float32]:
        out = []
        for picture in batch:
            seen = self.see(picture)
            rows, columns = (-(-one // self.network.config.patch_size) for one in seen.scaled)
            out.append(normalize(seen.features[0, :, :rows, :columns].mean((1, 2)), dim=0).cpu().numpy())
        return np.stack(out)
