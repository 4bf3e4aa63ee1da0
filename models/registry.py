"""Producers by name: those of this folder, and those that installed packages offer by an entry point."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from bebr.models.items import modalities
from bebr.models.producer import Producer

__all__ = ["GROUP", "load", "names"]

GROUP = "bebr.producers"

_OWN = {
    "a2mc": "bebr.models.a2mc:load",
    "boxsnake": "bebr.models.boxsnake:load",
    "clip": "bebr.models.caption_anything:load_clip",
    "dsu": "bebr.models.dsu:load",
    "flm": "bebr.models.flm:load",
    "gvt": "bebr.models.gvt:load",
    "minilm": "bebr.models.minilm:MiniLM",
    "pi-tuning": "bebr.models.pi_tuning:load",
    "rils": "bebr.models.rils:load",
    "sam": "bebr.models.caption_anything:load_sam",
    "sentence-transformers": "bebr.models.adapters:SentenceTransformers",
    "simcse": "bebr.models.simcse:load",
    "timm": "bebr.models.adapters:Timm",
    "torchvision": "bebr.models.adapters:Torchvision",
}
_FACTS = {"name": str, "version": str, "dim": int, "metric": str, "modality": str}


def names() -> list[str]:
    """Names that ``load`` knows, sorted. That a name is here does not mean that its packages are installed."""
    return sorted({*_OWN, *(point.name for point in entry_points(group=GROUP))})


def load(name: str, weights: Any = None, size: str | None = None, device: str = "cpu", **options: Any) -> Producer:
    """Load the producer called ``name``.

    weights  a file or folder of weights, for producers without their own
    size     one of the published sizes, for producers with several
    device   where its network runs: ``"cpu"``, ``"cuda"``, ...
    options  further options of the producer

    Raises KeyError for an unknown name, ValueError for an option that this producer does not take or an entry point
    that is no producer, FileNotFoundError for missing weights, ImportError naming the packages to install.
    """
    factory = _factory(name)
    given = dict(options)
    given |= {option: value for option, value in (("weights", weights), ("size", size)) if value is not None}
    taken = inspect.signature(factory).parameters
    anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())
    if device != "cpu" or "device" in taken:
        given["device"] = device
    for option in given:
        if option not in taken and not anything:
            raise ValueError(f"{option}: the producer {name!r} takes no such option; it takes: {', '.join(taken)}")
    for option, parameter in taken.items():
        named = parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        if named and parameter.default is inspect.Parameter.empty and option not in given:
            raise ValueError(f"{option}: the producer {name!r} needs it; it takes: {', '.join(taken)}")
    return checked(factory(**given), name)


def checked(producer: Any, name: str) -> Producer:
    """``producer`` if it has what the interface asks for. ValueError naming what is missing or of another type."""
    for fact, kind in _FACTS.items():
        got = getattr(producer, fact, None)
        if not isinstance(got, kind):
            raise ValueError(f"the producer {name!r}: {fact} is {got!r}, wanted {kind.__name__}")
    if producer.dim < 1 or producer.metric not in ("cosine", "ip", "l2"):
        raise ValueError(
            f"the producer {name!r}: dim {producer.dim} and metric {producer.metric!r}, "
            "wanted at least 1 and cosine, ip or l2"
        )
    modalities(producer.modality)
    if not callable(getattr(producer, "embed", None)):
        raise ValueError(f"the producer {name!r}: has no embed(items, batch_size, progress)")
    found: Producer = producer
    return found


def _factory(name: str) -> Callable[..., Any]:
    points = {point.value: point for point in entry_points(group=GROUP) if point.name == name}
    if name in _OWN:
        points[_OWN[name]] = EntryPoint(name, _OWN[name], GROUP)
    if not points:
        raise KeyError(f"name: no producer is called {name!r}; known: {', '.join(names())}")
    if len(points) > 1:  # taking either would be a guess about which vectors the caller's index holds
        raise ValueError(f"name: {len(points)} packages offer a producer {name!r}: {', '.join(sorted(points))}")
    module, _, attribute = next(iter(points)).partition(":")
    try:
        factory: Any = importlib.import_module(module)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ImportError(f"the producer {name!r} is offered as {module}:{attribute}, which fails: {error}") from error
    if not callable(factory):
        raise ValueError(f"the producer {name!r}: {module}:{attribute} is {type(factory).__name__}, wanted a class")
    return factory
