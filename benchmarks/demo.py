"""The whole of bebr on real text, in minutes: ``make demo``.

The docstrings of the standard library, numpy and torch are embedded, a 52-byte binarizer is trained, a server is
started, the documents go in over gRPC with their payloads, questions come back answered, recall is compared with exact
float search, and a picture of the trade-off is left in ``demo/``. Vectors are cached, so a second run is quick.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import bebr
from bebr.collection.protocol import CollectionLike
from bebr.exact import recall
from bebr.plot import draw_tradeoff
from bebr.tradeoff import sweep
from benchmarks import datasets, output, servers, sources
from benchmarks.datasets import Floats

BYTES = 52
# Short texts that are not in the index: enough for the third digit of the recall.
PROBES = 500
QUESTIONS = (
    "how do I merge two sorted lists?",
    "run a function in another process",
    "compress data with gzip",
    "solve a system of linear equations",
    "limit the size of gradients during training",
    "parse command line options",
)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """``bebr serve`` on a free loopback port; yields its address, stops it at the end."""
    with servers.started("-m", "bebr", "serve", str(folder), "--port", "0") as (target, _):
        yield target


def ask(collection: CollectionLike, vectors: Floats, console: Console) -> None:
    """Print the three best documents for each question."""
    hits = collection.search(vectors, 3, with_payloads=True)
    for question, scores, payloads in zip(QUESTIONS, hits.scores, hits.payloads or [], strict=True):
        console.print(f"\n[bold]{question}[/bold]")
        for score, payload in zip(scores, payloads, strict=True):
            if payload is not None:
                console.print(
                    f"  {score:.3f}  [cyan]{payload['name']}[/cyan]  {payload['title']}",
                    highlight=False,
                    soft_wrap=True,
                )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.demo``; 1 where a source or package is absent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--output", type=Path, default=Path("demo"), help="folder for the server's data and the picture"
    )
    parser.add_argument("--limit", type=int, help="use this many documents only")
    options = parser.parse_args(arguments)
    console = output.console()
    start = time.perf_counter()
    try:
        documents = sources.docstrings()[: options.limit]
        producer = importlib.import_module("bebr.models").load("minilm", max_tokens=64)
    except (sources.MissingSource, ImportError) as error:
        console.print(str(error))
        return 1
    console.print(f"{len(documents):,} docstrings of the standard library, numpy and torch")
    shutil.rmtree(options.output / "data", ignore_errors=True)
    options.output.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("embed with MiniLM", total=len(documents))
        texts = [document.text for document in documents]
        vectors = datasets.embedded(
            "docstrings", texts, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
        bar.update(task, completed=len(documents))
        # First lines are short and say roughly what the document says: near its vector, not on it, like a real query.
        chosen = np.random.default_rng(0).choice(len(documents), min(PROBES, len(documents)), replace=False)
        probes = producer.embed([documents[row].title for row in chosen])
        asked = producer.embed(QUESTIONS)

        training = bar.add_task("train", total=None)
        model = bebr.train(
            vectors,
            bytes_per_vector=BYTES,
            metric="cosine",
            seed=0,
            progress=lambda stage, done, total: bar.update(training, completed=done, total=total),
        )
        bar.update(training, completed=1, total=1)
        model.save(options.output / "model.safetensors")

        with server(options.output / "data") as address, bebr.connect(address) as client:
            collection = client.create_collection("docstrings", model)
            task = bar.add_task("upsert over gRPC", total=len(documents))
            for begin in range(0, len(documents), 1_000):
                rows = range(begin, min(begin + 1_000, len(documents)))
                payloads = [{"name": documents[row].name, "title": documents[row].title} for row in rows]
                collection.upsert(np.array(rows), vectors[rows.start : rows.stop], payloads)
                bar.update(task, completed=rows.stop)
            ask(collection, asked, console)
            found = {mode: collection.search(probes, 10, query=mode).ids for mode in ("float", "code")}
            stored = collection.stats().bytes_per_vector

        truth = datasets.exact(vectors, probes, 10, "cosine")
        trading = bar.add_task("trade-off", total=None)
        points = sweep(
            vectors,
            probes,
            predict=False,
            progress=lambda stage, done, total: bar.update(trading, completed=done, total=total),
        )
        bar.update(trading, completed=1, total=1)
    picture = options.output / "tradeoff.png"
    draw_tradeoff(picture, points, f"Docstrings by MiniLM: {len(vectors):,} x {vectors.shape[1]}, cosine")

    plain = vectors.shape[1] * 4
    console.print(f"\nrecall@10 against exact float search, {len(probes)} queries, no rerank:")
    for mode, label in (("float", "float query (ADC)"), ("code", "coded query (SDC)")):
        console.print(f"  {label}: {recall(found[mode], truth):.3f}")
    console.print(f"bytes per vector: {stored}, floats would take {plain}: compression {plain / stored:.1f} times")
    console.print(f"dims of each plane: {' + '.join(map(str, model.widths))}; picture: {picture}")
    console.print(f"{time.perf_counter() - start:.0f} seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
