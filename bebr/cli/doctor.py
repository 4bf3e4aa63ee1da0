"""bebr doctor: is a data folder, or a shared database, healthy?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from bebr.cli.counts import counted
from bebr.cli.serve import Segments
from bebr.extras import needed


def run(
    directory: Annotated[
        str,
        typer.Argument(
            metavar="DIR|URL",
            help="Data folder, which nobody has open; or postgresql://…, with --segments, which may be open.",
            show_default=False,
        ),
    ],
    segments: Segments = None,
) -> None:
    """Read every byte of a data folder, or of a shared database, and say what is wrong, what it costs and what to do.
    Changes nothing.

    Exit code 0: healthy; 1: damaged.
    """
    from bebr.collection.checks import is_shared

    if is_shared(directory):
        if segments is None:
            raise ValueError("--segments is missing: want where the segments are, s3://… or file://…")
        with needed("cluster", "bebr doctor of postgresql://…"):
            from bebr.store.backup.doctor_shared import examine_shared

        findings = examine_shared(directory, segments)
    else:
        if segments is not None:
            raise ValueError(f"--segments: got {segments} beside a folder, wanted it with postgresql://… alone")
        with needed("store", "bebr doctor"):
            from bebr.store.backup.doctor import examine

        findings = examine(Path(directory))
    for finding in findings:
        typer.echo(f"{'DAMAGE' if finding.damage else 'note'}: {finding.problem}")
        typer.echo(f"  costs: {finding.costs}")
        typer.echo(f"  to do: {finding.remedy}")
    damages = sum(finding.damage for finding in findings)
    place = re.sub(r"(?<=://)([^:@/]*):[^@/]*@", r"\1:***@", directory)  # without a password
    typer.echo(f"{place}: {counted(damages, 'damage') if damages else 'healthy'}")
    if damages:
        raise typer.Exit(1)
