"""Do queries of a new producer find old codes? MiniLM (old) and bge-small (new) on Debian's package descriptions.

A query is a synopsis, its label the long description of the same package. Training sees the texts of other packages
only. Exit 1 where a promise is broken: new queries on old codes reach nine tenths of old queries on old codes, and the
new model on its own codes loses at most a point to training without the constraint.

python -m benchmarks.compatible
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

import bebr
from benchmarks import datasets, machine, output, sources

DOCUMENTS, QUERIES, TRAIN, DEPTH = 20_000, 4_000, 60_000, 10
SIZES = ((100, 100), (52, 100), (100, 52))  # bytes of old and new codes
LEAST_SHARE, MOST_LOSS = 0.9, 0.01

Floats = datasets.Floats
Ids = datasets.Ids


@dataclass(frozen=True)
class View:
    """One producer's vectors of the same texts: row i of ``queries`` belongs to row i of ``documents``."""

    queries: Floats
    documents: Floats
    train: Floats


@dataclass(frozen=True)
class Row:
    """Share of queries whose own description is first, and among the first ten."""

    what: str
    old_bytes: int
    new_bytes: int
    query: str
    r1: float
    r10: float


def split(texts: Sequence[str], pairs: Sequence[tuple[str, str]], seed: int = 0) -> tuple[Ids, Ids, Ids]:
    """Rows of ``texts``: queries [q], documents [n] (the first q of them the queries' own), training texts.

    A text that occurs in two pairs has two right answers, or would be on both sides: only its first pair counts.
    """
    at = {text: row for row, text in enumerate(texts)}
    seen: set[str] = set()
    chosen = []
    for pair in np.random.default_rng(seed).permutation(len(pairs)):
        synopsis, long = pairs[pair]
        if synopsis not in seen and long not in seen:
            seen |= {synopsis, long}
            chosen.append((at[synopsis], at[long]))
    rows = np.array(chosen)
    documents = min(DOCUMENTS, len(rows) // 2)
    return rows[: min(QUERIES, documents), 0], rows[:documents, 1], rows[documents:].ravel()[:TRAIN]


def found(ids: Ids) -> tuple[float, float]:
    """R@1 and R@10 of results [q, 10] where query i wants document i."""
    right = ids == np.arange(len(ids))[:, None]
    return float(right[:, 0].mean()), float(right.any(axis=1).mean())


def matrix(old: View, new: View, old_bytes: int, new_bytes: int) -> list[Row]:
    """Every combination of query model and code model at one pair of sizes."""
    old_model = bebr.train(old.train, bytes_per_vector=old_bytes)
    plain = bebr.train(new.train, bytes_per_vector=new_bytes)
    model = bebr.train(new.train, bytes_per_vector=new_bytes, compatible_with=old_model, old_vectors=old.train)
    indexes = {name: bebr.FlatIndex(bz) for name, bz in (("old", old_model), ("new", model), ("plain", plain))}
    indexes["old"].add(old.documents)
    indexes["new"].add(new.documents)
    indexes["plain"].add(new.documents)
    upgraded = bebr.FlatIndex(model)
    codes, ids = indexes["old"].codes()
    upgraded.add_codes(model.upgrade(codes, old_model), ids)
    odd, even = ids[ids % 2 == 1], ids[ids % 2 == 0]
    rows = []
    for query in ("float", "code"):
        on_old = indexes["old"].search(new.queries, DEPTH, query=query, binarizer=model)
        results = {
            "old -> old": indexes["old"].search(old.queries, DEPTH, query=query).ids,
            "new -> old": on_old.ids,
            "new -> new": indexes["new"].search(new.queries, DEPTH, query=query).ids,
            "new -> new, without": indexes["plain"].search(new.queries, DEPTH, query=query).ids,
            "new -> upgraded": upgraded.search(new.queries, DEPTH, query=query).ids,
        }
        half_old = indexes["old"].search(new.queries, DEPTH, query=query, binarizer=model, allow=odd)
        half_new = indexes["new"].search(new.queries, DEPTH, query=query, allow=even)
        slope, level = model.config["compatible"][old_model.digest]["calibration"][query]
        results["new -> half old, half new"] = merged(half_old, half_new)
        bare = bebr.Hits((half_old.scores - np.float32(level)) / np.float32(slope), half_old.ids)
        results["the same, scores as they come"] = merged(bare, half_new)
        rows += [Row(what, old_bytes, new_bytes, query, *found(ids)) for what, ids in results.items()]
    return rows


def merged(a: bebr.Hits, b: bebr.Hits) -> Ids:
    """The ids of the best scores of both."""
    scores, ids = np.hstack([a.scores, b.scores]), np.hstack([a.ids, b.ids])
    return np.take_along_axis(ids, np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH], axis=1)


