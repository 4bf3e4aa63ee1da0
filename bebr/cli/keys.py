"""bebr keys: who may call a server of a data folder."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated

import typer

from bebr.cli.place import Json
from bebr.cli.progress import say
from bebr.serve.keys import KeyFile, Role

app = typer.Typer(help="Make, list and revoke the keys that a server of a data folder asks for.")

_Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Data folder; a server may have it open.", show_default=False)
]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the key: who has it.", show_default=False)]


class _Role(str, enum.Enum):
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@app.command("create")
def create(
    directory: _Folder,
    name: _Name,
    role: Annotated[_Role, typer.Option(help="What it may do; each role includes those before it.")] = _Role.READ,
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", "-c", help="A collection or alias that it is for.", show_default="all"),
    ] = None,
) -> None:
    """Make a key and print it: this once, for the folder keeps its SHA-256 alone."""
    file = KeyFile(directory)
    first = not file.exists()
    typer.echo(file.create(name, Role[role.name], collection))
    if first:
        say("the folder's first key: a server that runs on it already asks for keys once it is started again")


@app.command("list")
def list_(directory: _Folder, json_lines: Json = False) -> None:
    """Say which keys there are, what each may do and where."""
    keys = KeyFile(directory).current()
    if not keys:
        say(f"{directory}: no keys")
    for key in keys:
        if json_lines:
            facts = {"name": key.name, "role": key.role.name.lower(), "collections": key.collections}
            typer.echo(json.dumps({**facts, "created": key.created}))
        else:
            where = "all collections" if key.collections is None else ", ".join(key.collections)
            typer.echo(f"{key.name}  {key.role.name.lower()}  {where}  since {key.created}")


@app.command("revoke")
def revoke(directory: _Folder, name: _Name) -> None:
    """Take a key away: from the next call on it lets nobody in."""
    KeyFile(directory).revoke(name)
    typer.echo(f"{name}: revoked")
