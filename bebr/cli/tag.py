"""bebr tag: texts to tags, which a language model names and a vocabulary holds together (TagGPT)."""

from __future__ import annotations

import os
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bebr.cli.arguments import (
    Device,
    Limit,
    Producer,
    ProducerOptions,
    Rescore,
    Seed,
    Size,
    Threads,
    Weights,
    load_producer,
    use_threads,
)
from bebr.cli.counts import counted

if TYPE_CHECKING:
    from bebr.cli.progress import Report

CHUNK = 256


class Tagger(str, Enum):
    generative = "generative"
    selective = "selective"


def run(
    items: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="Text lines (.txt), JSON lines (.jsonl) or .parquet.", show_default=False),
    ],
    producer: Producer,
    llm: Annotated[
        str,
        typer.Option(
            help="Who names tags: a server's address, as https://host/v1; a .jsonl that --record wrote; or `phrases`, "
            "key phrases of the texts themselves, without any model.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Items, tags and votes: .parquet or .jsonl.", show_default=False),
    ],
    vocabulary: Annotated[
        Path | None, typer.Option(help="Tags to choose from; if not given, they are made of INPUT.", show_default=False)
    ] = None,
    save_vocabulary: Annotated[Path | None, typer.Option(help="Keep the vocabulary that was made here.")] = None,
    tagger: Annotated[
        Tagger, typer.Option(help="Named freely, then matched; or the nearest looked up, then chosen from.")
    ] = Tagger.generative,
    field: Annotated[
        list[str] | None,
        typer.Option(help="Column of a text field; may be given several times. Else as `bebr embed --text-column`."),
    ] = None,
    llm_model: Annotated[str | None, typer.Option(help="The server's name for the model.")] = None,
    api_key_env: Annotated[str | None, typer.Option(help="Environment variable that holds the server's key.")] = None,
    temperature: Annotated[float, typer.Option(help="Of the server's answers.")] = 1.5,
    timeout: Annotated[float, typer.Option(help="Seconds that an answer may take.")] = 60.0,
    workers: Annotated[int, typer.Option(help="Answers waited for at once.")] = 1,
    record: Annotated[
        Path | None, typer.Option(help="Append answers to this .jsonl, and do not ask again what it holds.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Answers for each item.")] = 5,
    cut: Annotated[int, typer.Option(help="Characters of a text field that are told.")] = 100,
    least: Annotated[int, typer.Option(help="Answers that must name a tag of the vocabulary.")] = 3,
    merge: Annotated[float, typer.Option(help="Cosine from which two tags are one.")] = 0.95,
    match: Annotated[float, typer.Option(help="generative: cosine from which a named tag stands for another.")] = 0.9,
    candidates: Annotated[int, typer.Option(help="selective: tags looked up for each text field.")] = 10,
    most: Annotated[int, typer.Option(help="Tags kept of an item.")] = 5,
    bytes_: Annotated[int, typer.Option("--bytes", help="Bytes of a tag's code, factors included.")] = 48,
    model: Annotated[Path | None, typer.Option(help="A binarizer to use instead of training one.")] = None,
    rescore: Annotated[
        Rescore, typer.Option(help="Vectors kept beside the codes, for exact scores.")
    ] = Rescore.float16,
    exact: Annotated[bool, typer.Option("--exact", help="Compare floats, without codes.")] = False,
    seed: Seed = 0,
    weights: Weights = None,
    size: Size = None,
    device: Device = "cpu",
    option: ProducerOptions = None,
    limit: Limit = None,
    threads: Threads = None,
) -> None:
    """Tag items: columns `item` (its first text field), `tags` and `votes`, a row an item, in the order of the input.

    A run that was ended goes on at the answers that --record kept. The output appears when it is whole.
    """
    import bebr
    from bebr.cli.progress import progress, say
    from bebr.cli.tagged import TagWriter
    from bebr.cli.text_fields import open_text_fields
    from bebr.models.taggpt import Coded, Exact, GenerativeTagger, Replay, SelectiveTagger, Vocabulary, build
    from bebr.vectors import check_output

    check_output(output, ".parquet", ".jsonl", source=items)
    if vocabulary is not None and save_vocabulary is not None:
        raise ValueError("--vocabulary and --save-vocabulary: got both, wanted one of them")
    if save_vocabulary is not None:
        check_output(save_vocabulary, ".jsonl")
    for name, value in (("--most", most), ("--samples", samples), ("--workers", workers), ("--cut", cut)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, wanted at least 1")
    use_threads(threads)
    source = open_text_fields(items, producer, field or [], limit)
    speaker = _speaker(llm, llm_model, api_key_env, temperature, timeout)
    if record is not None or (vocabulary is None and tagger is Tagger.generative):  # the second pass asks the same
        speaker = Replay(record, speaker)
    encoder = load_producer(producer, weights, size, device, option)
    given = None if model is None else bebr.Binarizer.load(model)
    matching: Any = Exact() if exact else Coded(bytes_, given, rescore=rescore.kind, seed=seed)
    asking = {"samples": samples, "seed": seed, "cut": cut, "workers": workers}
    if vocabulary is not None:
        tags = Vocabulary.load(vocabulary)
    else:
        with progress("vocabulary") as report:
            text_fields = (one for chunk, _ in source.chunks(CHUNK) for one in chunk)
            told = partial(_told, report, source.rows)
            tags = build(text_fields, speaker, encoder, matching, least=least, radius=merge, progress=told, **asking)
        if save_vocabulary is not None:
            tags.save(save_vocabulary)
            say(f"{save_vocabulary}: {counted(len(tags), 'tag')}")
    if tagger is Tagger.generative:
        chooser: Any = GenerativeTagger(speaker, encoder, tags, matching, radius=match, **asking)
    else:
        chooser = SelectiveTagger(speaker, encoder, tags, matching, candidates=candidates, **asking)
    rows = bare = 0
    with TagWriter(output) as writer, progress("tagging") as report:
        for chunk, labels in source.chunks(CHUNK):
            chosen = chooser.tag(chunk, most)
            writer.append(labels, chosen)
            rows += len(chunk)
            bare += sum(not some for some in chosen)
            report("", rows, source.rows)
    tagged, choice = counted(rows, "item"), counted(len(tags), "tag")
    say(f"{output}: {tagged}, {bare:,} of them without a tag, {choice} to choose from, {speaker.name}")


def _told(report: Report, rows: int, done: int) -> None:
    report("", done, rows)


def _speaker(llm: str, name: str | None, key: str | None, temperature: float, timeout: float) -> Any:
    """What --llm names. ValueError for anything else."""
    from bebr.models.taggpt import Chat, KeyPhrases, Replay

    if llm.startswith(("http://", "https://")):
        if name is None:
            raise ValueError("--llm-model: got none, wanted the server's name for the model")
        if key is not None and key not in os.environ:
            raise ValueError(f"--api-key-env: the environment has no variable '{key}'")
        api_key = None if key is None else os.environ[key]
        return Chat(llm, name, api_key, temperature=temperature, timeout=timeout)
    if name is not None or key is not None:
        raise ValueError(f"--llm-model and --api-key-env are for a server's address, but --llm is '{llm}'")
    if llm == "phrases":
        return KeyPhrases()
    if llm.endswith(".jsonl"):
        return Replay(llm)
    raise ValueError(f"--llm: got '{llm}', wanted an address (https://host/v1), a .jsonl of answers, or phrases")
