"""bebr embed: texts, pictures or pairs of them to vectors, by a producer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bebr.cli.arguments import Limit


def run(
    items: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Text lines (.txt), JSON lines (.jsonl), .parquet, or a folder of pictures.",
            show_default=False,
        ),
    ],
    producer: Annotated[str, typer.Option("--producer", "-p", help="Its name: `bebr.models.names()` lists them.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Vectors: .parquet (with the items), .npy or .fvecs.", show_default=False),
    ],
    weights: Annotated[
        Path | None, typer.Option(help="File or folder of weights, for producers that do not bring their own.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Which size of model, for producers that have several.")] = None,
    device: Annotated[str, typer.Option(help="Where the network runs: cpu, cuda.")] = "cpu",
    option: Annotated[
        list[str] | None,
        typer.Option(help="Another option of the producer, as max_tokens=64; may be given several times."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Items in one pass of the network.")] = 64,
    modality: Annotated[
        str | None, typer.Option(help="text, image or image+text: for producers that take more than one.")
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column of the texts. [default: 'text' of .jsonl; the only one of .parquet]")
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(help="Column of the pictures (paths; in Parquet also bytes). [default: 'image' of .jsonl]"),
    ] = None,
    limit: Limit = None,
) -> None:
    """Embed items into float32 vectors, a row an item, in the order of the input (pictures: by path).

    The output goes into `train`, `build` and `encode`. .parquet also keeps each text, or each picture's path, in the
    column `item`.
    """
    import numpy as np

    from bebr.cli.items import IMAGE, TEXT, open_source
    from bebr.cli.progress import progress, say
    from bebr.models import load
    from bebr.models.items import SUFFIXES, modalities
    from bebr.vectors import VectorWriter, check_output

    check_output(output, ".parquet", ".npy", ".fvecs")
    if batch_size < 1:
        raise ValueError(f"--batch-size: got {batch_size}, wanted at least 1")
    try:
        encoder: Any = load(producer, weights=weights, size=size, device=device, **_options(option or []))
    except ImportError as error:  # names what to install; told in one line
        raise ModuleNotFoundError(str(error)) from error
    source = open_source(
        items, producer, modalities(encoder.modality), SUFFIXES, modality, text_column, image_column, limit
    )
    stored_pictures = items.suffix == ".parquet" and source.kind != TEXT
    chunk = batch_size if stored_pictures else batch_size * 8  # texts are sorted by length within a chunk
    written = 0
    labels_column = "item" if output.suffix == ".parquet" else None
    with (
        VectorWriter(output, source.rows, encoder.dim, np.float32, labels=labels_column) as writer,
        progress("embedding") as report,
    ):
        for chosen, labels in source.chunks(chunk):
            x = encoder.embed(chosen, batch_size=batch_size)
            if not np.isfinite(x).all():
                row = int(np.argmin(np.isfinite(x).all(axis=1)))
                raise ValueError(
                    f"{producer} gave a vector that is not finite for row {written + row}: {labels[row]!r}"
                )
            writer.append(x, labels if labels_column else None)
            written += len(x)
            report("", written, source.rows)
    what = {TEXT: "texts", IMAGE: "pictures"}.get(source.kind, "pairs")
    say(f"{output}: {written:,} {what}, {encoder.dim} dims, {encoder.metric}, {encoder.name} {encoder.version}")


def _options(given: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; whole numbers are read as such. The producer names an option that it does not take."""
    options: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier() or name in ("name", "weights", "size", "device"):
            raise ValueError(f"--option: got '{pair}', wanted NAME=VALUE, as max_tokens=64")
        options[name] = int(value) if value.removeprefix("-").isdecimal() else value
    return options
