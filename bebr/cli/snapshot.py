"""bebr snapshot: copies of a data folder that are consistent and share what they have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bebr.extras import needed

app = typer.Typer(help="Copy a data folder to another place, consistently and incrementally, and back.")

_Place = Annotated[
    str, typer.Argument(metavar="PLACE", help="Folder of snapshots, or a URL that fsspec knows.", show_default=False)
]


@app.command("create")
def create(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Data folder; a server may have it open.", show_default=False)
    ],
    place: _Place,
) -> None:
    """Add a snapshot of a data folder to a place, which gets the files that it does not have yet."""
    with needed("store", "bebr snapshot"):
        from bebr.store import backup
        from bebr.store.folder import Folder

    info = backup.create(Folder(directory), place)
    typer.echo(
        f"{info.name}: {len(info.collections)} collections in {info.files} files of {info.bytes:,} bytes, "
        f"{info.new_files} of them new ({info.new_bytes:,} bytes)"
    )


@app.command("list")
def list_(place: _Place) -> None:
    """Say which snapshots a place has, the oldest first, with the version of each collection."""
    with needed("store", "bebr snapshot"):
        from bebr.store import backup

    for info in backup.snapshots(place):
        collections = ", ".join(f"{name} at {version}" for name, version in sorted(info.collections.items()))
        typer.echo(f"{info.name}  {info.bytes:,} bytes in {info.files} files  {collections or 'no collections'}")


@app.command("restore")
def restore(
    place: _Place,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Data folder to make; empty, or not there.", show_default=False)
    ],
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="Name of a snapshot.", show_default="the newest")
    ] = None,
) -> None:
    """Make a data folder of a snapshot. Every byte is checked; it is there as a whole or not at all."""
    with needed("store", "bebr snapshot"):
        from bebr.store import backup

    info = backup.restore(place, directory, snapshot=snapshot)
    typer.echo(f"{directory}: {len(info.collections)} collections of snapshot {info.name}, {info.bytes:,} bytes")
