# SPDX-License-Identifier: Apache-2.0
"""Brings the client into an installed VectorDBBench, as a pull request there would.

python -m benchmarks.vectordb_bench.register SITE_PACKAGES/vectordb_bench
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
FILES = ("bebr.py", "config.py", "cli.py")
_BEFORE_METHODS = "\n    @property\n    def init_cls("
_CLASSES = {"init_cls": ("bebr", "Bebr"), "config_cls": ("config", "BebrConfig")}
_CASE = "    def case_config_cls("


def registered(text: str) -> str:
    """backend/clients/__init__.py with one more database. ``ValueError``: it is not of the version that this knows."""
    branch = "        if self == DB.Bebr:\n            from .bebr.{} import {}\n\n            return {}\n\n"
    text = _replaced(text, _BEFORE_METHODS, f'    Bebr = "Bebr"\n{_BEFORE_METHODS}')
    for method, (module, name) in _CLASSES.items():
        head, rest = _split(text, f"    def {method}(self)")
        first = rest.index("        if self == DB.")
        text = head + rest[:first] + branch.format(module, name, name) + rest[first:]
    head, rest = _split(text, _CASE)
    first = rest.index("        if self == DB.")
    return head + rest[:first] + branch.format("config", "BebrCaseConfig", "BebrCaseConfig") + rest[first:]


def with_command(text: str) -> str:
    """cli/vectordbbench.py with one more command."""
    text = _replaced(text, "from .batch_cli", "from ..backend.clients.bebr.cli import Bebr\nfrom .batch_cli")
    return _replaced(text, "\n\nif __name__", "cli.add_command(Bebr)\n\n\nif __name__")


def _split(text: str, at: str) -> tuple[str, str]:
    if text.count(at) != 1:
        raise ValueError(f"{at.strip()!r} is there {text.count(at)} times: want VectorDBBench 2.0")
    place = text.index(at)
    return text[:place], text[place:]


def _replaced(text: str, old: str, new: str) -> str:
    head, rest = _split(text, old)
    return head + new + rest[len(old) :]


def into(root: Path) -> None:
    """Brings the client there; once is enough."""
    folder = root / "backend" / "clients" / "bebr"
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").touch()
    for name in FILES:
        shutil.copy(HERE / name, folder)
    for path, change in (
        (root / "backend/clients/__init__.py", registered),
        (root / "cli/vectordbbench.py", with_command),
    ):
        text = path.read_text()
        if "Bebr" not in text:
            path.write_text(change(text))


if __name__ == "__main__":
    into(Path(sys.argv[1]))
