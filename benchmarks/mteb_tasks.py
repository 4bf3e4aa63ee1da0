"""Retrieval over real texts, scored by mteb's own evaluation: an encoder's exact search, and its documents' codes.

    python -m benchmarks.mteb_tasks wordnet cranfield=FOLDER cisi=FOLDER --bytes 52 100 196

The tasks are ours, for mteb's load from a hub. ``wordnet``: from a definition to the words that it defines. ``debian``:
from a package's synopsis to its description. NAME=FOLDER: documents, queries and judgements of yours, in a layout that
`bebr.models.data.relevance` reads. Exit 1 where 196 bytes score more than .01 away from exact search.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bebr.integrations.mteb import bebr_search
from bebr.models import load
from bebr.models.data import MissingSource, debian, relevance, wordnet
from bebr.models.data.relevance import Judged
from benchmarks import datasets, machine, output

AIM, AIM_BYTES = 0.01, 196
SCORES = ("ndcg_at_10", "recall_at_100")
TOKENS = 256  # of a text that are read, MiniLM's limit


def of_wordnet(count: int = 20_000, queries: int = 1_000, seed: int = 0) -> Judged:
    """Documents: the words of ``count`` meanings. Queries: definitions of some; right are all words that have one."""
    synsets = wordnet.load()
    chosen = np.random.default_rng(seed).permutation(len(synsets))[:count]
    words: dict[str, set[str]] = {}
    for row in chosen:
        words.setdefault(synsets[row].definition, set()).update(synsets[row].words)
    return _paired([(definition, sorted(of)) for definition, of in words.items()], {}, queries)


def of_debian(count: int = 10_000, queries: int = 1_000, seed: int = 0) -> Judged:
    """Documents: descriptions of ``count`` packages. Queries: synopses of some; right are all packages that have it."""
    packages = {one.description: one for one in debian.load() if one.description and one.synopsis}
    every = list(packages.values())
    chosen = [every[row] for row in np.random.default_rng(seed).permutation(len(every))[:count]]
    named: dict[str, list[str]] = {}
    for one in chosen:
        named.setdefault(one.synopsis, []).append(one.package)
    return _paired(list(named.items()), {one.package: one.description for one in chosen}, queries)


def _paired(answers: Sequence[tuple[str, Sequence[str]]], texts: Mapping[str, str], queries: int) -> Judged:
    """The first ``queries`` of ``answers`` are asked, the documents of all are searched; a document without an entry
    in ``texts`` is its own text."""
    documents = {name: texts.get(name, name) for _, names in answers for name in names}
    asked = {f"q{row}": text for row, (text, _) in enumerate(answers[:queries])}
    grades = {f"q{row}": dict.fromkeys(names, 1) for row, (_, names) in enumerate(answers[:queries])}
    return Judged(documents, asked, grades, datasets.checksum([*documents.values(), *asked.values()]))


def task_of(name: str, judged: Judged) -> Any:
    """A retrieval task of mteb over texts that are here already."""
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Local(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name=name,
            description=f"{len(judged.documents)} documents, {len(judged.grades)} judged queries.",
            dataset={"path": name, "revision": judged.checksum},
            type="Retrieval",
            eval_langs=["eng-Latn"],
            main_score=SCORES[0],
        )

        def load_data(self, *_: Any, **__: Any) -> None:
            queries = {id: text for id, text in judged.queries.items() if id in judged.grades}
            texts = {"corpus": judged.documents, "queries": queries}
            of = {
                part: Dataset.from_dict({"id": list(rows), "text": list(rows.values())}) for part, rows in texts.items()
            }
            self.dataset = {"default": {"test": {**of, "relevant_docs": dict(judged.grades), "top_ranked": None}}}
            self.data_loaded = True

    return Local()


class Encoder:
    """A producer of texts as mteb takes encoders. A text is embedded once, however many searches ask for it."""

    def __init__(self, producer: Any) -> None:
        from mteb.models.model_meta import ModelMeta, ScoringFunction

        self._producer = producer
        self._known: dict[str, Any] = {}
        unknown: dict[str, Any] = {name: None for name, field in ModelMeta.model_fields.items() if field.is_required()}
        named = {"name": f"bebr/{producer.name}", "revision": producer.version, "framework": []}
        self.mteb_model_meta = ModelMeta(**{**unknown, **named, "similarity_fn_name": ScoringFunction.COSINE})

    def encode(self, inputs: Any, **_: Any) -> Any:
        texts = [text for batch in inputs for text in batch["text"]]
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._producer.embed(new), strict=True))
        return np.stack([self._known[text] for text in texts])

    def similarity(self, one: Any, other: Any) -> Any:
        return np.asarray(one) @ np.asarray(other).T  # of unit length, so cosines

    def similarity_pairwise(self, one: Any, other: Any) -> Any:
        return (np.asarray(one) * np.asarray(other)).sum(axis=1)


def scores(task: Any, model: Any) -> dict[str, float]:
    """What mteb's evaluation of ``model`` on ``task`` gives, of its own names those in SCORES."""
    import mteb

    result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    [of_split] = result.task_results[0].scores["test"]
    return {name: float(of_split[name]) for name in SCORES}


