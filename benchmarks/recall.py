"""Recall per byte: bebr's two ways of asking against every other code there is, on every data set; exit 1 on a miss.

python -m benchmarks.recall                         everything (hours; what is in the file already is not run again)
python -m benchmarks.recall --only peers --sets french --peers 'RaBitQ|LVQ'
python -m benchmarks.recall --only report --markdown recall.md --picture recall.png
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import bebr
from bebr.files import replacing
from bebr.peers import Peer, flat, missing, prepared
from benchmarks import datasets, machine, output, recall_report

SETS = ("wordnet", "debian", "debian-bge", "glove", "french", "openclipart", "fashion")
BUDGETS = (24, 48, 52, 96, 100, 192, 196, 384)
K = 10
ROWS = 100_000  # of glove's 400,000: a fixed sample, so that every peer has time for it
LARGE = ("glove",)
# Codes whose training takes more than a minute on all of a training sample.
HEAVY, HEAVY_ROWS = re.compile("OPQ|LSQ|scann"), 20_000
# The fs codes are RaBitQ's, scanned in another layout.
SKIPPED = re.compile("RaBitQfs")

__all__ = ["BUDGETS", "SETS", "Measurement", "main", "measured", "ours", "peers"]


@dataclass(frozen=True)
class Measurement:
    """Recall@10 of one code on one set, rows as good as the tenth included.

    data           checksum of metric, base and queries: what the figure is a figure of
    query          "float" (ADC) or "code" (SDC) of bebr, "" of a peer
    budget         bytes asked for, 0 for a peer, whose bytes are its own
    size           bytes of a vector, factors included
    trained_on     rows that it learned from
    version        of the library; of bebr, the commit
    """

    dataset: str
    data: str
    system: str
    name: str
    query: str
    budget: int
    size: float
    recall: float
    training_free: bool
    trained_on: int
    seconds: float
    version: str


def reduced(data: datasets.Dataset) -> datasets.Dataset:
    """A fixed sample of a large set's base, and of that its training sample; other sets as they are."""
    if data.name not in LARGE or len(data.base) <= ROWS:
        return data
    generator = np.random.default_rng(datasets.SEED)
    base = data.base[np.sort(generator.permutation(len(data.base))[:ROWS])]
    sample = np.sort(generator.permutation(ROWS)[: datasets.TRAIN])
    return replace(data, base=base, train=base[sample])


def fingerprint(data: datasets.Dataset) -> str:
    """Checksum of what is searched and asked; the first 16 digits."""
    digest = hashlib.sha256(data.metric.encode())
    for part in (data.base, data.queries):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()[:16]


def ours(data: datasets.Dataset, key: str, budget: int, commit: str) -> list[Measurement]:
    """Train once, ask both ways, by default settings. ValueError where the set does not allow the budget."""
    start = time.perf_counter()
    model = bebr.train(data.train, bytes_per_vector=budget, metric=data.metric, seed=0)
    index = bebr.FlatIndex(model)
    index.add(data.base)
    found = []
    for query in ("float", "code"):
        hit = data.recall(index.search(data.queries, K, query=query).ids)
        found.append((query, hit))
    spent, widths = time.perf_counter() - start, "+".join(map(str, model.widths))
    size, rows = model.bytes_per_vector, len(data.train)
    return [
        Measurement(data.name, key, "bebr", widths, query, budget, size, hit, False, rows, spent, commit)
        for query, hit in found
    ]


def peers(data: datasets.Dataset, key: str, chosen: re.Pattern[str], done: set[tuple[str, ...]]) -> Iterator[Peer]:
    """The peers to measure: those called for, without what ``done`` holds and what no budget can be compared with."""
    for peer in flat(data.base.shape[1], data.metric):
        if not chosen.search(peer.name) or SKIPPED.search(peer.name) or peer.bytes_per_vector > 1.25 * max(BUDGETS):
            continue
        if (key, peer.name, peer.version) not in done:
            yield peer


def measured(data: datasets.Dataset, key: str, peer: Peer, threads: int) -> Measurement:
    """Fit a peer on the training sample (the heavy ones on a part of it), fill it, and ask it."""
    rows = data.train
    if HEAVY.search(peer.name) and len(rows) > HEAVY_ROWS:
        rows = rows[np.sort(np.random.default_rng(datasets.SEED).permutation(len(rows))[:HEAVY_ROWS])]
    start = time.perf_counter()
    peer.fit(prepared(rows, data.metric))
    peer.add(prepared(data.base, data.metric))
    hit = data.recall(peer.search(prepared(data.queries, data.metric), K, threads))
    return Measurement(
        dataset=data.name,
        data=key,
        system=peer.library,
        name=peer.name,
        query="",
        budget=0,
        size=peer.bytes_per_vector,
        recall=hit,
        training_free=peer.training_free,
        trained_on=len(rows),
        seconds=time.perf_counter() - start,
        version=peer.version,
    )


