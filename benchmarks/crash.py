"""Kills a process that writes, again and again, and compares what is found on disk with what it was promised.

    python -m benchmarks.crash [--kills 1000] [--seed 0] [--folder data/crash]

A process with four writers upserts and deletes rows with payloads and kept vectors, seals, and in the background
merges, migrates from one model to another and back, and takes snapshots, until kill -9 ends it at a random moment.
Then the folder is opened here and every row is compared: a write that was acknowledged must be there (else it is
*lost*), what it replaced or deleted must not (*risen*), and a write that was not acknowledged must be there as a whole
or not at all (*torn*). Every snapshot that is listed must restore to whole rows (else it is *broken*). The next process
goes on with the same folder. Aim: 0 of each.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import bebr
from bebr.store.database import Database

WRITERS = 4
IDS = 150  # of each writer
SEAL_ROWS = 60  # so low that seals and merges are going on at any moment
NAME = "crash"
PLACE = "snapshots"


@dataclass(frozen=True)
class Write:
    """A delete where `rows` is None, else an upsert of these rows of the vectors."""

    ids: list[int]
    rows: list[int] | None

    def state(self) -> dict[int, int | None]:
        return {i: None if self.rows is None else self.rows[n] for n, i in enumerate(self.ids)}


def writes(seed: str, writer: int, vectors: int) -> Iterator[Write]:
    """What a writer does in one life: always the same for the same seed, so that nothing but counts must be told."""
    chance = random.Random(f"{seed}/{writer}")
    while True:
        ids = chance.sample(range(writer, WRITERS * IDS, WRITERS), chance.choice([1, 1, 5, 20]))
        yield Write(ids, None if chance.random() < 0.25 else [chance.randrange(vectors) for _ in ids])


def live(folder: str, seed: str, vectors: np.ndarray, models: list[bebr.Binarizer]) -> None:
    """Writes without end, telling stdout of each write before and after it."""
    os.write(1, b"born %d\n" % os.getpid())
    db = Database(folder, seal_rows=SEAL_ROWS, verify=False)
    docs = db.collection(NAME) if NAME in db.collections() else db.create_collection(NAME, models[0], keep="float16")
    os.write(1, b"open\n")

    def write(writer: int) -> None:
        for one in writes(seed, writer, len(vectors)):
            os.write(1, b"%d sent\n" % writer)
            if one.rows is None:
                docs.delete(one.ids)
            else:
                docs.upsert(one.ids, vectors[one.rows], [{"row": row} for row in one.rows])
            os.write(1, b"%d done\n" % writer)

    for writer in range(WRITERS):
        threading.Thread(target=write, args=[writer], daemon=True).start()

    def copy() -> None:
        pauses = random.Random(f"{seed}/copy")
        while True:
            time.sleep(pauses.uniform(0, 0.3))
            db.snapshot(Path(folder).with_name(PLACE))

    threading.Thread(target=copy, daemon=True).start()
    chance = random.Random(seed)
    while True:
        time.sleep(chance.uniform(0, 0.2))
        if chance.random() < 0.5:
            docs.migrate(chance.choice(models))
        docs.flush()


def nurse(vectors_path: str, *model_paths: str) -> None:
    """Forks a life for each line of stdin, since starting Python takes longer than a life; this process itself has no
    threads."""
    vectors, models = np.load(vectors_path), [bebr.Binarizer.load(path) for path in model_paths]
    for line in sys.stdin:
        folder, seed = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                live(folder, seed, vectors, models)
            finally:
                os._exit(1)
        os.waitpid(pid, 0)
        os.write(1, b"dead\n")


@dataclass
class Report:
    kills: int = 0
    writes: int = 0
    lost: int = 0
    risen: int = 0
    torn: int = 0
    snapshots: int = 0
    broken: int = 0
    seconds: float = 0.0
    examples: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.risen or self.torn or self.broken)


def found(folder: str, vectors: np.ndarray) -> dict[int, int]:
    """Row by id, as payloads say it; AssertionError unless codes and kept vectors say the same."""
    with bebr.open(folder) as db:
        if NAME not in db.collections():
            return {}
        docs = db.collection(NAME)
        most = WRITERS * IDS + 1
        hits = docs.search(vectors[:1], most, with_payloads=True)
        assert hits.payloads is not None
        payloads = zip(hits.ids[0].tolist(), hits.payloads[0], strict=True)
        rows = {i: payload["row"] for i, payload in payloads if payload is not None}
        assert len(rows) == len(docs), f"{len(docs)} rows, {len(rows)} found"
        fresh = bebr.FlatIndex(docs.binarizer, rescore="float16")
        if rows:
            fresh.add(vectors[list(rows.values())], list(rows))
        expected = fresh.search(vectors[:1], most, rescore=most)
        np.testing.assert_array_equal(hits.ids, expected.ids)
        np.testing.assert_array_equal(hits.scores, expected.scores)
        by_code = docs.search(vectors[:1], most, rescore=0, exact=True)
        assert set(by_code.ids[0].tolist()) == set(hits.ids[0].tolist()), "codes and kept vectors are of other rows"
    return rows


def run(kills: int, seed: int, folder: Path, vectors: np.ndarray, bz: bebr.Binarizer, longest: float = 0.4) -> Report:
    """Kills as many lives of at most `longest` seconds, one after the other, over the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", vectors)
    paths = [folder / "model.safetensors", folder / "other.safetensors"]
    bz.save(paths[0])
    bebr.untrained(bz.input_dim, 18, metric=bz.metric).save(paths[1])
    report, chance, start = Report(), random.Random(seed), time.perf_counter()
    data = str(folder / "data")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks.crash",
        "--nurse",
        folder / "vectors.npy",
        *paths,
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        assert process.stdin is not None and process.stdout is not None
        state = found(data, vectors) if (folder / "data").exists() else {}
        for life in range(kills):
            name = f"{seed}/{life}"
            print(json.dumps([data, name]), file=process.stdin, flush=True)
            counts = {"sent": [0] * WRITERS, "done": [0] * WRITERS}
            pid = int(process.stdout.readline().split()[1])
            early = chance.random() < 0.1  # while it opens the folder
            if not early:
                process.stdout.readline()
            timer = threading.Timer(chance.uniform(0, 0.05 if early else longest), os.kill, [pid, signal.SIGKILL])
            timer.start()
            while (line := process.stdout.readline()) != "dead\n":
                if line != "open\n":
                    number, what = line.split()
                    counts[what][int(number)] += 1
            timer.join()
            sent, done = counts["sent"], counts["done"]
            now = found(data, vectors)
            for writer in range(WRITERS):
                _judge(report, name, writer, (sent[writer], done[writer]), state, now, len(vectors))
            _restore(report, name, folder, vectors)
            report.kills += 1
            report.writes += sum(done)
            state = now
        process.stdin.close()
    report.seconds = time.perf_counter() - start
    return report


