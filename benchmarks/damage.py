"""What does a damaged data folder answer? Damages one file of a copy at random (flipped bits, cuts, zeroed pages, added
bytes, a removed file), opens it, asks every collection for all it has, writes to it, opens it again and asks again.

python -m benchmarks.damage --count 2000 --seed 0

Counted are silent damages (a wrong answer without an error), crashes (death of the process, or any error but those that
the documentation names), and collections that do not serve although the damaged file is not theirs. The catalog is
shared by all: what its damages cost is counted apart.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import bebr
from bebr.collection.protocol import DatabaseLocked, Keep
from bebr.store.collection import Collection
from bebr.store.database import Database

DIM, PAGE = 32, 4096
FLAT_ROWS = 310  # files of more rows are in lists, or a graph: of one collection each
KINDS = ("flip", "flip", "cut", "zero", "extend", "remove")
DOCUMENTED = (bebr.CorruptFile, bebr.LimitExceeded, DatabaseLocked, OSError)
SHARES = {"catalog.db": 6, "catalog.db-wal": 6, "segments": 6, "catalog.versions": 3, "models": 2}  # others: 1
Rows = dict[int, tuple[int, dict[str, Any] | None]]  # id -> number of its vector, payload


def vectors(seed: int) -> np.ndarray:
    """float32[2000, DIM] with a falling spectrum."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((2000, DIM)) / np.sqrt(np.arange(1, DIM + 1))).astype(np.float32)


def build(path: Path, x: np.ndarray) -> dict[str, Rows]:
    """Writes the folder, leaving the log of the last writes as a killed process does; returns what is in it."""
    truth: dict[str, Rows] = {}
    db = Database(path, flat_rows=FLAT_ROWS)
    models = [bebr.train(x, widths=[32, 16], seed=0), bebr.train(x, widths=[32], metric="l2", seed=0)]
    for name, model in (("sealed", 0), ("journal", 0), ("mixed", 0), ("other", 1), ("late", 1), ("empty", 0)):
        if name == "late":  # what comes from here on is in the log only
            db.close()
            db = Database(path, flat_rows=FLAT_ROWS)
        keep: Keep = "float16" if name in ("mixed", "late") else None
        collection = db.create_collection(name, models[model], keep=keep, index="graph" if name == "mixed" else "auto")
        rows = truth[name] = {}

        def upsert(ids: range, first: int, collection: Collection = collection, rows: Rows = rows) -> None:
            payloads = [{"id": i, "from": first, "text": "x" * (i % 60)} if i % 4 else None for i in ids]
            collection.upsert(ids, x[first : first + len(ids)], payloads)
            rows.update((i, (first + n, payloads[n])) for n, i in enumerate(ids))

        if name == "empty":
            continue
        upsert(range(300), 0)
        if name in ("sealed", "mixed", "other"):
            collection.settle()
        if name in ("mixed", "other"):
            upsert(range(250, 350), 500)
            collection.settle()
            collection.delete(range(20, 40))
            for i in range(20, 40):
                del rows[i]
        if name != "sealed":
            for n in range(6):
                upsert(range(1000 + 10 * n, 1020 + 10 * n), 700 + 20 * n)
    db.collection("mixed").upsert([7], x[1999:], [{"last": True}])
    truth["mixed"][7] = 1999, {"last": True}
    return truth


def ask(db: Database, name: str, x: np.ndarray, ids: Sequence[int]) -> list[Any]:
    """Everything a collection holds, in a form that can be compared: its size, payloads of `ids`, and two searches."""
    collection = db.collection(name)
    hits = collection.search(x[:2], len(collection) + 3, with_payloads=True)
    some = collection.search(x[2:4], 5)
    found = [hits.scores.tolist(), hits.ids.tolist(), hits.payloads, some.scores.tolist(), some.ids.tolist()]
    return [len(collection), [row and row.payload for row in collection.get(ids)], *found]


@dataclass
class Expected:
    """What is right, before and after the writes of a trial."""

    rows: dict[str, list[int]]
    answers: dict[str, list[Any]]
    later: dict[str, list[Any]]


