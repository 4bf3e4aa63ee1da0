"""Pictures of the server's dashboard, over the documents of `benchmarks.demo`: at the width of a desk and of a phone.

Needs Chromium (apt-get install chromium). The documents are embedded by MiniLM, and asked for in words.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import bebr
from benchmarks import datasets, servers, sources
from benchmarks.browser import Page, find_chromium, opened

_BYTES, _DOCUMENTS = 52, 8000
_WORDS = "run a function in another process"
# Seconds of searches before the picture, so that there is something to draw, and between two of them.
_SECONDS, _PAUSE = 45.0, 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.dashboard``; 1 where a source, a package or Chromium is absent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"), help="folder for the pictures")
    parser.add_argument("--limit", type=int, default=_DOCUMENTS, help="use this many documents")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of searches before them")
    options = parser.parse_args(arguments)
    chromium = find_chromium()
    if chromium is None:
        print("no Chromium is installed: apt-get install chromium")
        return 1
    try:
        documents = sources.docstrings()
    except (sources.MissingSource, ImportError) as error:
        print(error)
        return 1
    vectors = datasets.embedded("docstrings", [document.text for document in documents])[: options.limit]
    documents = documents[: options.limit]
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), documents, vectors)
        port = free_port()
        serve = ("-m", "bebr", "serve", folder, "--port", "0", "--http", str(port), "--producer", "minilm")
        with servers.started(*serve) as (target, _), opened(chromium) as page:
            ask(target, vectors, options.seconds)
            for name, width in (("desk", 1280), ("phone", 390)):
                show(page, f"http://127.0.0.1:{port}/", width)
                page.picture(options.output / f"dashboard-{name}.png")
    return 0


def fill(folder: Path, documents: Sequence[sources.Document], vectors: datasets.Floats) -> None:
    """Two collections, of a model that needs no training: with vectors kept, and of codes alone."""
    payloads = [{"name": document.name, "title": document.title} for document in documents]
    model = bebr.untrained(vectors.shape[1], _BYTES)
    with bebr.open(folder) as db:
        kept = db.create_collection("docstrings", model, keep="float16", text="title")
        kept.upsert(np.arange(len(vectors)), vectors, payloads)
        kept.settle()
        codes = db.create_collection("codes-alone", model)
        codes.upsert(np.arange(len(vectors)), vectors, payloads)


def ask(target: str, vectors: datasets.Floats, seconds: float) -> None:
    """Searches for so long, one after the other."""
    end, rng = time.monotonic() + seconds, np.random.default_rng(0)
    with bebr.connect(target) as client:
        collection = client.collection("docstrings")
        while time.monotonic() < end:
            collection.search(vectors[rng.integers(len(vectors))], 10)
            time.sleep(_PAUSE)


def show(page: Page, address: str, width: int) -> None:
    """The page with a question in words answered, and a recall measured."""
    page.show(address, width)
    page.wait("document.querySelector('.card[data-name=docstrings]') !== null")
    page.run("document.querySelector('.card[data-name=docstrings]').click()")
    page.run("document.querySelector('input[name=by][value=words]').click()")
    for name, value in (("asked", _WORDS), ("k", "4")):
        page.run(f"document.getElementById({json.dumps(name)}).value = {json.dumps(value)}; 0")
    page.run("document.querySelector('#query button').click()")
    page.run("document.getElementById('measure').click()")
    page.wait("document.querySelectorAll('#hits li').length === 4 && document.querySelector('#recall svg') !== null")
    page.run("document.activeElement.blur()")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
