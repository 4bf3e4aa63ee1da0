"""Settings of ``bebr serve``: a TOML file, then the environment (BEBR_SERVE_PORT …), then flags; the later one holds.

Every option of the command is a key, by its name with underscores. Click looks the values up; this module reads the
file, refuses names that mean nothing, and tells what holds and where it came from.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "BEBR_SERVE"
# What may change while the server runs.
LIVE = ("log_level", "slow_ms")
_NOT_IN_FILES = ("config", "print_config")
_ORIGINS = {"COMMANDLINE": "flag", "ENVIRONMENT": "environment", "DEFAULT_MAP": "file", "DEFAULT": "default"}


def take_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """The callback of ``--config``, before the other options: the file's values take the place of their defaults.
    ``ValueError`` for a key, or a variable of the environment, that names no option."""
    names = _names(ctx)
    variables = [f"{PREFIX}_{name.upper()}" for name in (*names, "config")]
    for variable in os.environ:
        if variable.startswith(PREFIX + "_") and variable not in variables:
            raise ValueError(f"{variable} in the environment names no option{_nearest(variable, variables)}")
    if path is not None:
        ctx.default_map = _load(path, names)
    return path


def config_lines(ctx: typer.Context) -> list[str]:
    """What holds, as TOML, with its origin; what is not set is a comment."""
    lines = []
    for name in _names(ctx):
        value, origin = ctx.params[name], _origin(ctx, name)
        if isinstance(value, tuple):  # older typers give several values so
            value = list(value)
        if value is None or value == []:
            lines.append(f"# {name} is not set")
        else:
            plain = value if isinstance(value, bool | int | float | list) else str(value)
            lines.append(f"{name} = {json.dumps(plain)}  # {origin}")
    return lines


def rereading(ctx: typer.Context, path: Path | None) -> Callable[[], dict[str, Any]] | None:
    """Reads the file again, and returns what may change live: what neither a flag nor the environment has set. None
    without a file."""
    if path is None:
        return None
    names, defaults = _names(ctx), {param.name: param.default for param in ctx.command.params}
    open_to_change = [name for name in LIVE if _origin(ctx, name) in ("file", "default")]

    def reread() -> dict[str, Any]:
        values = _load(path, names)
        return {name: values.get(name, defaults[name]) for name in open_to_change}

    return reread


def _load(path: Path, names: Iterable[str]) -> dict[str, Any]:
    names = list(names)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    for name, value in values.items():
        if name not in names:
            raise ValueError(f"{path}: {name!r} names no option{_nearest(name, names)}")
        if isinstance(value, dict):
            raise ValueError(f"{path}: {name} is a table: want a value")
    return values


def _names(ctx: typer.Context) -> list[str]:
    """The options that have a value, in their order."""
    params = [param for param in ctx.command.params if param.param_type_name == "option"]
    return [str(param.name) for param in params if param.name not in (*_NOT_IN_FILES, "help")]


def _origin(ctx: typer.Context, name: str) -> str:
    source = ctx.get_parameter_source(name)
    return _ORIGINS[source.name] if source is not None else "default"


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.replace("-", "_"), list(names), n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else ""
