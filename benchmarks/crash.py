"""Kills a process that writes, again and again, and compares what is found on disk with what it was promised.

    python -m benchmarks.crash [--kills 1000] [--seed 0] [--folder data/crash] [--longest 0.4]

A process with four writers upserts and deletes rows with payloads, words and kept vectors, sets payloads, and streams
vectors of another producer; a fifth, with a collection of its own, truncates it too. The process seals, and in the
background merges, migrates from one model to another and back, begins migrations by streamed vectors, cuts over to
them, the old ones kept or not, rolls back, and takes snapshots, until kill -9 ends it at a random moment. Then the
folder is opened here and every row is compared: a write that was acknowledged must be there (else it is *lost*), what
it replaced or deleted must not (*risen*), and a write that was not acknowledged must be there as a whole or not at all
(*torn*). Codes, kept and streamed vectors, and words must be those of the rows, and every snapshot that is listed must
restore to whole rows (else it is *broken*). The next process goes on with the same folder. Aim: 0 of each.
"""

from __future__ import annotations

import argparse
import contextlib
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
from typing import Any

import numpy as np

import bebr
from bebr.store.database import Database

WRITERS = 5  # the last one has a collection of its own
IDS = 150  # of each writer
NOTES = 5
SEAL_ROWS = 60  # so low that seals and merges are going on at any moment
FLAT_ROWS = 100  # so that merges make lists
NAME, ALONE = "crash", "crash-alone"
PLACE = "snapshots"


State = dict[int, "tuple[int, int] | None"]
"""Of each id its row of the vectors and its note, which new payloads change; None: it is not there."""


@dataclass(frozen=True)
class Write:
    """An upsert of `rows` of the vectors, new payloads with a `note`, a truncate, vectors of another producer
    (`stream`), or else a delete."""

    ids: list[int]
    rows: list[int] | None = None
    note: int | None = None
    truncate: bool = False
    stream: bool = False

    def applied(self, state: State) -> State:
        """What it makes of a state: the ids that may change."""
        if self.truncate:
            return dict.fromkeys(state)
        if self.stream:
            return {}
        if self.note is not None:
            return {i: (found[0], self.note) for i in self.ids if (found := state.get(i)) is not None}
        return {i: None if self.rows is None else (self.rows[n], 0) for n, i in enumerate(self.ids)}


def writes(seed: str, writer: int, vectors: int) -> Iterator[Write]:
    """What a writer does in one life: always the same for the same seed, so that nothing but counts must be told."""
    chance = random.Random(f"{seed}/{writer}")
    while True:
        ids = chance.sample(range(writer, WRITERS * IDS, WRITERS), chance.choice([1, 1, 5, 20]))
        kind = chance.random()
        if kind < 0.2:
            yield Write(ids)
        elif kind < 0.35:
            yield Write(ids, note=chance.randrange(1, NOTES))
        elif kind < 0.5:
            yield Write(ids, stream=True)
        elif kind < 0.52 and writer == WRITERS - 1:
            yield Write(ids, truncate=True)
        else:
            yield Write(ids, [chance.randrange(vectors) for _ in ids])


def seen(vectors: np.ndarray, bz: bebr.Binarizer) -> np.ndarray:
    """Vectors as the producer of a model sees the items: another one has more dimensions."""
    width = vectors.shape[1]
    return vectors if bz.input_dim == width else np.hstack([vectors[:, ::-1], vectors[:, : bz.input_dim - width]])


def stream(docs: Any, rows: list[Any], vectors: np.ndarray) -> None:
    """The vectors of the producer that is being migrated to, or was migrated from."""
    model = docs.successor
    if model is not None and rows:
        some = seen(vectors[[row.payload["row"] for row in rows]], model)
        docs.migrate(model, vectors=[([row.id for row in rows], some)])


def perform(docs: Any, one: Write, vectors: np.ndarray) -> None:
    if one.truncate:
        docs.truncate()
    elif one.stream:
        with contextlib.suppress(ValueError):  # none are being streamed any more
            stream(docs, [row for row in docs.get(one.ids) if row is not None], vectors)
    elif one.note is not None:
        docs.set_payloads(one.ids, [{"note": one.note, "body": f"note{one.note}"}] * len(one.ids), merge=True)
    elif one.rows is None:
        docs.delete(one.ids)
    else:
        payloads = [{"row": row, "note": 0, "body": "note0"} for row in one.rows]
        docs.upsert(one.ids, seen(vectors[one.rows], docs.binarizer), payloads)


