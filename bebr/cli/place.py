"""Where collections are: a data folder, or a server at host:port; and what verbs that reach servers take alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bebr.collection.protocol import DatabaseLike
    from bebr.serve.client import Client

Place = Annotated[
    str,
    typer.Argument(metavar="PLACE", help="A data folder, or a server as HOST:PORT.", show_default=False),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A collection.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="JSON lines in place of a table.")]


_connecting: ContextVar[dict[str, Any]] = ContextVar("_connecting")


def connecting(
    token: Annotated[
        str | None,
        typer.Option(envvar="BEBR_TOKEN", help="A key of the server; as the variable it is in no list of processes."),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="The server has TLS, by an authority that is known.")] = False,
    tls_ca: Annotated[
        Path | None, typer.Option(envvar="BEBR_TLS_CA", help="The server has TLS, by the authority of this PEM file.")
    ] = None,
) -> None:
    """How servers are reached by the verbs that follow."""
    _connecting.set({"token": token or None, "tls": tls_ca or tls})


def is_server(place: str) -> bool:
    """Whether `place` is an address, be it a URL of gRPC's; a folder that is there is a folder, whatever its name."""
    if ":" not in place or Path(place).is_dir():
        return False
    return "://" not in place or place.startswith(("dns://", "unix://"))


@contextmanager
def connected(server: str, **options: Any) -> Iterator[Client]:
    """A connection to a server for the length of the block, with the key and the TLS that the command was given."""
    import bebr

    with bebr.connect(server, **_connecting.get({}), **options) as client:
        yield client


@contextmanager
def opened(place: str, *, make: bool = False) -> Iterator[DatabaseLike]:
    """The database at `place` for the length of the block. `make`: a folder that is not there is made; without it,
    ValueError or FileNotFoundError."""
    if is_server(place):
        with connected(place) as client:
            yield client
        return
    import bebr

    if "://" in place:
        raise ValueError(f"{place}: got a URL, wanted a data folder, or a server as HOST:PORT")
    folder = Path(place)
    if not make:
        if not folder.exists():
            raise FileNotFoundError(f"{place}: no such folder; a server is HOST:PORT")
        if not (folder / "catalog.db").is_file():  # opening would make a database of any folder
            raise ValueError(f"{place}: got a folder without catalog.db, wanted a data folder of bebr")
    with bebr.open(folder) as db:
        yield db
