"""Sizes of BoxSnake, and the keys and shapes of its weights: no torch here.

The keys are detectron2's for a Mask R-CNN with a feature pyramid (Wu et al. 2019), and those of the released polygon
head in place of the mask head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bebr.models.config import NetworkConfig

__all__ = ["BLOCKS", "CELL", "LEVELS", "SIZES", "STRIDE", "Config", "manifest"]

BLOCKS = {14: (1, 1, 1, 1), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Bottlenecks of a residual network's four stages, by its depth."""

LEVELS = 4
"""Maps of the pyramid that polygons and boxes read, P2 to P5: a quarter of the picture's side down to a 32nd."""

STRIDE, CELL = 4, 32
"""Pixels across a cell of P2, and of P5."""

RATIOS = 3
"""Anchors at each place: height over width of a half, one and two."""


@dataclass(frozen=True)
class Config(NetworkConfig):
    """A picture's short side becomes ``image_size`` pixels, or less where its long one would pass ``longest``; both are
    filled up to multiples of 32, the side of P5's cells.

    ``depth`` and ``width`` are the residual network's (``width`` that of the first bottlenecks), ``norm_frozen``
    whether its norms stay as they are. ``fpn`` is the width of the pyramid and of the polygon decoder, ``anchor`` the
    side of P2's anchors in pixels. ``hidden`` is the width of the box head, which tells ``classes`` apart; 0 classes:
    there is none, and what the anchors find are the objects. The decoder has ``layers`` of ``heads`` that look at
    ``points`` places of each map, and perceptrons ``feedforward`` wide.
    """

    image_size: int = 800
    longest: int = 1333
    depth: int = 50
    width: int = 64
    norm_frozen: bool = True
    fpn: int = 256
    anchor: int = 32
    classes: int = 80
    hidden: int = 1024
    vertices: int = 64
    layers: int = 4
    heads: int = 8
    points: int = 4
    feedforward: int = 1024

    absent: ClassVar[tuple[str, ...]] = ("classes",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_multiple("fpn", "heads")
        if self.depth not in BLOCKS:
            raise ValueError(f"depth: got {self.depth}, wanted {', '.join(map(str, BLOCKS))}")
        if self.fpn % 4 or self.vertices < 3 or self.longest < self.image_size:
            raise ValueError(
                f"fpn, vertices, longest: got {self.fpn}, {self.vertices}, {self.longest}, wanted a multiple of 4, at "
                f"least 3, at least image_size, {self.image_size}"
            )


SIZES = {
    "r50": Config(),
    "r101": Config(depth=101),
    # Ours: trains on one CPU core in minutes.
    "tiny": Config(128, 256, 14, 16, False, 64, 16, 0, 64, 32, 2, 4, 4, 128),
}


def manifest(config: Config) -> dict[str, tuple[int, ...]]:
    """Every key of the network and its shape, all float32. Linear weights are [out, in], convolutions [out, in, 3, 3]
    or with another side."""
    return dict([*_backbone(config), *_boxes(config), *_polygons(config)])


_Keys = Iterator[tuple[str, tuple[int, ...]]]


def _backbone(config: Config) -> _Keys:
    def conv(name: str, outputs: int, inputs: int, side: int) -> _Keys:
        yield f"{name}.weight", (outputs, inputs, side, side)
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.norm.{part}", (outputs,)

    inputs = config.width
    yield from conv("backbone.bottom_up.stem.conv1", inputs, 3, 7)
    for stage, count in enumerate(BLOCKS[config.depth]):
        middle = config.width * 2**stage
        for i in range(count):
            block = f"backbone.bottom_up.res{stage + 2}.{i}"
            if i == 0:
                yield from conv(f"{block}.shortcut", 4 * middle, inputs, 1)
            yield from conv(f"{block}.conv1", middle, inputs, 1)
            yield from conv(f"{block}.conv2", middle, middle, 3)
            yield from conv(f"{block}.conv3", 4 * middle, middle, 1)
            inputs = 4 * middle
    for level in range(LEVELS):
        yield from _affine(f"backbone.fpn_lateral{level + 2}", config.fpn, config.width * 4 * 2**level, 1, 1)
        yield from _affine(f"backbone.fpn_output{level + 2}", config.fpn, config.fpn, 3, 3)


def _affine(name: str, outputs: int, *rest: int) -> _Keys:
    yield f"{name}.weight", (outputs, *rest)
    yield f"{name}.bias", (outputs,)


def _boxes(config: Config) -> _Keys:
    d = config.fpn
    yield from _affine("proposal_generator.rpn_head.conv", d, d, 3, 3)
    yield from _affine("proposal_generator.rpn_head.objectness_logits", RATIOS, d, 1, 1)
    yield from _affine("proposal_generator.rpn_head.anchor_deltas", 4 * RATIOS, d, 1, 1)
    if config.classes:
        yield from _affine("roi_heads.box_head.fc1", config.hidden, 49 * d)
        yield from _affine("roi_heads.box_head.fc2", config.hidden, config.hidden)
        yield from _affine("roi_heads.box_predictor.cls_score", config.classes + 1, config.hidden)
        yield from _affine("roi_heads.box_predictor.bbox_pred", 4 * config.classes, config.hidden)


def _polygons(config: Config) -> _Keys:
    d, head = config.fpn, "roi_heads.mask_head"
    places = config.heads * LEVELS * config.points
    yield f"{head}.level_embed.weight", (LEVELS, d)
    yield f"{head}.point_embedding", (config.vertices, 2 * d)
    for i in range(config.layers):
        for part, outputs in enumerate((d, d, 2)):
            yield from _affine(f"{head}.xy_embed.{i}.layers.{part}", outputs, d)
        layer = f"{head}.decoder.layers.{i}"
        yield from _affine(f"{layer}.cross_attn.sampling_offsets", 2 * places, d)
        yield from _affine(f"{layer}.cross_attn.attention_weights", places, d)
        yield from _affine(f"{layer}.cross_attn.value_proj", d, d)
        yield from _affine(f"{layer}.cross_attn.output_proj", d, d)
        yield f"{layer}.self_attn.in_proj_weight", (3 * d, d)
        yield f"{layer}.self_attn.in_proj_bias", (3 * d,)
        yield from _affine(f"{layer}.self_attn.out_proj", d, d)
        for number in (1, 2, 3):
            yield from _affine(f"{layer}.norm{number}", d)
        yield from _affine(f"{layer}.linear1", config.feedforward, d)
        yield from _affine(f"{layer}.linear2", d, config.feedforward)
