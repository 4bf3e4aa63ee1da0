"""bebr snapshot: copies of a data folder that are consistent and share what they have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bebr.cli.counts import counted
from bebr.cli.place import connected, connecting, is_server, opened
from bebr.cli.progress import say
from bebr.extras import needed

if TYPE_CHECKING:
    from bebr.collection.protocol import SnapshotInfo

app = typer.Typer(help="Copy a data folder to another place, consistently and incrementally, and back.")
app.callback()(connecting)

_Place = Annotated[
    str,
    typer.Argument(
        metavar="PLACE",
        help="Folder of snapshots, or a URL that fsspec knows; or a server, HOST:PORT, for the place that it has.",
        show_default=False,
    ),
]


@app.command("create")
def create(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DIR", help="Data folder; a server may have it open. Or a server, HOST:PORT.", show_default=False
        ),
    ],
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="PLACE",
            help="Folder of snapshots, or a URL that fsspec knows. A server has its own: bebr serve --snapshots.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Add a snapshot of a data folder to a place, which gets the files that it does not have yet."""
    if is_server(source):
        if place is not None:
            raise ValueError(f"PLACE: got {place}, wanted none beside a server, which has its own")
        with connected(source, timeout=None) as client:
            info = client.snapshot()
    else:
        if place is None:
            raise ValueError("PLACE: got none, wanted a folder of snapshots, or a URL that fsspec knows")
        with needed("store", "bebr snapshot"):
            from bebr.store.backup import snapshots as backup
            from bebr.store.files.folder import Folder

        info = backup.create(Folder(Path(source)), place)
    typer.echo(
        f"{info.name}: {counted(len(info.collections), 'collection')} in {counted(info.files, 'file')} of "
        f"{info.bytes:,} bytes, {info.new_files} of them new ({info.new_bytes:,} bytes)"
    )


@app.command("list")
def list_(place: _Place) -> None:
    """Say which snapshots a place has, the oldest first, with the version of each collection."""
    found = _listed(place)
    if not found:
        say(f"{place}: no snapshots")
    for info in found:
        collections = ", ".join(f"{name} at {version}" for name, version in sorted(info.collections.items()))
        files = counted(info.files, "file")
        typer.echo(f"{info.name}  {info.bytes:,} bytes in {files}  {collections or 'no collections'}")


def _listed(place: str) -> list[SnapshotInfo]:
    if is_server(place):
        with connected(place) as client:
            return client.snapshots()
    with needed("store", "bebr snapshot"):
        from bebr.store.backup import snapshots as backup

    return backup.snapshots(place)


@app.command("restore")
def restore(
    place: _Place,
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="Data folder to make, empty or not there; with --collection, one that is there. A server has its own.",
            show_default=False,
        ),
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="Name of a snapshot.", show_default="the newest")
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", help="Bring back this one only, beside those that are there.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--as", help="Name that it gets, with --collection.", show_default="its own")
    ] = None,
) -> None:
    """Make a data folder of a snapshot, or bring one collection back. Every byte is checked; it is there as a whole or
    not at all."""
    from_server = is_server(place)
    if collection is None and (from_server or name is not None):
        raise ValueError("--collection: wanted with --as and for a server, whose other collections go on")
    if from_server != (directory is None):
        raise ValueError("DIR: wanted, and none for a server, which has its own")
    if from_server:
        assert collection is not None
        with connected(place, timeout=None) as client:
            info = client.restore_collection(collection, name, snapshot=snapshot)
        where = place
    else:
        with needed("store", "bebr snapshot"):
            from bebr.store.backup import snapshots as backup
            from bebr.store.database import Database
        where = str(directory)
        if collection is None:
            info = backup.restore(place, where, snapshot=snapshot)
        else:
            with opened(where) as db:
                assert isinstance(db, Database)
                info = db.restore_collection(place, collection, name, snapshot=snapshot)
    what = counted(len(info.collections), "collection") if collection is None else f"collection {name or collection}"
    typer.echo(f"{where}: {what} of snapshot {info.name}, {info.bytes:,} bytes")
