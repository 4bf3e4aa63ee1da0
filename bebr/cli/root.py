"""bebr root: leaves behind one address."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bebr.cli.serve import Grace, Host, Insecure, LogFormat, LogLevel, Port, TlsCertificate, TlsClientCa, TlsKey
from bebr.extras import needed


def run(
    url: Annotated[
        str | None,
        typer.Argument(metavar="[URL]", help="Of a shared database, which has the addresses of its leaves."),
    ] = None,
    leaves: Annotated[
        str | None, typer.Option(help="In its place: addresses of leaves, with commas between: host:port,host:port.")
    ] = None,
    shards: Annotated[
        int, typer.Option(help="Into how many shards collections are split that are made through it.", min=1)
    ] = 1,
    host: Host = "127.0.0.1",
    port: Port = 7777,
    patience: Annotated[float, typer.Option(help="Seconds within which a replica of a shard must answer.")] = 10.0,
    keys: Annotated[Path | None, typer.Option(help="Folder whose keys (`bebr keys create`) callers need.")] = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    tls_client_ca: TlsClientCa = None,
    insecure: Insecure = False,
    token: Annotated[str | None, typer.Option(envvar="BEBR_TOKEN", help="A key of the leaves, of role admin.")] = None,
    leaf_tls_ca: Annotated[
        Path | None, typer.Option(envvar="BEBR_TLS_CA", help="Leaves have TLS, by the authority of this PEM file.")
    ] = None,
    metrics: Annotated[int | None, typer.Option(help="Port of /metrics for Prometheus, on loopback.")] = None,
    log_format: LogFormat = "text",
    log_level: LogLevel = "warning",
    slow_ms: Annotated[float | None, typer.Option(help="Log calls that take so many milliseconds.", min=0)] = None,
    grace: Grace = 10.0,
    share_port: Annotated[
        bool, typer.Option(help="Another root of URL may have the port, too, so that one replaces the other.")
    ] = False,
) -> None:
    """Answer for leaves (`bebr leaf`) as one server would: searches ask all shards, writes go to who writes a shard."""
    with needed("server", "bebr root"):
        from bebr.cluster.root import run as run_root

    if (url is None) == (leaves is None):
        raise ValueError("want the URL of a database with leaves, or --leaves, and not both")
    if share_port and url is None:
        raise ValueError("--share-port goes with a URL")
    named = None if leaves is None else [leaf.strip() for leaf in leaves.split(",") if leaf.strip()]
    run_root(
        *(url or "" if named is None else named, shards, host, port),
        patience=patience,
        keys=keys,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        insecure=insecure,
        token=token or None,
        leaf_tls=leaf_tls_ca,
        log_format=log_format,
        log_level=log_level,
        slow_ms=slow_ms,
        grace=grace,
        share_port=share_port,
        metrics_port=metrics,
    )
