"""The command group: its verbs, and what the user is told when something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from bebr.cli import (
    build,
    db,
    doctor,
    embed,
    encode,
    info,
    keys,
    leaf,
    plan,
    root,
    search,
    serve,
    snapshot,
    tag,
    tradeoff,
    train,
)
from bebr.cli.serve_settings import PREFIX
from bebr.errors import Error

# typer brings its own copy of click from some version on; its UsageError has no other public name in both
_UsageError = cast(type[Exception], typer.BadParameter.__base__)


class Verbs(TyperGroup):
    """Turns bad input into `error: ...` on one line of stderr and exit code 2; a bug keeps its traceback."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _one_line_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _one_line_errors(traceback=ctx.params.get("traceback", False)):
            return super().invoke(ctx)


@contextmanager
def _one_line_errors(traceback: bool = False) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # `bebr search ... | head`: typer ends quietly
        raise
    except _UsageError as error:
        _fail(cast(Any, error).format_message())
    except (ValueError, KeyError, OSError, ModuleNotFoundError, Error) as error:
        # bebr says what to install in an error of its own; one that carries a module's name is an import that broke
        if traceback or (isinstance(error, ModuleNotFoundError) and error.name is not None):
            raise
        _fail(_message(error))


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return ": ".join([" -> ".join(names), error.strerror] if names else [error.strerror])
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str() of a KeyError puts quotes round the sentence
    return str(error) or type(error).__name__


def _fail(message: str) -> None:
    print("error:", " ".join(message.split()), file=sys.stderr)
    raise typer.Exit(2)


app = typer.Typer(
    cls=Verbs,
    help="Binary embedding-based retrieval: embed, tag, train a binarizer, encode, index, search, measure, serve.",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _start(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error came from.")] = False,
) -> None:
    if version:
        from bebr import __version__

        typer.echo(f"bebr {__version__}")
    elif ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


app.command("embed")(embed.run)
app.command("tag")(tag.run)
app.command("train")(train.run)
app.command("encode")(encode.run)
app.command("build")(build.run)
app.command("search")(search.run)
app.command("plan")(plan.run)
app.command("tradeoff")(tradeoff.run)
app.command("serve", context_settings={"auto_envvar_prefix": PREFIX})(serve.run)
app.command("leaf")(leaf.run)
app.command("root")(root.run)
app.command("doctor")(doctor.run)
app.add_typer(db.app, name="db")
app.add_typer(snapshot.app, name="snapshot")
app.add_typer(keys.app, name="keys")
app.command("info")(info.run)
