"""A hook of MkDocs: reference/cli.md gets the commands of `bebr`, as the program itself describes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from bebr.cli.app import make_app

MARK = "<!-- commands -->"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def described(command: Any, name: str = "", level: int = 2) -> Iterator[str]:
    """Lines of Markdown: a section for a command, and below it for each of its own."""
    context = typer.Context(command, info_name=name)
    if name:
        yield f"{'#' * level} `bebr {name}`\n\n{(command.help or '').strip()}\n"
        shown = [record for one in command.params if (record := one.get_help_record(context))]
        if shown:
            yield "| argument or option | |\n|---|---|"
            yield from (f"| `{_cell(what).replace('&lt;', '<')}` | {_cell(said)} |" for what, said in shown)
            yield ""
    for verb, inner in getattr(command, "commands", {}).items():
        yield from described(inner, f"{name} {verb}".strip(), level + bool(name))


def on_page_markdown(markdown: str, **_: Any) -> str:
    if MARK not in markdown:
        return markdown
    return markdown.replace(MARK, "\n".join(described(typer.main.get_command(make_app()))))
