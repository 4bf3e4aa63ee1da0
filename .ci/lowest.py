"""Prints a pip constraints file: of all that pyproject.toml bounds from below, the lowest version that it allows.

What it does not bound, and what its dependencies need in turn, pip chooses as ever.
"""

from __future__ import annotations

import re
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

_BOUND = re.compile(r"([\w.-]+)(?:\[[^]]*\])?\s*>=\s*([\w.]+)")


def lowest(project: dict[str, object]) -> dict[str, str]:
    """Name -> version, over the dependencies and every extra. ``ValueError`` where two bounds of one name differ."""
    extras: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    required: list[str] = project["dependencies"]  # type: ignore[assignment]
    pins: dict[str, str] = {}
    for requirement in [*required, *(one for extra in extras.values() for one in extra)]:
        if (bound := _BOUND.match(requirement)) is None:
            continue
        name, version = bound.groups()
        if pins.setdefault(name, version) != version:
            raise ValueError(f"{name} is bound by {pins[name]} and by {version}: want one lower bound")
    return pins


if __name__ == "__main__":
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    for name, version in lowest(tomllib.loads(text)["project"]).items():
        print(f"{name}=={version}")