class Record:
    """The JSON file: every measurement so far, saved after each, so that a run that is cut off loses one at most.

    It is read again before each change, so that two runs, of different sets say, can share it.
    """

    def __init__(self, path: Path, threads: int, fresh: bool) -> None:
        self.path = path
        self.rows: list[Measurement] = []
        self.notes: dict[str, str] = {}
        self._machine = machine.facts(threads)
        self.commit = str(self._machine["commit"])
        if fresh:
            self._save()
        self._read()

    def _read(self) -> None:
        if self.path.is_file():
            known = json.loads(self.path.read_text())
            self.rows = [Measurement(**row) for row in known["rows"]]
            self.notes = known["notes"]

    def add(self, rows: Sequence[Measurement]) -> None:
        """Put in; a figure of the same code, set and budget goes out."""
        self._read()
        new = {_place(row) for row in rows}
        self.rows = [row for row in self.rows if _place(row) not in new] + list(rows)
        self._save()

    def note(self, about: str, text: str) -> None:
        self._read()
        self.notes[about] = text
        self._save()

    def drop(self, dataset: str, key: str) -> None:
        """Forget figures of a set whose vectors have changed."""
        self._read()
        self.rows = [row for row in self.rows if row.dataset != dataset or row.data == key]
        self._save()

    def done(self) -> set[tuple[str, ...]]:
        return {(row.data, row.name, row.version) for row in self.rows if row.system != "bebr"}

    def has_ours(self, key: str, budget: int) -> bool:
        """Whether this very commit, without changes, has measured it."""
        if self.commit.endswith("-dirty"):
            return False
        mine = [row for row in self.rows if (row.system, row.data, row.budget) == ("bebr", key, budget)]
        return any(row.version == self.commit for row in mine)

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {"machine": self._machine, "k": K, "notes": self.notes}
        document["rows"] = [asdict(row) for row in self.rows]
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n")


def _place(row: Measurement) -> tuple[object, ...]:
    """What there is one figure of: bebr's widths may change from one version to the next."""
    return (row.dataset, row.system, row.query, row.budget, "" if row.system == "bebr" else row.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.recall``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recall", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", default=",".join(SETS), help="names, with commas between (default: all seven)")
    parser.add_argument("--budgets", default=",".join(map(str, BUDGETS)), help="bytes a vector, with commas between")
    parser.add_argument("--peers", default="", metavar="REGEX", help="measure those whose names it is found in")
    parser.add_argument("--only", choices=("peers", "ours", "report"), help="one half of the work, or none")
    parser.add_argument("--fresh", action="store_true", help="forget all that the file holds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="the file of figures (default: recall.json among the data sets)")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    parser.add_argument("--picture", type=Path, help="draw recall against bytes here: .png, .svg or .pdf")
    options = parser.parse_args(arguments)
    names, budgets = options.sets.split(","), [int(text) for text in options.budgets.split(",")]
    record = Record(options.json or datasets.cache() / "recall.json", options.threads, options.fresh)
    console = output.console()
    for line in missing():
        console.print(line)
    failed = False
    if options.only != "report":
        for name in names:
            data = datasets.load_or_say(name, console.print)
            if data is None:
                failed = True
                continue
            with machine.pinned(options.threads):
                _run(reduced(data), budgets, options, record, console.print)
    report = recall_report.report(record.rows, names, budgets)
    text = recall_report.markdown(report, record.notes)
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    if options.picture:
        recall_report.draw(options.picture, [row for row in record.rows if row.dataset in names], names)
    return int(failed or any(cell.missed for cell in report))


def _run(data: datasets.Dataset, budgets: Sequence[int], options: Any, record: Record, say: Any) -> None:
    key = fingerprint(data)
    record.drop(data.name, key)
    about = (
        f"{len(data.base):,} × {data.base.shape[1]}, {data.metric}, {len(data.queries):,} queries, "
        f"{len(data.train):,} rows to train on" + (f"; a fixed {ROWS:,} of the rows" if data.name in LARGE else "")
    )
    record.note(data.name, about)
    if options.only != "ours":
        for peer in peers(data, key, re.compile(options.peers), record.done()):
            try:
                found = measured(data, key, peer, options.threads)
            except (RuntimeError, ValueError, NotImplementedError) as error:  # too few rows, a metric it lacks
                record.note(f"{data.name}, {peer.name}", f"left out: {' '.join(str(error).split())[:200]}")
                say(f"{data.name}: {peer.name} is left out: {error}")
                continue
            record.add([found])
            say(f"{data.name}: {found.name}, {found.size:g} bytes: {found.recall:.4f} ({found.seconds:.0f} s)")
    if options.only != "peers":
        for budget in budgets:
            if record.has_ours(key, budget):
                continue
            try:
                both = ours(data, key, budget, record.commit)
            except ValueError as error:
                record.note(f"{data.name}, {budget} bytes", f"left out: {error}")
                say(f"{data.name}: {budget} bytes are left out: {error}")
                continue
            record.add(both)
            adc, sdc = both
            say(
                f"{data.name}: bebr, {adc.size:g} bytes: ADC {adc.recall:.4f}, SDC {sdc.recall:.4f} "
                f"({adc.seconds:.0f} s)"
            )


if __name__ == "__main__":
    sys.exit(main())