def write(db: Database, name: str, x: np.ndarray, ids: Sequence[int]) -> list[int]:
    """A delete and an upsert; returns the ids that are there then."""
    collection = db.collection(name)
    collection.delete(list(ids[:3]))
    collection.upsert(range(5000, 5030), x[1000:1030], [{"later": i} for i in range(30)])
    return [*ids[3:], *range(5000, 5030)]


def learn(path: Path, truth: dict[str, Rows], x: np.ndarray) -> Expected:
    """The answers of an undamaged copy, checked against the rows that were written."""
    rows = {name: sorted(content) for name, content in truth.items()}
    with Database(path) as db:
        answers = {name: ask(db, name, x, ids) for name, ids in rows.items()}
        after = {name: write(db, name, x, ids) for name, ids in rows.items()}
    for name, content in truth.items():
        size, payloads, _, ids = answers[name][:4]
        assert size == len(content) and payloads == [content[i][1] for i in rows[name]]
        assert sorted(i for i in ids[0] if i >= 0) == rows[name]
    with Database(path) as db:
        return Expected(rows, answers, {name: ask(db, name, x, ids) for name, ids in after.items()})


def damage(path: Path, rng: np.random.Generator) -> tuple[Path, str]:
    """Damages one file below `path`; returns it and what was done."""
    files: dict[str, list[Path]] = {}
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        files.setdefault(kind_of(file.relative_to(path)), []).append(file)
    shares = np.array([SHARES.get(name, 1) for name in files], float)
    of_kind = files[str(rng.choice(list(files), p=shares / shares.sum()))]
    file, kind = of_kind[rng.integers(len(of_kind))], KINDS[rng.integers(len(KINDS))]
    data = bytearray(file.read_bytes())
    # Half of the places are near the beginning, where structure is.
    at = int(rng.integers(min(len(data), 512) if rng.random() < 0.5 else len(data))) if data else 0
    if kind == "flip" and data:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del data[at:]
    elif kind == "zero" and data:
        first = at // PAGE * PAGE
        data[first : first + PAGE] = bytes(len(data[first : first + PAGE]))
    elif kind == "extend":
        data += rng.bytes(int(rng.integers(1, 2 * PAGE)))
    file.unlink()
    if kind != "remove":
        file.write_bytes(data)
    return file.relative_to(path), f"{kind} at {at}"


@dataclass
class Trial:
    """What came of a damage: `faults` are silent damages and undocumented errors; `refused`, by collection, why."""

    silent: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    whole: str = ""


def attempt(path: Path, expected: Expected, x: np.ndarray) -> Trial:
    """Asks a damaged folder, writes to it, and asks again."""
    trial = Trial()
    guarded(trial, "", lambda: _ask_all(path, expected, x, trial))
    return trial


def guarded(trial: Trial, name: str, work: Callable[[], None]) -> None:
    """`work`, whose documented errors refuse the collection `name`, or the whole folder."""
    try:
        work()
    except DOCUMENTED as error:
        if name:
            trial.refused.setdefault(name, str(error))
        else:
            trial.whole = str(error)
    except Exception:
        trial.crashes.append(f"{name}: {traceback.format_exc()}")


def _ask_all(path: Path, expected: Expected, x: np.ndarray, trial: Trial) -> None:
    written: dict[str, list[int]] = {}

    def check(db: Database, name: str, ids: Sequence[int], right: list[Any]) -> None:
        try:
            found = ask(db, name, x, ids)
        except KeyError as error:
            trial.silent.append(f"{name}: {error}")
        else:
            if found != right:
                trial.silent.append(f"{name}: another answer")

    def write_later(name: str) -> None:
        written[name] = write(db, name, x, expected.rows[name])

    with Database(path) as db:
        if db.collections() != sorted(expected.rows):
            trial.silent.append(f"collections are {db.collections()}")
        for name, ids in expected.rows.items():
            guarded(trial, name, partial(check, db, name, ids, expected.answers[name]))
        for name in sorted(set(expected.rows) - set(trial.refused)):
            # One that cannot be written to any more serves nevertheless.
            unwritten = Trial()
            guarded(unwritten, name, partial(write_later, name))
            trial.crashes += unwritten.crashes
    with Database(path) as db:
        for name, ids in written.items():
            guarded(trial, name, partial(check, db, name, ids, expected.later[name]))