def live(folder: str, seed: str, vectors: np.ndarray, models: list[bebr.Binarizer]) -> None:
    """Writes without end, telling stdout of each write before and after it."""
    os.write(1, b"born %d\n" % os.getpid())
    db = Database(folder, seal_rows=SEAL_ROWS, flat_rows=FLAT_ROWS, verify=False)
    made = {
        name: db.create_collection(name, models[0], keep="float16", text="body")
        for name in (NAME, ALONE)
        if name not in db.collections()
    }
    docs, alone = (made.get(name) or db.collection(name) for name in (NAME, ALONE))
    os.write(1, b"open\n")

    turns = [threading.Lock() for _ in range(WRITERS)]  # none writes old vectors once a collection was cut over

    def write(writer: int) -> None:
        for one in writes(seed, writer, len(vectors)):
            with turns[writer]:
                os.write(1, b"%d sent\n" % writer)
                perform(alone if writer == WRITERS - 1 else docs, one, vectors)
                os.write(1, b"%d done\n" % writer)
            time.sleep(0)  # whoever waits for all turns gets this one

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
        for one in (docs, alone):
            kind = chance.random()
            with contextlib.suppress(ValueError):  # another migration goes on
                if kind < 0.25:
                    one.migrate(chance.choice(models[:2]))
                elif kind < 0.5:
                    one.migrate(models[2 if one.binarizer.input_dim == models[0].input_dim else 0], vectors=())
                elif kind < 0.75:
                    with contextlib.ExitStack() as held:
                        for turn in turns:
                            held.enter_context(turn)
                        if kind > 0.55 or one.stats().former:
                            stream(one, one.scroll(limit=WRITERS * IDS, behind=True), vectors)
                        one.rollback() if kind < 0.6 else one.cutover(keep_old=kind < 0.7)
            one.flush()


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


def found(folder: str, vectors: np.ndarray) -> State:
    """Row and note by id, as payloads say it; AssertionError unless codes, vectors and words say the same."""
    state: State = {}
    with bebr.open(folder) as db:
        for name in {NAME, ALONE} & set(db.collections()):
            state.update(_read(db.collection(name), vectors))
    return state


def _read(docs: Any, vectors: np.ndarray) -> State:
    most = WRITERS * IDS + 1
    q = seen(vectors[:1], docs.binarizer)
    hits = docs.search(q, most, with_payloads=True)
    assert hits.payloads is not None
    payloads = dict(zip(hits.ids[0].tolist(), hits.payloads[0], strict=True))
    payloads = {i: payload for i, payload in payloads.items() if payload is not None}
    rows = {i: payload["row"] for i, payload in payloads.items()}
    assert len(rows) == len(docs), f"{len(docs)} rows, {len(rows)} found"
    fresh = bebr.FlatIndex(docs.binarizer, rescore="float16")
    if rows:
        fresh.add(seen(vectors[list(rows.values())], docs.binarizer), list(rows))
    expected = fresh.search(q, most, rescore=most)
    np.testing.assert_array_equal(hits.ids, expected.ids)
    np.testing.assert_array_equal(hits.scores, expected.scores)
    by_code = docs.search(q, most, rescore=0, exact=True)
    assert set(by_code.ids[0].tolist()) == set(hits.ids[0].tolist()), "codes and kept vectors are of other rows"
    for note in range(NOTES):
        named = docs.search(None, most, text=f"note{note}").ids[0].tolist()
        assert set(named) - {-1} == {i for i, p in payloads.items() if p["note"] == note}, f"words of note {note}"
    successor = docs.snapshot.successor
    if successor is not None and len(successor.rows):
        ids = np.concatenate([view.part.index.ids[view.live_rows(0, view.part.rows)] for view in successor.rows.parts])
        assert set(ids.tolist()) <= set(rows), "vectors are streamed for rows that are not there"
        wanted = seen(vectors[[rows[i] for i in ids.tolist()]], successor.rows.bz)
        wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
        np.testing.assert_allclose(successor.rows.vectors(ids), wanted, atol=1e-3, err_msg="of another row")
        texts = [json.loads(text) for text in successor.rows.payload_texts(ids)]
        assert texts == [payloads[i] for i in ids.tolist()], "payloads of streamed rows"
    return {i: (payload["row"], payload["note"]) for i, payload in payloads.items()}


def run(kills: int, seed: int, folder: Path, vectors: np.ndarray, bz: bebr.Binarizer, longest: float = 0.4) -> Report:
    """Kills as many lives of at most `longest` seconds, one after the other, over the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", vectors)
    paths = [folder / f"model{number}.safetensors" for number in range(3)]
    bz.save(paths[0])
    bebr.untrained(bz.input_dim, 18, metric=bz.metric).save(paths[1])
    bebr.untrained(bz.input_dim + 8, 10, metric=bz.metric, seed=1).save(paths[2])
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
    before: State,
    now: State,
    vectors: int,
) -> None:
    sent, done = counts
    expected: State = {i: before.get(i) for i in range(writer, WRITERS * IDS, WRITERS)}
    source = writes(life, writer, vectors)
    for _ in range(done):
        expected.update(next(source).applied(expected))
    pending = next(source).applied(expected) if sent > done else {}
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
    parser.add_argument("--longest", type=float, default=0.4, help="seconds of a life; more on a busy machine")
    parser.add_argument("--folder", type=Path, help="default: a temporary one")
    options = parser.parse_args()
    vectors = np.random.default_rng(0).standard_normal((2000, 64), np.float32)
    bz = bebr.train(vectors, widths=[48, 16], metric="cosine", seed=0)
    logging.getLogger("bebr.store").setLevel(logging.ERROR)  # what a kill leaves is no news
    with tempfile.TemporaryDirectory() as temporary:
        where = options.folder or Path(temporary)
        report = run(options.kills, options.seed, where, vectors, bz, options.longest)
    print(json.dumps(asdict(report), indent=2))
    return 0 if report.good else 1


if __name__ == "__main__":
    raise SystemExit(main())