def measured(name: str, judged: Judged, encoder: Encoder, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """A row for exact search (bytes None), then one for each size."""
    task = task_of(name, judged)
    about = {"task": name, "documents": len(judged.documents), "queries": len(judged.grades)}
    rows = [{**about, "bytes": None, **scores(task, encoder)}]
    for size in sizes:
        rows.append({**about, "bytes": size, **scores(task, bebr_search(encoder, bytes_per_vector=size))})
    return rows


def missed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tasks whose main score by AIM_BYTES is more than AIM away from that of exact search."""
    exact = {row["task"]: row[SCORES[0]] for row in rows if row["bytes"] is None}
    at_aim = [row for row in rows if row["bytes"] == AIM_BYTES]
    return [row["task"] for row in at_aim if abs(row[SCORES[0]] - exact[row["task"]]) > AIM]


def table_of(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("task", "documents", "queries", "bytes", "nDCG@10", "less exact", "recall@100")
    exact = {row["task"]: row[SCORES[0]] for row in rows if row["bytes"] is None}
    for row in rows:
        gap = row[SCORES[0]] - exact[row["task"]]
        coded = row["bytes"] is not None
        facts = [row["task"], f"{row['documents']:,}", f"{row['queries']:,}", str(row["bytes"] if coded else "exact")]
        table.add_row(*facts, f"{row[SCORES[0]]:.4f}", f"{gap:+.4f}" if coded else "", f"{row[SCORES[1]]:.4f}")
    return table


_BUILT = {"wordnet": of_wordnet, "debian": of_debian}


def _judged(name: str) -> Judged:
    known, equals, folder = name.partition("=")
    if equals:
        return relevance.load(Path(folder))
    if known not in _BUILT:
        raise KeyError(f"task: got {known!r}, wanted one of {', '.join(_BUILT)}, or NAME=FOLDER")
    return _BUILT[known]()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.mteb_tasks``; 1 where the aim was missed, 2 where data is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mteb_tasks", description=__doc__.partition("\n")[0])
    parser.add_argument("tasks", nargs="*", default=["wordnet"], help=f"{', '.join(_BUILT)}, or NAME=FOLDER")
    parser.add_argument("--bytes", nargs="+", type=int, default=[52, 100, AIM_BYTES], help="of a document's code")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of a text that the encoder reads")
    parser.add_argument("--json", type=Path, help="keep the scores here")
    options = parser.parse_args(arguments)
    console: Console = output.console()
    rows: list[dict[str, Any]] = []
    encoder = Encoder(load("minilm", max_tokens=options.tokens))
    for one in options.tasks:
        try:
            judged = _judged(one)
        except (KeyError, MissingSource) as error:
            console.print(str(error.args[0]))
            return 2
        rows += measured(one.partition("=")[0], judged, encoder, options.bytes)
    console.print(table_of(rows))
    if options.json:
        output.save(options.json, machine.facts(0), rows, encoder=encoder.mteb_model_meta.revision)
    for task in missed(rows):
        console.print(f"{task}: {AIM_BYTES} bytes are more than {AIM} away from exact search")
    return 1 if missed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
