"""Producers that are a network with weights on disk: what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from bebr.models import weights as files
from bebr.models.config import NetworkConfig
from bebr.models.producer import Producer

__all__ = ["NetworkProducer", "check_vocabulary", "restored", "sized", "untrained"]

C = TypeVar("C", bound=NetworkConfig)


class NetworkProducer(Producer):
    """``network`` has a ``config`` with ``to_json``. The version is the digest of the weights."""

    def __init__(self, network: Any, dim: int, device: str) -> None:
        self.network, self.dim, self.device = network.to(device), dim, device
        self.refresh()

    def refresh(self) -> None:
        """Take up weights that were changed in place: inference mode, and the version they now have."""
        self.network.eval()
        self.version = files.digest(self.network.state_dict())[:16]

    def save(self, folder: str | Path, **more: Any) -> None:
        """Write ``model.safetensors`` and ``config.json``: a folder that ``load`` takes. more: further entries of
        ``config.json``."""
        config = {**self.network.config.to_json(), "producer": self.name, **more}
        files.save(folder, self.network.state_dict(), config)

    @classmethod
    def found(
        cls, weights: str | Path | None, wanted: str, size: str | None, sizes: Mapping[str, C]
    ) -> tuple[Path, C | None]:
        """The file that ``weights`` stands for, and what ``config.json`` beside it says; None where there is none.

        ValueError for an unknown ``size``, or one that ``config.json`` contradicts; and as :func:`weights.find`, which
        has ``wanted`` too.
        """
        if size is not None and size not in sizes:
            raise ValueError(f"size: got {size!r}, wanted {', '.join(sizes)}")
        path = files.find(weights, cls.name, wanted)
        if not (path.parent / files.CONFIG).is_file():
            return path, None
        kind = type(next(iter(sizes.values())))
        config = kind.from_json(files.read_config(path.parent, cls.name))
        if size is not None and not cls.same(config, sizes[size]):
            raise ValueError(f"size: got {size!r}, but {path.parent / files.CONFIG} describes another")
        return path, config

    @staticmethod
    def same(config: Any, size: Any) -> bool:
        """Whether ``config`` is of that size."""
        return bool(config == size)


def sized(folder: Path, size: str | None, sizes: Mapping[str, C]) -> C:
    """The config called ``size``; ValueError for None, which ``folder`` would have had to answer."""
    if size is None:
        published = " or ".join(name for name in sizes if name != "tiny")
        raise ValueError(f"size: {folder} has no {files.CONFIG}: give {published}")
    return sizes[size]


def check_vocabulary(entries: int, network: Any, what: str = "vocabulary: has", exactly: bool = False) -> None:
    """ValueError where a tokenizer has more ``entries`` than ``network`` has rows for, or not ``exactly`` as many."""
    rows = network.config.vocab_size
    if entries > rows or (exactly and entries != rows):
        raise ValueError(f"{what} {entries:,} entries, but the network {rows:,}: they are not of one model")


def restored(network: Callable[[Any], Any], config: Any, state: Mapping[str, Any]) -> Any:
    """``network(config)`` with the tensors of ``state`` as float32; nothing is initialised on the way."""
    with torch.device("meta"):
        made = network(config)
    made.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return made


def untrained(network: Callable[[Any], Any], config: Any) -> Any:
    """``network(config)``; the caller's random numbers stay as they are, though layers draw from them when made."""
    with torch.random.fork_rng(devices=[]):
        return network(config)
