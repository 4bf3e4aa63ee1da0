"""Arguments that several verbs share, and how lists of numbers are written."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from bebr.index.raw import RawType


class Metric(str, Enum):
    cosine = "cosine"
    ip = "ip"
    l2 = "l2"


class Architecture(str, Enum):
    linear = "linear"
    recurrent = "recurrent"


class QueryMode(str, Enum):
    float = "float"
    code = "code"


class Rescore(str, Enum):
    float16 = "float16"
    int8 = "int8"
    none = "none"

    @property
    def kind(self) -> RawType | None:
        """As the library takes it."""
        return None if self is Rescore.none else cast("RawType", self.value)


Vectors = Annotated[
    Path,
    typer.Argument(
        help="Vectors: .npy, .fvecs, .bvecs, .ivecs, .fbin, .u8bin, .i8bin or .parquet.", show_default=False
    ),
]
Model = Annotated[Path, typer.Argument(help="A binarizer, as `bebr train` writes it.", show_default=False)]
Column = Annotated[str | None, typer.Option(help="Parquet column that holds the vectors, if there are several.")]
Limit = Annotated[int | None, typer.Option(help="Read the first rows only.")]
Producer = Annotated[str, typer.Option("--producer", "-p", help="Its name: `bebr.models.names()` lists them.")]
Weights = Annotated[
    Path | None, typer.Option(help="File or folder of weights, for producers that do not bring their own.")
]
Size = Annotated[str | None, typer.Option(help="Which size of model, for producers that have several.")]
Device = Annotated[str, typer.Option(help="Where the network runs: cpu, cuda.")]
ProducerOptions = Annotated[
    list[str] | None,
    typer.Option("--option", help="Another option of the producer, as max_tokens=64; may be given several times."),
]
Threads = Annotated[int | None, typer.Option(help="Threads of the engine; all cores if not given.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


def use_threads(threads: int | None) -> None:
    """Set the engine's threads if asked to. ValueError below 1."""
    if threads is None:
        return
    if threads < 1:
        raise ValueError(f"--threads: got {threads}, wanted at least 1")
    import bebr

    bebr.set_num_threads(threads)


def numbers(text: str, option: str) -> list[int]:
    """Read '240,112,32' as [240, 112, 32]. ValueError naming the option."""
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option}: got '{text}', wanted whole numbers with commas between, as 240,112,32") from None
    if min(values) < 1:
        raise ValueError(f"{option}: got {min(values)}, wanted numbers of at least 1")
    return values


def load_producer(name: str, weights: Path | None, size: str | None, device: str, options: list[str] | None) -> Any:
    """The producer; a missing package is told in one line."""
    from bebr.models import load

    try:
        return load(name, weights=weights, size=size, device=device, **_named(options or []))
    except ImportError as error:  # names what to install
        raise ModuleNotFoundError(str(error)) from error


def _named(given: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; whole numbers are read as such. The producer names an option that it does not take."""
    options: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier() or name in ("name", "weights", "size", "device"):
            raise ValueError(f"--option: got '{pair}', wanted NAME=VALUE, as max_tokens=64")
        options[name] = int(value) if value.removeprefix("-").isdecimal() else value
    return options


def command(ctx: typer.Context) -> str:
    """The line that asked for this, as a shell reads it; options under their long names."""
    words = ["bebr", ctx.info_name or ""]
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if source is None or source.name != "COMMANDLINE":
            continue
        value = ctx.params[parameter.name or ""]
        if parameter.param_type_name == "argument":
            words.insert(2, str(value))
        elif value is True:
            words.append(parameter.opts[-1])
        else:
            words += [parameter.opts[-1], str(value.value if isinstance(value, Enum) else value)]
    return shlex.join(words)