def _restore(report: Report, life: str, folder: Path, vectors: np.ndarray) -> None:
    """Restores and reads every snapshot, and forgets all but the newest, which the next life must leave as it is."""
    listed = bebr.snapshots(folder / PLACE)
    for info in listed:
        report.snapshots += 1
        with tempfile.TemporaryDirectory(dir=folder) as back:
            try:
                bebr.restore(folder / PLACE, back, snapshot=info.name)
                found(back, vectors)
            except (bebr.CorruptFile, AssertionError) as error:
                report.broken += 1
                report.examples.append(f"life {life}, snapshot {info.name}: {error}")
    for info in listed[:-1]:
        (folder / PLACE / "snapshots" / f"{info.name}.json").unlink()


def _judge(
    report: Report,
    life: str,
    writer: int,
    counts: tuple[int, int],
    before: dict[int, int],
    now: dict[int, int],
    vectors: int,
) -> None:
    sent, done = counts
    expected: dict[int, int | None] = {i: before.get(i) for i in range(writer, WRITERS * IDS, WRITERS)}
    source = writes(life, writer, vectors)
    for _ in range(done):
        expected.update(next(source).state())
    pending = next(source).state() if sent > done else {}
    changed = {i for i in pending if pending[i] != expected[i] and now.get(i) == pending[i]}
    could = {i for i in pending if pending[i] != expected[i]}
    if changed and changed != could:
        report.torn += 1
        report.examples.append(f"life {life}, writer {writer}: of {sorted(could)} only {sorted(changed)} are written")
    for i, row in expected.items():
        if i in changed or now.get(i) == row:
            continue
        if row is None:
            report.risen += 1
        else:
            report.lost += 1
        report.examples.append(f"life {life}, id {i}: row {now.get(i)}, want {row}")


def main() -> int:
    if sys.argv[1:2] == ["--nurse"]:
        nurse(*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="default: a temporary one")
    options = parser.parse_args()
    vectors = np.random.default_rng(0).standard_normal((2000, 64), np.float32)
    bz = bebr.train(vectors, widths=[48, 16], metric="cosine", seed=0)
    logging.getLogger("bebr.store").setLevel(logging.ERROR)  # what a kill leaves is no news
    with tempfile.TemporaryDirectory() as temporary:
        report = run(options.kills, options.seed, options.folder or Path(temporary), vectors, bz)
    print(json.dumps(asdict(report), indent=2))
    return 0 if report.good else 1


if __name__ == "__main__":
    raise SystemExit(main())
