"""A trunk, with an expert or without, as a producer: pictures, texts or pairs to unit vectors."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bebr.models import weights as files
from bebr.models.networks import NetworkProducer, check_vocabulary, restored, sized, untrained
from bebr.models.pi_tuning import published
from bebr.models.pi_tuning.config import SIZES, Config, manifest, of_encoder
from bebr.models.pi_tuning.experts import Expert, LoraLayer
from bebr.models.pi_tuning.network import Network
from bebr.models.pi_tuning.positions import image_table, token_table
from bebr.models.pi_tuning.tokens import Tokens
from bebr.models.pixels import Resampling, squeezed

__all__ = ["PiTuning", "centred"]

_WANTED = "a folder that save() wrote, or a checkpoint of OFA (.pt or .safetensors)"
_TABLES: dict[str, Any] = {
    "token_rp_bucket": lambda config: token_table(config.buckets, config.context),
    "image_rp_bucket": lambda config: image_table(config.image_buckets),
}


class PiTuning(NetworkProducer):
    """Pictures, texts, or pairs of them to float32 of unit length, 768 dimensions (base): the mean of the encoder's
    states over a picture's parts, a text's tokens, or both. That is ours: OFA has no vector of an input.

    The version is the digest of the weights, an expert's among them: each expert makes a version of its own.
    """

    name = "pi-tuning"
    metric = "cosine"
    modality = "image|text|image+text"

    def __init__(self, network: Network, tokens: Tokens, device: str = "cpu") -> None:
        check_vocabulary(tokens.size, network)
        self.tokens = tokens
        super().__init__(network, network.config.width, device)

    @classmethod
    def fresh(cls, texts: list[str], config: Config = SIZES["tiny"], seed: int = 0, device: str = "cpu") -> PiTuning:
        """An untrained trunk with a vocabulary learned from ``texts``, of the config's ``vocab_size`` at most."""
        tokens = Tokens.learn(texts, config.vocab_size, config.context)
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
        expert: str | Path | None = None,
        device: str = "cpu",
    ) -> PiTuning:
        """``size``, ``"ofa-tiny"`` to ``"ofa-huge"``, is needed where no ``config.json`` lies beside the weights.
        ``image_size``: pixels of a picture's side, a multiple of 16; the size's own if None. ``vocabulary``: the folder
        of RoBERTa's tokenizer, that of the weights if None. ``expert``: a file or folder with an expert alone; one that
        is in the weights is taken too.

        A checkpoint may be fairseq's, with the weights under ``model``. Raises ValueError listing the keys that are
        missing, unexpected or of another shape; FileNotFoundError naming what is not there.
        """
        path, described = cls.found(weights, _WANTED, size, SIZES)
        config = described or sized(path.parent, size, SIZES)
        state, own = files.read(path, within="model"), dict[str, Any]()
        if described is None:
            state, own = _split(state, config, path)
        files.compare(state, manifest(config), path)
        if image_size is not None:
            config = replace(config, image_size=image_size)
        folder = path.parent if vocabulary is None else Path(vocabulary).expanduser()
        found = cls(restored(Network, config, state), Tokens.read(folder, config.context), device)
        if own:
            found = found.with_expert(published.of_state(own, config, path))
        return found if expert is None else found.with_expert(published.read(expert, config))

    @staticmethod
    def same(config: Config, size: Config) -> bool:
        return replace(config, expert="", expert_size=0, image_size=size.image_size) == size

    def with_expert(self, expert: Expert) -> PiTuning:
        """Another producer: a copy of this trunk with ``expert`` in it, another version. LoRA becomes part of the
        weights. ValueError where there is an expert already, or it is of another trunk's width or depth."""
        config = self.network.config
        self.check_bare()
        if expert.shape[2:] != (config.width, config.layers):
            raise ValueError(
                f"expert: is of {expert.shape[3]} layers of width {expert.shape[2]}, the trunk has {config.layers} of "
                f"{config.width}"
            )
        network = deepcopy(self.network)
        if expert.kind == "lora":
            for layer, change in zip(network.layers, expert.layers, strict=True):
                assert isinstance(change, LoraLayer)
                for place in change.self_attn:
                    weight = getattr(layer.self_attn, place).weight
                    weight.data += change.change(place).detach().to(weight.device)
        else:
            network.expert = deepcopy(expert)
            network.config = replace(config, expert=expert.kind, expert_size=expert.size)
        return PiTuning(network, self.tokens, self.device)

    def check_bare(self) -> None:
        """ValueError where there is an expert in the trunk."""
        if self.network.expert is not None:
            raise ValueError("producer: has an expert already; wanted the trunk alone")

    def save(self, folder: str | Path, **more: Any) -> None:
        """With ``tokenizer.json`` besides."""
        super().save(folder, **more)
        self.tokens.save(Path(folder))

    def encode(self, kind: str, batch: list[Any]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            out: npt.NDArray[np.float32] = normalize(self.means(kind, *self.read(kind, batch)), dim=1).cpu().numpy()
        return out

    def read(self, kind: str, batch: list[Any]) -> tuple[Tensor | None, Tensor]:
        """Opened items of a kind to what the network reads: pixels [n, 3, side, side] or None, and ids [n, t]. A
        picture alone has an empty text beside it, as OFA's encoder always has some."""
        if kind == "text":
            return None, self.tokens(batch).to(self.device)
        texts = [""] * len(batch) if kind == "image" else [text for _, text in batch]
        shown = batch if kind == "image" else [picture for picture, _ in batch]
        return self.pixels(shown), self.tokens(texts).to(self.device)

    def means(self, kind: str, pixels: Tensor | None, tokens: Tensor) -> Tensor:
        """The mean of states over what ``kind`` is about, [n, d], not normalised."""
        return self.averaged(kind, *self.network(pixels, tokens))

    @staticmethod
    def averaged(kind: str, states: Tensor, seen: Tensor, parts: int) -> Tensor:
        """``means`` of what the network gives."""
        if kind == "image":
            return states[:, :parts].mean(1)
        return (states * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)

    def pixels(self, pictures: list[Any]) -> Tensor:
        """RGB PIL images to what the network reads, squeezed into its square as published."""
        side = self.network.config.image_size
        return centred(squeezed(pictures, (side, side), Resampling.BICUBIC).to(self.device))


def centred(pixels: Tensor) -> Tensor:
    """Values 0 to 1 to -1 to 1."""
    return (pixels - 0.5) / 0.5


def _split(state: dict[str, Any], config: Config, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The trunk's tensors and an expert's of a published file. Counters, the file's version and tables of positions
    that are as they have to be are left out."""
    trunk, own = {}, {}
    for key, value in of_encoder(state).items():
        if published.is_expert_key(key):
            own[key] = value
        elif not key.endswith(".num_batches_tracked") and key not in ("version", *_TABLES):
            trunk[key] = value
    for key, made in _TABLES.items():
        given = state.get(f"encoder.{key}")
        if given is not None:
            wanted = made(config)
            # By one: logarithms in float32 put a border elsewhere from machine to machine.
            if tuple(given.shape) != wanted.shape or int(np.abs(given.numpy() - wanted).max()) > 1:
                raise ValueError(f"weights: {path}: encoder.{key} is not the table of this size")
    return trunk, own
