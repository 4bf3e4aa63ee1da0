"""bebr leaf: shards of a shared database over gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from bebr.cli.arguments import Threads
from bebr.cli.serve import (
    Cache,
    CacheMb,
    DeviceMemoryMb,
    Grace,
    Host,
    Insecure,
    KeyFolder,
    LeaseSeconds,
    LogFormat,
    LogLevel,
    Port,
    SearchDevice,
    Segments,
    TlsCertificate,
    TlsKey,
)
from bebr.extras import needed


def run(
    url: Annotated[str, typer.Argument(metavar="URL", help="Of the database: postgresql://…, as bebr.open has it.")],
    segments: Segments = None,
    shards: Annotated[
        str,
        typer.Option(
            help="Shards that it takes, with commas between: 0,2 of every collection, docs:0 of one; all if not given.",
            show_default=False,
        ),
    ] = "",
    host: Host = "127.0.0.1",
    port: Port = 7777,
    advertise: Annotated[
        str | None, typer.Option(help="Address by which roots reach it; by default where it listens.")
    ] = None,
    threads: Threads = None,
    device: SearchDevice = "cpu",
    device_memory_mb: DeviceMemoryMb = None,
    cache: Cache = None,
    cache_mb: CacheMb = None,
    lease_seconds: LeaseSeconds = None,
    keys: KeyFolder = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    insecure: Insecure = False,
    metrics: Annotated[int | None, typer.Option(help="Port of /metrics for Prometheus, on loopback.")] = None,
    log_format: LogFormat = "text",
    log_level: LogLevel = "warning",
    grace: Grace = 10.0,
) -> None:
    """Serve shards of a shared database, for a root (`bebr root`): what `bebr serve URL` does, of some shards. The
    database has its address, as long as it runs."""
    if host in ("0.0.0.0", "::") and advertise is None:
        raise ValueError(f"--advertise is missing: roots do not reach {host}, want the address of this machine")
    with needed("server", "bebr leaf"):
        from bebr.cluster.names import Taken, check_url
        from bebr.serve import serve as run_server
    check_url(url)

    def announced(where: str) -> Callable[[], None]:
        from bebr.cluster.announcing import Announcing

        return Announcing(url, advertise or where).close

    run_server(
        *(url, host, port, threads),
        segments=segments,
        cache=cache,
        cache_bytes=None if cache_mb is None else cache_mb << 20,
        lease_seconds=lease_seconds,
        device=device,
        device_memory=None if device_memory_mb is None else device_memory_mb << 20,
        key_folder=keys,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        insecure=insecure,
        metrics_port=metrics,
        log_format=log_format,
        log_level=log_level,
        grace=grace,
        taken=Taken([text.strip() for text in shards.split(",") if text.strip()]),
        on_listening=announced,
    )
