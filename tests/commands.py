"""The command line, run in this process."""

from __future__ import annotations

import functools

from typer import testing
from typer.testing import CliRunner, Result

from bebr.cli.app import make_app

# The runner makes the tree of commands anew for each call, which takes ten times as long as most of them.
testing._get_command = functools.cache(testing._get_command)
_APP = make_app()


def run(*arguments: object) -> Result:
    """What `bebr ARGUMENTS` does and says; anything but an exit code is raised here."""
    result = CliRunner().invoke(_APP, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(*arguments: object) -> Result:
    """`run` of what succeeds."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: object) -> str:
    """The one line that `run` of what is wrong says."""
    result = run(*arguments)
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1, result.output
    return result.stderr