def in_child(work: Callable[[], Any], seconds: int) -> Any:
    """The result of `work` in a process of its own; the text of its end if it dies."""
    read, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(seconds)
        code = 1
        try:
            with os.fdopen(end, "w") as out:
                json.dump(work(), out)
            code = 0
        finally:
            os._exit(code)
    os.close(end)
    with os.fdopen(read) as answer:
        text = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(text) if status == 0 else f"the process ended with {status}"


@dataclass
class Report:
    """`files`: damages by kind of file. `costs`: how many collections a damage cost, by kind of file."""

    count: int = 0
    silent: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    bystanders: list[str] = field(default_factory=list)
    costs: dict[str, Counter[str]] = field(default_factory=dict)


def kind_of(file: Path) -> str:
    return file.parts[0]


def owners(file: Path, path: Path) -> set[str]:
    """The collections that a file belongs to; all for the catalog's."""
    with Database(path) as db:
        names = db.collections()
        if file.parts[0] == "models":
            return {name for name in names if db.collection(name).binarizer.digest == file.stem}
        if file.parts[0] == "segments":
            held = {name: [view.part.row for view in db.collection(name).snapshot.segments] for name in names}
            return {name for name, rows in held.items() if any(row and row.file == file.name for row in rows)}
    return set(names) if file.name in ("catalog.db", "catalog.db-wal") else set()


def run(count: int, seed: int, work: Path, progress: Callable[[int], None] = lambda _: None) -> Report:
    """`count` damages of a folder built from `seed`, in `work`."""
    x, whole = vectors(seed), work / "whole"

    def make() -> dict[str, Rows]:
        truth = build(whole, x)
        (work / "truth.json").write_text(json.dumps(truth))
        os._exit(77)  # without closing: a kill

    died = in_child(make, 600)
    assert died == "the process ended with 77", died
    loaded = json.loads((work / "truth.json").read_text())
    truth = {name: {int(i): tuple(row) for i, row in rows.items()} for name, rows in loaded.items()}
    files = sorted(file.relative_to(whole) for file in whole.rglob("*") if file.is_file())

    def look() -> Any:
        shutil.copytree(whole, work / "good")
        expected = learn(work / "good", truth, x)
        shutil.copytree(whole, work / "asked")
        return [vars(expected), {str(file): sorted(owners(file, work / "asked")) for file in files}]

    facts, owned = in_child(look, 600)
    expected = Expected(**facts)
    report = Report()
    copy = work / "copy"
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        file, what = damage(copy, rng)
        # Through JSON, as what is expected went.
        found = in_child(lambda: vars(attempt(copy, expected, x)), 600)
        _count(report, number, file, what, found, set(owned[str(file)]))
        progress(number + 1)
    return report


def _count(report: Report, number: int, file: Path, what: str, found: Any, owners: set[str]) -> None:
    label = f"{number}: {file}, {what}"
    report.count += 1
    costs = report.costs.setdefault(kind_of(file), Counter())
    if isinstance(found, str):
        report.crashes.append(f"{label}: {found}")
        costs["process"] += 1
        return
    trial = Trial(**found)
    report.silent += [f"{label}: {text}" for text in trial.silent]
    report.crashes += [f"{label}: {text}" for text in trial.crashes]
    if trial.whole:
        costs["all collections"] += 1
        if "catalog" not in trial.whole or not owners:
            report.bystanders.append(f"{label}: {trial.whole}")
    else:
        costs[f"{len(trial.refused)} collections"] += 1
        report.bystanders += [f"{label}: {n}: {t}" for n, t in trial.refused.items() if n not in owners]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as work:
        report = run(options.count, options.seed, Path(work), lambda n: print(f"\r{n}", end="", file=sys.stderr))
    print(file=sys.stderr)
    for title in ("silent", "crashes", "bystanders"):
        for line in getattr(report, title):
            print(f"{title}: {line}")
    for kind, costs in sorted(report.costs.items()):
        print(
            f"{kind:20} {sum(costs.values()):5} damages cost", ", ".join(f"{k}: {n}" for k, n in sorted(costs.items()))
        )
    print(
        f"{report.count} damages: {len(report.silent)} silent, {len(report.crashes)} crashes, "
        f"{len(report.bystanders)} collections refused that the file was not of"
    )
    return 1 if report.silent or report.crashes or report.bystanders else 0


if __name__ == "__main__":
    sys.exit(main())
