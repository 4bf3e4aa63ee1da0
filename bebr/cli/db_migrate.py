"""bebr db migrate, cutover, rollback: another model for a collection, of the same vectors or of another producer's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bebr.cli.arguments import Column, Limit, Model
from bebr.cli.batches import Batch, read_batches
from bebr.cli.counts import counted
from bebr.cli.place import Name, Place, is_server, opened

if TYPE_CHECKING:
    from bebr.binarizer import Binarizer
    from bebr.collection.protocol import CollectionLike

_POLL = 0.2  # seconds between two looks at a migration
_PAGE = 10_000  # rows of a scroll

Bare = Annotated[bool, typer.Option("--bare", help="Leave rows without a vector that have none of that producer.")]


def migrate(
    place: Place,
    name: Name,
    model: Model,
    vectors: Annotated[
        Path | None,
        typer.Option(help="The vectors of another producer, in any format that `train` reads; else the kept ones."),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(help="With --vectors, ids: .npy, .ivecs or .parquet of integers.", show_default="row numbers"),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="With --vectors, a column of ids in it, ints or strings (Parquet).")
    ] = None,
    column: Column = None,
    limit: Limit = None,
    background: Annotated[
        bool, typer.Option("--background", help="On a server: return at once; `bebr db stats` says how far it is.")
    ] = False,
) -> None:
    """Have every row coded by another model: of the same vectors, from the kept ones, or with --vectors of others.

    Searches go on meanwhile. Without --vectors, what is interrupted goes on when the folder, or the server, is opened
    again. With --vectors, the same command goes on with the rows that have no new vector yet; then `bebr db cutover`
    makes the new vectors those of the collection, or `bebr db rollback` removes them.
    """
    import bebr

    if background and not is_server(place):
        raise ValueError(f"--background: got a folder ({place}), which does nothing by itself; wanted a server")
    if vectors is None and (ids is not None or id_column is not None):
        raise ValueError("got --ids or --id-column without --vectors, wanted both")
    if vectors is not None and background:
        raise ValueError("got --background and --vectors, wanted one of them: the file is read here")
    bz = bebr.Binarizer.load(model)
    if vectors is None:
        with opened(place) as db:
            _recode(db.collection(name), bz, background)
        return
    from bebr.vectors import stream

    batches = read_batches(stream(vectors, column, limit), vectors, None, None, ids, id_column)
    with opened(place) as db:
        _stream(db.collection(name), bz, batches)


def _recode(collection: CollectionLike, bz: Binarizer, background: bool) -> None:
    from bebr.cli.progress import progress, say

    name = collection.name
    collection.migrate(bz)
    if background:
        say(f"{name}: is being migrated to model {bz.digest}")
        return
    with progress(f"migrating {name}") as report:
        now = collection.stats()
        while now.target:
            report("", now.rows - now.rows_behind, now.rows)
            time.sleep(_POLL)
            now = collection.stats()
    rows = counted(now.rows, "row has", "rows have")
    say(f"{name}: {rows} model {now.model.digest}, {now.model.bytes_per_vector} bytes a code")


def _stream(collection: CollectionLike, bz: Binarizer, batches: Iterator[Batch]) -> None:
    """Streams the vectors of rows that have none of this model yet."""
    from bebr.cli.progress import progress, say

    name, done = collection.name, 0
    collection.migrate(bz, vectors=())
    waiting = _behind(collection)
    try:
        with progress(f"migrating {name}") as report:
            for some, x, _ in batches:
                named = some if isinstance(some, list) else some.tolist()
                chosen = [row for row, id in enumerate(named) if id in waiting]
                if chosen:
                    collection.migrate(bz, vectors=[([named[row] for row in chosen], x[chosen])])
                done += len(chosen)
                report("", done, len(waiting))
    except KeyboardInterrupt:
        say(f"{done:,} of {len(waiting):,} vectors are streamed: the same command goes on after them")
        raise
    left = collection.stats().rows_behind
    rest = f"every row has one: `bebr db cutover` or `rollback` {name}"
    if left:
        rest = f"{counted(left, 'row has', 'rows have')} none yet"
    say(f"{name}: {counted(done, 'vector')} of model {bz.digest} streamed, {rest}")


def _behind(collection: CollectionLike) -> set[Any]:
    """The ids of rows that wait for a vector: about a hundred bytes each."""
    found: set[Any] = set()
    after = None
    while page := collection.scroll(limit=_PAGE, after=after, payloads=False, behind=True):
        found.update(row.id for row in page)
        after = page[-1].id
    return found


def cutover(
    place: Place,
    name: Name,
    bare: Bare = False,
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="Keep the old vectors, so that `rollback` leads back to them.")
    ] = False,
) -> None:
    """Make the streamed vectors, and their model, those of the collection, at one moment; the old ones are removed.

    After --keep-old, a second call without it removes them. Refused while rows have no new vector, unless --bare.
    """
    with opened(place) as db:
        collection = db.collection(name)
        collection.cutover(bare=bare, keep_old=keep_old)
        _tell(collection)


def rollback(place: Place, name: Name, bare: Bare = False) -> None:
    """End a migration by streamed vectors and remove these; or, after `cutover --keep-old`, go back to the old ones.

    Going back is refused while rows have no old vector, since they were written later, unless --bare.
    """
    with opened(place) as db:
        collection = db.collection(name)
        collection.rollback(bare=bare)
        _tell(collection)


def _tell(collection: CollectionLike) -> None:
    now = collection.stats()
    more = f", rows of model {now.former} are kept" if now.former else ""
    more += f", vectors of model {now.target} wait" if now.target else ""
    typer.echo(f"{collection.name}: {counted(now.rows, 'row has', 'rows have')} model {now.model.digest}{more}")
