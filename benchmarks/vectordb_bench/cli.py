# SPDX-License-Identifier: Apache-2.0
"""`vectordbbench bebr`."""

# No `from __future__ import annotations`: the project reads these as objects.
from typing import Annotated, Any

import click
from pydantic import SecretStr
from vectordb_bench.backend.clients import DB
from vectordb_bench.cli.cli import CommonTypedDict, cli, click_parameter_decorators_from_typed_dict, run


class BebrTypedDict(CommonTypedDict):
    target: Annotated[str, click.option("--target", help="host:port of the server", default="localhost:7777")]
    token: Annotated[str | None, click.option("--token", help="a key of the server")]
    bytes_per_vector: Annotated[int | None, click.option("--bytes-per-vector", type=int, help="of a code")]
    keep: Annotated[str, click.option("--keep", type=click.Choice(["float16", "int8", "none"]), default="float16")]
    index: Annotated[str, click.option("--index", type=click.Choice(["auto", "flat", "graph"]), default="auto")]
    target_recall: Annotated[float, click.option("--target-recall", type=float, default=0.95)]
    rescore: Annotated[int | None, click.option("--rescore", type=int, help="rows that get exact scores")]
    nprobe: Annotated[int | None, click.option("--nprobe", type=int)]
    ef_search: Annotated[int | None, click.option("--ef-search", type=int)]


@cli.command()  # type: ignore[untyped-decorator]
@click_parameter_decorators_from_typed_dict(BebrTypedDict)  # type: ignore[untyped-decorator]
def Bebr(**parameters: Any) -> None:
    from .config import BebrCaseConfig, BebrConfig

    token: Any = parameters["token"]
    names = ("bytes_per_vector", "index", "target_recall", "rescore", "nprobe", "ef_search")
    keep = None if parameters["keep"] == "none" else parameters["keep"]
    run(
        db=DB.Bebr,
        db_config=BebrConfig(
            db_label=parameters["db_label"], target=parameters["target"], token=SecretStr(token) if token else None
        ),
        db_case_config=BebrCaseConfig(keep=keep, **{name: parameters[name] for name in names}),
        **parameters,
    )