def broken(rows: Sequence[Row]) -> list[str]:
    """The promises that ``rows`` do not keep, in words."""
    reached = {(r.old_bytes, r.new_bytes, r.query, r.what): r.r10 for r in rows}
    faults = []
    for sizes in dict.fromkeys((r.old_bytes, r.new_bytes, r.query) for r in rows):
        old, crossed = reached[(*sizes, "old -> old")], reached[(*sizes, "new -> old")]
        new, without = reached[(*sizes, "new -> new")], reached[(*sizes, "new -> new, without")]
        if crossed < LEAST_SHARE * old:
            faults.append(f"{sizes}: new -> old {crossed:.3f}, below {LEAST_SHARE} x old -> old {old:.3f}")
        if new < without - MOST_LOSS:
            faults.append(f"{sizes}: new -> new {new:.3f}, without the constraint {without:.3f}")
    return faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.compatible``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compatible", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="bytes of old and new codes, as 100:100,52:100")
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    console = output.console()
    try:
        texts = sources.debian()
        queries, documents, train = split(texts, sources.debian_pairs())
        views = []
        for producer in ("minilm", "bge"):
            vectors = datasets.embedded("debian", texts, max_tokens=64, producer=producer)
            views.append(View(vectors[queries], vectors[documents], vectors[train]))
    except sources.MissingSource as error:
        console.print(str(error.args[0]))
        return 1
    rows = measured(views[0], views[1], options.sizes)
    console.print(f"{len(documents)} documents, {len(queries)} queries, {len(train)} texts to train on")
    console.print(table(rows))
    faults = broken([row for row in rows if row.query != "exact"])
    console.print(*faults, sep="\n")
    if options.json:
        output.save(options.json, machine.facts(bebr.get_num_threads()), [asdict(row) for row in rows])
    return 1 if faults else 0


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    pairs = [part.split(":") for part in text.split(",")]
    return tuple((int(old), int(new)) for old, new in pairs)


def measured(old: View, new: View, sizes: Sequence[tuple[int, int]] = SIZES) -> list[Row]:
    """The floats themselves, then the matrix of each pair of sizes."""
    rows = []
    for what, view in (("floats, old -> old", old), ("floats, new -> new", new)):
        ids = datasets.exact(view.documents, view.queries, DEPTH, "cosine")
        rows.append(Row(what, 4 * old.documents.shape[1], 4 * new.documents.shape[1], "exact", *found(ids)))
    for old_bytes, new_bytes in sizes:
        rows += matrix(old, new, old_bytes, new_bytes)
    return rows


def table(rows: Sequence[Row]) -> Table:
    """Rows as they are printed."""
    made = Table("queries -> codes", "old bytes", "new bytes", "query", "R@1", "R@10")
    for row in rows:
        made.add_row(row.what, str(row.old_bytes), str(row.new_bytes), row.query, f"{row.r1:.3f}", f"{row.r10:.3f}")
    return made


if __name__ == "__main__":
    sys.exit(main())
