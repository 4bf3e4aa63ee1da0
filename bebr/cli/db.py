"""bebr db: the collections of a data folder, or of a server."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bebr.cli import db_load, db_migrate, db_query
from bebr.cli.arguments import Metric, Rescore
from bebr.cli.counts import counted
from bebr.cli.place import Json, Name, Place, connecting, opened

if TYPE_CHECKING:
    from bebr.collection.protocol import CollectionLike, DatabaseLike

app = typer.Typer(help="Make, fill, search and change collections: in a data folder, or on a server.")
app.callback()(connecting)


@app.command("create")
def create(
    place: Place,
    name: Name,
    model: Annotated[Path | None, typer.Option(help="A binarizer, as `bebr train` writes it.")] = None,
    dim: Annotated[int | None, typer.Option(help="Dimensions of the vectors, in place of a model.")] = None,
    metric: Annotated[
        Metric | None, typer.Option(help="How vectors are compared, without --model.", show_default="cosine")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--bytes", help="Bytes of a code, without --model.", show_default="2 bits a dimension")
    ] = None,
    keep: Annotated[
        Rescore | None,
        typer.Option(help="What vectors are kept as.", show_default="float16; none with --model"),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Payload fields that `query --text` searches, with commas between.")
    ] = None,
    index: Annotated[str, typer.Option(help="What files of many rows are: auto (in lists), flat or graph.")] = "auto",
    target_recall: Annotated[
        float | None,
        typer.Option(help="What searches of these find of what a scan of the codes finds.", show_default="0.98"),
    ] = None,
) -> None:
    """Make an empty collection: of a model, or for vectors of so many dimensions. A folder is made if need be."""
    import bebr
    from bebr.collection.creation import check_creation
    from bebr.collection.protocol import TARGET_RECALL

    if (model is None) == (dim is None):
        raise ValueError(f"got {'neither --model nor' if dim is None else '--model and'} --dim, wanted one of them")
    bz = None if model is None else bebr.Binarizer.load(model)
    about: dict[str, Any] = {
        "dim": dim,
        "metric": None if metric is None else metric.value,
        "bytes_per_vector": size,
        "keep": "auto" if keep is None else keep.kind,
        "retrain": None,
        "text": None if text is None else text.split(","),
        "index": index,
        "target_recall": TARGET_RECALL if target_recall is None else target_recall,
    }
    check_creation(name, bz, **about)  # before a folder is made
    with opened(place, make=True) as db:
        made = db.create_collection(name, bz, **about)
        typer.echo(f"{name}: {_described(made)}")


def _described(collection: CollectionLike) -> str:
    stats = collection.stats()
    kept = f" and {stats.kept_bytes} of the kept vector" if stats.kept_bytes else ""
    model = stats.model
    return f"{counted(model.input_dim, 'dimension')}, {model.metric}, {model.bytes_per_vector} bytes a code{kept}"


@app.command("list")
def list_(place: Place, json_lines: Json = False) -> None:
    """Name the collections, with their rows and bytes, and the aliases."""
    with opened(place) as db:
        rows = [_summary(db, name) for name in db.collections()]
        aliases = db.aliases()
    if json_lines:
        for row in rows:
            names = [alias for alias, name in aliases.items() if name == row["name"]]
            typer.echo(json.dumps({**row, "aliases": names}))
        return
    for row in rows:
        facts = row.get("damage") or (
            f"{counted(row['rows'], 'row')}, {counted(row['dim'], 'dimension')}, {row['metric']}, "
            f"{row['bytes_per_vector']} bytes a vector, {row['bytes_on_disk']:,} on disk"
        )
        typer.echo(f"{row['name']}  {facts}")
    for alias, name in aliases.items():
        typer.echo(f"{alias}  -> {name}")


def _summary(db: DatabaseLike, name: str) -> dict[str, Any]:
    from bebr.errors import CorruptFile

    try:
        stats = db.collection(name).stats()
    except CorruptFile as error:  # the others are to be listed nevertheless
        return {"name": name, "damage": str(error)}
    return {
        "name": name,
        "rows": stats.rows,
        "dim": stats.model.input_dim,
        "metric": stats.model.metric,
        "bytes_per_vector": stats.bytes_per_vector,
        "bytes_on_disk": stats.bytes_on_disk,
    }


@app.command("stats")
def stats(place: Place, name: Name, json_lines: Json = False) -> None:
    """Tell the figures of a collection: rows, segments, bytes, model, a migration in progress."""
    with opened(place) as db:
        collection = db.collection(name)
        found = collection.stats()
    facts = {"name": collection.name, **dataclasses.asdict(found), "bytes_per_vector": found.bytes_per_vector}
    if json_lines:
        typer.echo(json.dumps(facts))
        return
    from bebr.cli.info import show

    show({**facts.pop("model"), **facts, **(facts.pop("batching") or {})})


@app.command("attach")
def attach(
    place: Place,
    name: Name,
    file: Annotated[Path, typer.Argument(help="An index file, as `bebr build` writes it.", show_default=False)],
) -> None:
    """Take the file of an index, of the collection's model, as it is: every byte is checked, no row is coded anew.

    A row that is there already is replaced. On the same file system the file is linked rather than copied.
    """
    with opened(place) as db:
        collection = db.collection(name)
        rows = collection.attach(file)
        typer.echo(f"{name}: {counted(rows, 'row')} attached, {len(collection):,} in all")


@app.command("drop")
def drop(
    place: Place,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a collection with its rows, payloads and files, for good."""
    if not yes and not sys.stdin.isatty():
        raise ValueError("--yes: wanted where nobody can be asked: the rows cannot be brought back")
    with opened(place) as db:
        if name not in db:
            raise KeyError(f"no collection {name!r}")
        if not yes and not typer.confirm(f"delete collection {name} for good?"):
            return
        db.drop_collection(name)
        typer.echo(f"{name}: dropped")


app.command("load")(db_load.run)
app.command("query")(db_query.run)
app.command("migrate")(db_migrate.migrate)
app.command("cutover")(db_migrate.cutover)
app.command("rollback")(db_migrate.rollback)
