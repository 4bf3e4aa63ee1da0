"""The command line: `bebr embed | train | encode | build | search | serve | cluster | db | keys | info` and others.

A verb a file; app.py joins them.

Exit codes: 0 done; 2 bad input, told in one line on stderr; 1 a bug, with its traceback, or a `plan` that does
not hold all that was asked for; 130 interrupted.
"""

from __future__ import annotations

import gc
import sys

from bebr.extras import needed


def main() -> None:
    """Entry point of the `bebr` command."""
    gc.disable()  # until the verb begins: imports make many objects and drop few
    try:
        with needed("cli", "the bebr command"):
            from bebr.cli.app import app_for
    except ModuleNotFoundError as error:
        print("error:", error, file=sys.stderr)
        raise SystemExit(2) from None

    app_for(sys.argv[1:])(prog_name="bebr")
