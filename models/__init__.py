"""Embedding producers: one encoder a file, each with a name and a version, loaded by name.

A producer turns items (texts, images, ...) into float32 vectors for ``bebr.train`` and the indexes. Nothing heavy is
imported until one is loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Producer", "load", "names"]

_PRODUCERS = {"minilm": ("minilm", "MiniLM")}


class Producer(Protocol):
    """What every encoder offers. ``name`` and ``version`` together identify the vectors it makes."""

    name: str
    version: str
    dim: int
    metric: str
    modality: str

    def embed(
        self, items: Sequence[Any], batch_size: int = 64, progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Encode ``items`` to float32 ``[len(items), dim]``; ``progress(done, total)`` is called as it goes."""
        ...


def names() -> list[str]:
    """Names that ``load`` knows, sorted. That a name is here does not mean that its packages are installed."""
    return sorted(_PRODUCERS)


def load(name: str, **options: Any) -> Producer:
    """Load the producer called ``name``; ``options`` go to its constructor.

    Raises KeyError for an unknown name and ImportError naming the packages to install when they are absent.
    """
    if name not in _PRODUCERS:
        raise KeyError(f"name: no producer is called {name!r}; known: {', '.join(names())}")
    module, attribute = _PRODUCERS[name]
    producer: Producer = getattr(importlib.import_module(f".{module}", __name__), attribute)(**options)
    return producer
