"""Embedding producers: texts, pictures, pairs of them or clips to float32 vectors for ``bebr.train`` and the indexes.

``load(name)`` gives one; ``names()`` says which there are. A package of yours adds its own by an entry point::

    [project.entry-points."bebr.producers"]
    mine = "my_package:Mine"          # a class or function that returns a Producer

Nothing heavy is imported until a producer is loaded. Data to train and measure them on: ``bebr.models.data``.
"""

from __future__ import annotations

from bebr.models.producer import Producer
from bebr.models.registry import GROUP, load, names

__all__ = ["GROUP", "Producer", "load", "names"]
