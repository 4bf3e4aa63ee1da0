"""What a call costs a server: CPU time and calls a second, with the native front and without it, in turns.

    python -m benchmarks.calls [--rows 2000] [--rounds 3] [--seconds 3] > calls.json

A light client over HTTP/2 (benchmarks/call_load.cpp) asks for one query at a time, 1, 8 and 64 calls outstanding. CPU
time is the server process's alone, and firm on a busy machine too; calls a second are not. "embedded" is a search of
the same collection in this process, one query, one thread.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time

import numpy as np

import bebr
from bebr.collection.protocol import Keep
from benchmarks import servers
from benchmarks.kernels import built

OUTSTANDING = (1, 8, 64)
NAME = "docs"
DIM = 384


def collection(path: str, rows: int, keep: Keep) -> float:
    """Makes it; µs of a search in this process."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, DIM), np.float32) / np.sqrt(np.arange(1, DIM + 1, dtype=np.float32))
    bz = bebr.train(x[:20_000], bytes_per_vector=52, metric="cosine", seed=0)
    bebr.set_num_threads(1)
    with bebr.open(path) as db:
        made = db.create_collection(NAME, bz, keep=keep, retrain=False)
        made.upsert(range(rows), x)
        made.settle()
        times = []
        for i in range(2000):
            begin = time.perf_counter()
            made.search(x[i % rows], 10)
            times.append(time.perf_counter() - begin)
    return float(np.median(times) * 1e6)


def measured(path: str, front: bool, threads: int, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    options = f"port=0, threads={threads}, front={front}"
    found = {}
    with servers.started("-c", f"from bebr.serve import serve; serve({path!r}, {options})") as (target, pid):
        host, port = target.rsplit(":", 1)
        with bebr.connect(target) as client:
            client.collection(NAME).search(np.ones(DIM, np.float32), 10)  # it is open then
        for outstanding in OUTSTANDING:
            command = [built("bebr_call_load"), host, port, NAME, DIM, outstanding, arguments.connections]
            command = [str(part) for part in [*command, arguments.seconds, pid]]
            line = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found[str(outstanding)] = json.loads(line)
            print(f"front {front}, {outstanding}: {line.strip()}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--keep", choices=["float16", "int8"])
    parser.add_argument("--threads", type=int, default=1, help="of a kernel call")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    rounds: dict[str, list[dict[str, dict[str, float]]]] = {"front": [], "python": []}
    with tempfile.TemporaryDirectory() as path:
        embedded = collection(path, arguments.rows, arguments.keep)
        for _ in range(arguments.rounds):
            for name, all_ in rounds.items():
                all_.append(measured(path, name == "front", arguments.threads, arguments))
    medians = {
        name: {
            outstanding: {figure: float(np.median([one[outstanding][figure] for one in all_])) for figure in figures}
            for outstanding, figures in all_[0].items()
        }
        for name, all_ in rounds.items()
    }
    print(json.dumps({**vars(arguments), "info": bebr.info(), "embedded_us": embedded, "load": medians}, indent=1))


if __name__ == "__main__":
    main()
