"""bebr db query: the rows of a collection nearest to vectors, or to other rows of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from bebr.cli.arguments import Column, Limit
from bebr.cli.place import Json, Name, Place, opened

if TYPE_CHECKING:
    from bebr.collection.keys import Id
    from bebr.collection.protocol import CollectionHits

BLOCK_ROWS = 1024  # queries a call: enough for the batch kernels, few enough for a reply with payloads
SHOWN_ROWS = 20


def run(
    place: Place,
    name: Name,
    queries: Annotated[
        Path | None, typer.Argument(help="Query vectors, in any format that `train` reads.", show_default=False)
    ] = None,
    ids: Annotated[
        str | None,
        typer.Option(
            help='Rows to search with in place of vectors: 3,doc-1,UUID; or a JSON list, where "3" is a string.'
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="Words to search for in the collection's text fields, alone or beside vectors; one a query, may be "
            "given several times."
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Hits a query.")] = 10,
    filter: Annotated[
        str | None, typer.Option(help='Only rows whose payload matches, as \'{"lang": "de", "year": {"gte": 2000}}\'.')
    ] = None,
    radius: Annotated[
        float | None, typer.Option(help="Only rows at least so similar (l2: at most that squared distance).")
    ] = None,
    rescore: Annotated[
        int | None, typer.Option(help="Candidates that get exact scores, where vectors are kept; 0: none.")
    ] = None,
    nprobe: Annotated[
        int | None, typer.Option(help="Lists looked at in files that are in lists.", show_default="as measured")
    ] = None,
    ef_search: Annotated[
        int | None, typer.Option(help="Candidates of a walk in files that are graphs.", show_default="as measured")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="The proven top k, as if all planes were scored.")] = False,
    payloads: Annotated[bool, typer.Option("--payloads", help="With the payload of each hit.")] = False,
    json_lines: Json = False,
    column: Column = None,
    limit: Limit = None,
) -> None:
    """Search a collection by vectors, by words or by its own rows: a table of hits, or one JSON object a query."""
    from bebr.cli.progress import blocks
    from bebr.vectors import read_vectors

    if (ids is None) == (queries is None and not text):
        got = "no QUERIES, --text or --ids" if ids is None else "--ids beside QUERIES or --text"
        raise ValueError(f"got {got}, wanted QUERIES, --text, both of these, or --ids")
    if k < 1:
        raise ValueError(f"-k: got {k}, wanted at least 1")
    options: dict[str, Any] = {"radius": radius, "rescore": rescore, "exact": exact, "with_payloads": payloads}
    options |= {"nprobe": nprobe, "ef_search": ef_search}
    options["filter"] = None if filter is None else _json(filter, "--filter")
    rows = read_ids(ids)[:limit] if ids is not None else None
    vectors = read_vectors(queries, column, limit) if queries is not None else None
    total = max(len(some) for some in (rows, vectors, text) if some is not None)
    shown = total if json_lines else min(total, SHOWN_ROWS)
    with opened(place) as db:
        collection = db.collection(name)

        def found() -> Iterator[CollectionHits]:
            for start, stop in blocks(shown, BLOCK_ROWS):
                if rows is not None:
                    yield collection.search_ids(rows[start:stop], k, **options)
                    continue
                q = None if vectors is None else vectors[start:stop]
                yield collection.search(q, k, text=text[start:stop] if text else None, **options)

        if json_lines:
            _print_lines(found())
        else:
            _show(found(), payloads, total)


def read_ids(text: str) -> list[Id]:
    """Ids with commas between: whole numbers and UUIDs are such, the rest strings. Or a JSON list."""
    if text.lstrip().startswith("["):
        return list(_json(text, "--ids"))
    return [_id(part.strip()) for part in text.split(",")]


def _id(text: str) -> Id:
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return UUID(text) if len(text) == 36 else text
    except ValueError:
        return text


def _json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{option}: got {text!r}, which is not JSON: {error}") from error


def _rows(found: Iterator[CollectionHits]) -> Iterator[list[dict[str, Any]]]:
    """The hits of each query, best first."""
    for hits in found:
        for row, (ids, scores) in enumerate(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)):
            texts = [{}] * len(ids) if hits.payloads is None else [{"payload": one} for one in hits.payloads[row]]
            yield [
                {"id": id, "score": score, **text}
                for id, score, text in zip(ids, scores, texts, strict=True)
                if id is not None and id != -1
            ]


def _print_lines(found: Iterator[CollectionHits]) -> None:
    for query, hits in enumerate(_rows(found)):
        typer.echo(json.dumps({"query": query, "hits": hits}, ensure_ascii=False, default=str))  # UUIDs as text


def _show(found: Iterator[CollectionHits], payloads: bool, total: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("query", "id", "score", *(["payload"] if payloads else []))
    for query, hits in enumerate(_rows(found)):
        for hit in hits or [{"id": "none", "score": float("nan")}]:
            text = [json.dumps(hit.get("payload"), ensure_ascii=False)] if payloads else []
            table.add_row(str(query), str(hit["id"]), f"{hit['score']:.4g}" if hits else "", *text)
    console = Console()
    if not console.is_terminal:  # rich takes a pipe for 80 columns wide and would fold the lines
        console.width = 1000
    console.print(table, markup=False)
    if total > SHOWN_ROWS:
        console.print(f"and {total - SHOWN_ROWS:,} more queries: print them all with --json")
