"""bebr serve: a data folder, or a shared database, over gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bebr.cli.arguments import ProducerOptions, Size, Threads, Weights, load_producer
from bebr.cli.serve_settings import config_lines, rereading, take_config
from bebr.extras import needed

# Of whatever listens: here, for `bebr leaf` and for `bebr root`.
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every interface.")]
Port = Annotated[int, typer.Option(help="Port; 0 takes a free one.")]
TlsCertificate = Annotated[Path | None, typer.Option("--tls-cert", help="PEM file: calls come under TLS alone.")]
TlsKey = Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")]
TlsClientCa = Annotated[
    Path | None, typer.Option(help="PEM file: only clients with a certificate that this one signed.")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Listen beyond this machine without keys: whoever reaches it may do all.")
]
LogFormat = Annotated[Literal["text", "json"], typer.Option(help="Form of the log's lines, on stderr.")]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"], typer.Option(help="Least level of them; debug has every call.")
]
Grace = Annotated[float, typer.Option(help="Seconds that calls in progress may take when it stops.", min=0)]
# Of a database that several processes share, here and for `bebr leaf`.
Segments = Annotated[
    str | None, typer.Option(help="With a URL: where segments are, s3://… or file://….", show_default=False)
]
Cache = Annotated[
    Path | None, typer.Option(help="With a URL: folder for segments of this process; by default the user's cache.")
]
CacheMb = Annotated[int | None, typer.Option(help="With a URL: MiB that this folder may have.", min=1)]
LeaseSeconds = Annotated[
    float | None,
    typer.Option(help="With a URL: seconds after a writer's death until others may write in its place."),
]
# Of whatever searches: here, for `bebr leaf` and, told to leaves, for `bebr cluster up`.
SearchDevice = Annotated[
    str, typer.Option("--device", help="Where settled files, flat or in lists, are searched: cpu, cuda or cuda:N.")
]
DeviceMemoryMb = Annotated[
    int | None, typer.Option(help="MiB that rows may have there; by default all but what queries need.", min=1)
]
KeyFolder = Annotated[
    Path | None, typer.Option("--keys", help="Folder whose keys (`bebr keys create`) callers need; by default DIR.")
]


def run(
    ctx: typer.Context,
    directory: Annotated[
        str,
        typer.Argument(
            metavar="DIR|URL",
            help="Data folder, created if it is not there; or postgresql://…, with --segments.",
            show_default=False,
        ),
    ],
    segments: Segments = None,
    cache: Cache = None,
    cache_mb: CacheMb = None,
    lease_seconds: LeaseSeconds = None,
    keys: KeyFolder = None,
    host: Host = "127.0.0.1",
    port: Port = 7777,
    threads: Threads = None,
    device: SearchDevice = "cpu",
    device_memory_mb: DeviceMemoryMb = None,
    max_message_mb: Annotated[int, typer.Option(help="Largest message in MiB.")] = 64,
    max_memory_mb: Annotated[
        int | None,
        typer.Option(help="Memory in MiB for calls in progress; by default a quarter of what there is.", min=16),
    ] = None,
    max_reply_mb: Annotated[
        int | None, typer.Option(help="Largest reply in MiB; by default as a message.", min=1)
    ] = None,
    max_rows: Annotated[int | None, typer.Option(help="Rows of all collections together.", min=1)] = None,
    max_collections: Annotated[int | None, typer.Option(help="Collections.", min=1)] = None,
    max_disk_mb: Annotated[int | None, typer.Option(help="MiB of the data folder.", min=1)] = None,
    max_process_mb: Annotated[int | None, typer.Option(help="Memory in MiB that is the server's own.", min=1)] = None,
    metrics: Annotated[int | None, typer.Option(help="Port of /metrics for Prometheus, on loopback.")] = None,
    http: Annotated[
        int | None,
        typer.Option(help="Port of the same API as JSON, with /metrics and a dashboard; 0 takes a free one."),
    ] = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    tls_client_ca: TlsClientCa = None,
    insecure: Insecure = False,
    log_format: LogFormat = "text",
    log_level: LogLevel = "warning",
    slow_ms: Annotated[
        float | None, typer.Option(help="Log calls that take so many milliseconds, with what they did.", min=0)
    ] = None,
    front: Annotated[
        bool, typer.Option(help="Answer searches in C++, where bebr was built with libnghttp2; else in Python.")
    ] = True,
    snapshots: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Folder or URL where clients may make, list and restore snapshots."),
    ] = None,
    producer: Annotated[
        str | None, typer.Option("--producer", "-p", help="Embed texts or pictures for clients, by this producer.")
    ] = None,
    weights: Weights = None,
    size: Size = None,
    producer_device: Annotated[str, typer.Option(help="Where the producer's networks run, as torch names it.")] = "cpu",
    option: ProducerOptions = None,
    grace: Grace = 10.0,
    config: Annotated[
        Path | None,
        typer.Option(help="File of these options (TOML); read again at SIGHUP.", is_eager=True, callback=take_config),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print what holds and where it came from, and stop.")
    ] = False,
) -> None:
    """Serve a folder of collections, or a shared database, over gRPC, and with --http over HTTP, until interrupted.

    Options come from --config FILE, then the environment (BEBR_SERVE_PORT), then flags; the later one holds.
    """
    if print_config:
        print("\n".join(config_lines(ctx)))
        return
    if not 0 <= port <= 65535:
        raise ValueError(f"--port: got {port}, wanted 0 to 65535")
    if metrics is not None and not 0 <= metrics <= 65535:
        raise ValueError(f"--metrics: got {metrics}, wanted 0 to 65535")
    if http is not None and not 0 <= http <= 65535:
        raise ValueError(f"--http: got {http}, wanted 0 to 65535")
    if not 1 <= max_message_mb <= 2047:  # gRPC counts the bytes in an int32
        raise ValueError(f"--max-message-mb: got {max_message_mb}, wanted 1 to 2047")
    if threads is not None and threads < 1:
        raise ValueError(f"--threads: got {threads}, wanted at least 1")
    if producer is None and (weights, size, option, producer_device) != (None, None, None, "cpu"):
        raise ValueError("--weights, --size, --producer-device and --option are of a producer: name it by --producer")
    embedder = None if producer is None else load_producer(producer, weights, size, producer_device, option)
    with needed("server", "bebr serve"):
        from bebr.serve import serve as run_server

    beside = []
    if http is not None:
        from bebr.http import Http

        beside.append(Http(http))
    memory, reply, disk, process = (
        None if mebibytes is None else mebibytes << 20
        for mebibytes in (max_memory_mb, max_reply_mb, max_disk_mb, max_process_mb)
    )
    run_server(
        *(directory, host, port, threads, max_message_mb << 20, memory),
        max_reply_bytes=reply,
        max_rows=max_rows,
        max_collections=max_collections,
        max_disk_bytes=disk,
        max_process_bytes=process,
        producer=embedder,
        metrics_port=metrics,
        insecure=insecure,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        log_format=log_format,
        log_level=log_level,
        slow_ms=slow_ms,
        front=front,
        grace=grace,
        reread=rereading(ctx, config),
        snapshots=snapshots,
        beside=beside,
        segments=segments,
        cache=cache,
        cache_bytes=None if cache_mb is None else cache_mb << 20,
        lease_seconds=lease_seconds,
        device=device,
        device_memory=None if device_memory_mb is None else device_memory_mb << 20,
        key_folder=keys,
    )
