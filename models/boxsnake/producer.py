"""BoxSnake as a producer of objects: each with its polygon, and a vector of what lies inside or of its shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from bebr.models import weights as files
from bebr.models.boxsnake.config import CELL, SIZES, STRIDE, Config, manifest
from bebr.models.boxsnake.files import network_state
from bebr.models.boxsnake.network import Network, initialize
from bebr.models.boxsnake.polygons import SHAPE, coverage, shape_vectors
from bebr.models.networks import NetworkProducer, restored, sized, untrained
from bebr.models.objects import ObjectProducer

__all__ = ["VECTORS", "BoxSnake", "pooled", "prepared"]

VECTORS = ("look", "shape", "look+shape")

_WANTED = "a folder that save() wrote, or a training file of the released code (.pth)"
_MEAN = (103.53, 116.28, 123.675)  # blue, green, red, as detectron2's networks were trained


class BoxSnake(NetworkProducer, ObjectProducer):
    """Objects of pictures as float32 of unit length, by ``vector``:

    ``look``        the mean of the pyramid's finest map inside the polygon, 256 dimensions (R-50, R-101)
    ``shape``       the outline alone, 64 dimensions: the same wherever it lies, turned and scaled
    ``look+shape``  both, one behind the other, 320 dimensions; each counts half

    ``embed`` takes a picture of one object: its box is the whole picture. Facts of an object: ``polygon`` (a list of
    [column, row] in the picture's pixels), ``box`` (its left, top, right and bottom), ``score``, and ``class``, COCO's
    number from 0 on, where the network names classes.
    """

    name = "boxsnake"
    metric = "cosine"
    modality = "image"

    def __init__(
        self, network: Network, device: str = "cpu", vector: str = "look", least: float = 0.5, most: int = 100
    ) -> None:
        if vector not in VECTORS:
            raise ValueError(f"vector: got {vector!r}, wanted {', '.join(VECTORS)}")
        if not 0 <= least < 1 or most < 1:
            raise ValueError(f"least, most: got {least}, {most}, wanted 0 to below 1, and at least 1")
        self.vector, self.least, self.most = vector, least, most
        look = network.config.fpn
        super().__init__(network, {"look": look, "shape": SHAPE, "look+shape": look + SHAPE}[vector], device)

    def refresh(self) -> None:
        """The version also says which vector it is, unless it is ``look``."""
        super().refresh()
        if self.vector != "look":
            self.version += f"-{self.vector}"

    @classmethod
    def fresh(cls, config: Config = SIZES["tiny"], seed: int = 0, device: str = "cpu", **options: Any) -> BoxSnake:
        """An untrained one."""
        network = untrained(Network, config)
        initialize(network, seed)
        return cls(network, device, **options)

    @classmethod
    def load(
        cls,
        weights: str | Path | None,
        size: str | None = None,
        device: str = "cpu",
        vector: str = "look",
        least: float | str = 0.5,
        most: int = 100,
    ) -> BoxSnake:
        """``size``, ``"r50"`` or ``"r101"``, is needed where no ``config.json`` lies beside the weights. Objects are
        kept that score above ``least``, at most ``most`` a picture.

        Raises ValueError listing the keys that are missing, unexpected or of another shape; FileNotFoundError.
        """
        path, described = cls.found(weights, _WANTED, size, SIZES)
        config = described or sized(path.parent, size, SIZES)
        state = network_state(files.read(path, within="model"), path)
        files.compare(state, manifest(config), path)
        return cls(restored(Network, config, state), device, vector, float(least), int(most))

    def find(self, batch: list[Any]) -> list[tuple[npt.NDArray[np.float32], list[dict[str, Any]]]]:
        out = []
        for picture in batch:
            with torch.inference_mode():
                pixels, (rows, columns) = self.pixels(picture)
                maps = self.network.maps(pixels)
                found = self.network.objects(maps, 0, (rows, columns), self.least, self.most)
                vectors, polygons = self._outlined(maps, found.boxes)
            back = torch.tensor([picture.width / columns, picture.height / rows], device=polygons.device)
            boxes = (found.boxes.view(-1, 2, 2) * back).flatten(1)
            told: list[dict[str, Any]] = []
            for polygon, box, score, kind in zip(
                (polygons * back).tolist(), boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
            ):
                sides = dict(zip(("left", "top", "right", "bottom"), (round(side, 2) for side in box), strict=True))
                fact = {
                    "polygon": [[round(x, 2) for x in at] for at in polygon],
                    "box": sides,
                    "score": round(score, 4),
                }
                told.append(fact | ({"class": kind} if self.network.config.classes else {}))
            out.append((vectors, told))
        return out

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[np.float32]:
        out = []
        for picture in batch:
            with torch.inference_mode():
                pixels, (rows, columns) = self.pixels(picture)
                box = torch.tensor([[0.0, 0.0, columns, rows]], device=self.device)
                out.append(self._outlined(self.network.maps(pixels), box)[0])
        return np.concatenate(out)

    def pixels(self, picture: Any) -> tuple[Tensor, tuple[int, int]]:
        """An RGB PIL image to what the network reads, [1, 3, h, w]; its rows and columns before it was filled up."""
        config = self.network.config
        return prepared(picture, config.image_size, config.longest, self.device)

    def _outlined(self, maps: list[Tensor], boxes: Tensor) -> tuple[npt.NDArray[np.float32], Tensor]:
        """Vectors [n, dim] and polygons [n, vertices, 2] of one picture's boxes."""
        of = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
        polygons = self.network.outlines(maps, boxes, of)[-1]
        parts = []
        if "look" in self.vector:
            parts.append(normalize(pooled(maps[0][0], polygons), dim=1))
        if "shape" in self.vector:
            parts.append(shape_vectors(polygons))
        vectors: npt.NDArray[np.float32] = (torch.cat(parts, 1) / len(parts) ** 0.5).cpu().numpy()
        return vectors, polygons


def pooled(finest: Tensor, polygons: Tensor) -> Tensor:
    """The mean of a map [c, h, w] of P2 inside each polygon [n, k, 2] of pixels: [n, c]."""
    shares = [coverage(one / STRIDE, *finest.shape[1:]) for one in polygons]
    if not shares:
        return finest.new_zeros(0, len(finest))
    weights = torch.stack(shares).flatten(1)
    return weights @ finest.flatten(1).T / weights.sum(1, keepdim=True)


def prepared(picture: Any, short: int, longest: int, device: str = "cpu") -> tuple[Tensor, tuple[int, int]]:
    """An RGB PIL image, its short side brought to ``short`` (the long one to at most ``longest``), as blue, green, red
    less their means, filled up with zeros on the right and below to multiples of 32. Also its rows and columns before
    that."""
    from PIL import Image

    scale = min(short / min(picture.size), longest / max(picture.size))
    size = tuple(max(1, int(side * scale + 0.5)) for side in picture.size)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    rgb = torch.from_numpy(np.array(picture, np.float32)).to(device)
    bgr = (rgb.flip(2) - torch.tensor(_MEAN, device=device)).permute(2, 0, 1)[None]
    columns, rows = size
    return pad(bgr, (0, -columns % CELL, 0, -rows % CELL)), (rows, columns)
