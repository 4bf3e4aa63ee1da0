"""bebr doctor: is a data folder healthy?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bebr.extras import needed


def run(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Data folder, which nobody has open.", show_default=False)
    ],
) -> None:
    """Read every byte of a data folder and say what is wrong, what it costs and what to do. Changes nothing.

    Exit code 0: healthy; 1: damaged.
    """
    with needed("store", "bebr doctor"):
        from bebr.store.backup.doctor import examine

    findings = examine(directory)
    for finding in findings:
        typer.echo(f"{'DAMAGE' if finding.damage else 'note'}: {finding.problem}")
        typer.echo(f"  costs: {finding.costs}")
        typer.echo(f"  to do: {finding.remedy}")
    damages = sum(finding.damage for finding in findings)
    typer.echo(f"{directory}: {f'{damages} damages' if damages else 'healthy'}")
    if damages:
        raise typer.Exit(1)
