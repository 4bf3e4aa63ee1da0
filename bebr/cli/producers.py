"""Which producer, and with what options: what `embed` and `serve` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Weights = Annotated[
    Path | None, typer.Option(help="File or folder of weights, for producers that do not bring their own.")
]
Size = Annotated[str | None, typer.Option(help="Which size of model, for producers that have several.")]
Device = Annotated[str, typer.Option(help="Where the network runs: cpu, cuda.")]
Options = Annotated[
    list[str] | None,
    typer.Option(help="Another option of the producer, as max_tokens=64; may be given several times."),
]


def load_producer(name: str, weights: Path | None, size: str | None, device: str, option: list[str] | None) -> Any:
    """The producer called ``name``. ``ValueError`` and ``KeyError`` as of :func:`bebr.models.load`;
    ``ModuleNotFoundError`` naming what to install, which is told in one line."""
    from bebr.models import load

    try:
        return load(name, weights=weights, size=size, device=device, **_named(option or []))
    except ImportError as error:
        raise ModuleNotFoundError(str(error)) from error


def _named(given: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; whole numbers are read as such. The producer names an option that it does not take."""
    options: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier() or name in ("name", "weights", "size", "device"):
            raise ValueError(f"--option: got '{pair}', wanted NAME=VALUE, as max_tokens=64")
        options[name] = int(value) if value.removeprefix("-").isdecimal() else value
    return options
