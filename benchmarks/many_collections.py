"""Many small collections of one model: memory and time to open a folder of them.

    python -m benchmarks.many_collections --collections 1000 --rows 100

Half of the collections are sealed into a segment, half are in the journal. A process of its own opens every one of
them, asks each a question, and says what that took. Aims at 1,000 collections: all open within 5 s, less than 1 MiB
each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import bebr
from bebr.store.database import Database
from benchmarks.memory import status

DIM, BYTES = 384, 52
AIM_SECONDS, AIM_MIB = 5.0, 1.0


@dataclass(frozen=True)
class Opened:
    """`seconds` to open the folder and all collections, `asked` to search each once; memory and disk a collection."""

    collections: int
    rows: int
    seconds: float
    asked: float
    memory_mib: float
    disk_mib: float


def build(path: Path, collections: int, rows: int) -> None:
    """`collections` of `rows` each, with payloads; every second one sealed."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((4000, DIM)) / np.sqrt(np.arange(1, DIM + 1))).astype(np.float32)
    bz = bebr.train(x, bytes_per_vector=BYTES, seed=0)
    with Database(path) as db:
        for n in range(collections):
            collection = db.create_collection(f"c{n:06}", bz)
            first = int(rng.integers(len(x) - rows))
            collection.upsert(range(rows), x[first : first + rows], [{"n": i} for i in range(rows)])
            if n % 2:
                collection.settle()


def opened(path: Path) -> Opened:
    """Opens everything in this process."""
    q = np.ones((1, DIM), np.float32)
    with Database(path) as db:  # what the first search of a process takes is not of a collection
        db.collection(db.collections()[0]).search(q, 3)
    before, start = status("VmRSS"), time.perf_counter()
    with Database(path) as db:
        names = db.collections()
        rows = [len(db.collection(name)) for name in names]
        seconds = time.perf_counter() - start
        for name in names:
            db.collection(name).search(q, 3)
        asked = time.perf_counter() - start - seconds
        taken = (status("VmRSS") - before) / len(names) / 2**20
    disk = sum(file.stat().st_blocks * 512 for file in path.rglob("*")) / len(names) / 2**20
    return Opened(len(names), max(rows), seconds, asked, taken, disk)


def measure(collections: int, rows: int) -> Opened:
    """In a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), collections, rows)
        command = [sys.executable, "-m", "benchmarks.many_collections", "--opened", folder]
        return Opened(**json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collections", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--opened", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.opened is not None:
        print(json.dumps(asdict(opened(options.opened))))
        return 0
    found = measure(options.collections, options.rows)
    print(
        f"{found.collections} collections of {found.rows} rows: open in {found.seconds:.2f} s, a search of each in "
        f"{found.asked:.2f} s, {found.memory_mib:.3f} MiB of memory and {found.disk_mib:.3f} MiB of disk each"
    )
    return 0 if found.seconds < AIM_SECONDS and found.memory_mib < AIM_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
