"""The command group: its verbs, and what the user is told when something is wrong."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from bebr.cli.serve_settings import PREFIX
from bebr.errors import Error

# Each is a module of this package, with one command, `run`, or several, `app`.
VERBS = (
    *("embed", "tag", "train", "encode", "build", "search", "plan", "tradeoff", "serve", "leaf"),
    *("root", "cluster", "doctor", "db", "snapshot", "keys", "info"),
)

# typer brings its own copy of click from some version on; its UsageError has no other public name in both
_UsageError = cast(type[Exception], typer.BadParameter.__base__)


class Verbs(TyperGroup):
    """Turns bad input into `error: ...` on one line of stderr and exit code 2; a bug keeps its traceback."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _one_line_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        gc.enable()
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


def make_app(verbs: Iterable[str] = VERBS) -> typer.Typer:
    """The command with some of its verbs: typer looks at every option of all that it is given before it begins, and at
    those of all verbs for a tenth of a second."""
    app = typer.Typer(
        cls=Verbs,
        help="Binary embedding-based retrieval: embed, tag, train a binarizer, encode, index, search, measure, serve.",
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_start)
    for verb in verbs:
        module: Any = import_module(f"bebr.cli.{verb}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=verb)
        else:
            settings = {"auto_envvar_prefix": PREFIX} if verb == "serve" else None
            app.command(verb, context_settings=settings)(module.run)
    return app


def app_for(arguments: list[str]) -> typer.Typer:
    """What is enough of it for a command line."""
    return make_app(arguments[:1] if arguments[:1] and arguments[0] in VERBS else VERBS)


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
