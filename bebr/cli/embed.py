"""bebr embed: texts, pictures, pairs of them or clips to vectors, by a producer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bebr.cli.arguments import Device, Limit, Producer, ProducerOptions, Size, Weights, load_producer
from bebr.cli.counts import counted

if TYPE_CHECKING:
    from bebr.cli.items import Source
    from bebr.models.objects import ObjectProducer


def run(
    items: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Text lines (.txt), JSON lines (.jsonl), .parquet, or a folder of pictures or clips.",
            show_default=False,
        ),
    ],
    producer: Producer,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Vectors: .parquet (with the items), .npy or .fvecs.", show_default=False),
    ],
    weights: Weights = None,
    size: Size = None,
    device: Device = "cpu",
    option: ProducerOptions = None,
    batch_size: Annotated[int, typer.Option(help="Items in one pass of the network.")] = 64,
    modality: Annotated[
        str | None, typer.Option(help="text, image or image+text: for producers that take more than one.")
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column of the texts.", show_default="'text' of .jsonl; the only one of .parquet")
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(help="Column of the pictures (paths; in Parquet also bytes).", show_default="'image' of .jsonl"),
    ] = None,
    limit: Limit = None,
) -> None:
    """Embed items into float32 vectors, a row an item, in the order of the input (files: by path).

    The output goes into `train`, `build` and `encode`. .parquet also keeps each text, or each file's path, in the
    column `item`. A producer of objects writes a row an object, .parquet only: the columns `id` (item#number), `item`
    and those of its facts are a payload for `db load`.
    """
    import numpy as np

    from bebr.cli.items import CLIP, IMAGE, TEXT, open_source
    from bebr.cli.progress import progress, say
    from bebr.models import clips
    from bebr.models.items import SUFFIXES, modalities
    from bebr.models.objects import ObjectProducer
    from bebr.vectors import VectorWriter, check_output

    check_output(output, ".parquet", ".npy", ".fvecs", source=items)
    if batch_size < 1:
        raise ValueError(f"--batch-size: got {batch_size}, wanted at least 1")
    encoder = load_producer(producer, weights, size, device, option)
    files = {IMAGE: SUFFIXES, CLIP: clips.SUFFIXES}
    source = open_source(
        items, producer, modalities(encoder.modality), files, modality, text_column, image_column, limit
    )
    if isinstance(encoder, ObjectProducer):
        _objects(encoder, source, output, batch_size)
        return
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
    what = {TEXT: "texts", IMAGE: "pictures", CLIP: "clips"}.get(source.kind, "pairs")
    say(f"{output}: {written:,} {what}, {encoder.dim} dims, {encoder.metric}, {encoder.name} {encoder.version}")


def _objects(encoder: ObjectProducer, source: Source, output: Path, batch_size: int) -> None:
    """A row an object of every picture."""
    import numpy as np

    from bebr.cli.progress import progress, say
    from bebr.vectors import RowWriter, check_output

    check_output(output, ".parquet")
    pictures = empty = 0
    with RowWriter(output, encoder.dim) as writer, progress("embedding") as report:
        for chosen, labels in source.chunks(batch_size):
            found = encoder.objects(chosen, batch_size=batch_size)
            counts = [int(count) for count in np.bincount(found.of, minlength=len(chosen))]
            items = [label for label, count in zip(labels, counts, strict=True) for _ in range(count)]
            numbers = [number for count in counts for number in range(count)]
            columns: dict[str, list[Any]] = {
                "id": [f"{item}#{number}" for item, number in zip(items, numbers, strict=True)],
                "item": items,
            }
            for key in found.facts[0] if found.facts else ():
                columns[key] = [fact[key] for fact in found.facts]
            writer.append(found.vectors, columns)
            pictures += len(chosen)
            empty += counts.count(0)
            report("", pictures, source.rows)
    what = f"{counted(writer.rows, 'object')} of {counted(pictures, 'picture')} ({empty:,} without any)"
    say(f"{output}: {what}, {encoder.dim} dims, {encoder.metric}, {encoder.name} {encoder.version}")
