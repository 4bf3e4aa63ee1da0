# SPDX-License-Identifier: Apache-2.0
"""VectorDBBench against a bebr server, on rows that are made here: all rows, and those of a label (10 and 1 %).

    bench/bin/python -m benchmarks.vectordb_bench.run [--rows 20000] [--dim 128] [--seconds 5] [--clients 1 8]

in an environment that has vectordb-bench 2.0 and bebr (README.md beside this file). It registers the client, starts a
server, and runs the project's own runner: load, optimize, serial and concurrent searches. Every client, and every step
of a case, is a process that imports the project: on a busy machine that takes longer than the searches. Exit 1 where a
case fails or its recall is below .9.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.vectordb_bench import register

LABELS = {"label_10p": 0.1, "label_1p": 0.01}
RECALL, K, QUERIES = 0.9, 10, 200
# Seconds until all clients of a case are there: each is a process that imports the project, for seconds of CPU time.
_PATIENCE = 1800


def write(folder: Path, rows: int, dim: int) -> None:
    """Clustered rows, a label of each, queries, and the nearest rows of each query, as the project reads them."""
    pa: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    rng = np.random.default_rng(0)
    middles = rng.standard_normal((256, dim))
    x, queries = (
        (middles[rng.integers(0, 256, n)] + 0.7 * rng.standard_normal((n, dim))).astype(np.float32)
        for n in (rows, QUERIES)
    )
    of = rng.random(rows)
    labels = np.where(of < 0.1, "label_10p", np.where(of < 0.11, "label_1p", "other"))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    scores = queries / np.linalg.norm(queries, axis=1, keepdims=True) @ unit.T

    def save(name: str, **columns: Any) -> None:
        parquet.write_table(pa.table(columns), folder / f"{name}.parquet")

    def nearest(name: str, among: Any) -> None:
        order = np.argsort(-np.where(among, scores, -np.inf), axis=1, kind="stable")[:, :100]
        save(name, id=np.arange(QUERIES), neighbors_id=order.tolist())

    save("train", id=np.arange(rows), emb=list(x))
    save("test", id=np.arange(QUERIES), emb=list(queries))
    save("scalar_labels", id=np.arange(rows), labels=labels)
    nearest("neighbors", np.ones(rows, bool))
    for label in LABELS:
        nearest(f"neighbors_labels_{label}", labels == label)


def task(target: str, options: argparse.Namespace, label: str | None) -> Any:
    """A case of the project: it loads, and searches by one client and by several."""
    models: Any = importlib.import_module("vectordb_bench.models")
    cases: Any = importlib.import_module("vectordb_bench.backend.cases")
    clients: Any = importlib.import_module("vectordb_bench.backend.clients")
    config: Any = importlib.import_module("vectordb_bench.backend.clients.bebr.config")
    data = {"name": "made", "dir": "here", "size": options.rows, "dim": options.dim, "metric_type": "COSINE"}
    custom: dict[str, Any] = {"name": label or "all rows", "description": "", "load_timeout": 3600}
    custom |= {"optimize_timeout": 3600, "dataset_config": data}
    if label is not None:
        custom |= {"use_filter": True, "label_percentage": LABELS[label]}
    searches = models.ConcurrencySearchConfig(
        concurrency_duration=options.seconds, num_concurrency=options.clients, concurrency_timeout=_PATIENCE
    )
    case = models.CaseConfig(
        case_id=cases.CaseType.PerformanceCustomDataset, k=K, concurrency_search_config=searches, custom_case=custom
    )
    stages = [models.TaskStage[name] for name in ("DROP_OLD", "LOAD", "SEARCH_SERIAL", "SEARCH_CONCURRENT")]
    server = config.BebrConfig(db_label="here", target=target)
    about = {"db_config": server, "db_case_config": config.BebrCaseConfig(), "case_config": case, "stages": stages}
    return models.TaskConfig(db=clients.DB.Bebr, **about)


def finished(tasks: list[Any]) -> None:
    """Runs the cases in the process that the project starts for them. ``RuntimeError`` where it ends early."""
    interface: Any = importlib.import_module("vectordb_bench.interface")
    runner = interface.benchmark_runner
    runner.run(tasks, "bebr")
    if interface.global_result_future is not None:
        interface.global_result_future.result()  # `has_running` would wait for ever for a process that died
    runner.has_running()
    if runner.latest_error:
        raise RuntimeError(f"VectorDBBench says {runner.latest_error}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--seconds", type=int, default=5, help="of each number of clients")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ |= {"DATASET_LOCAL_DIR": str(place / "data"), "RESULTS_LOCAL_DIR": str(place / "results")}
        os.environ["LOG_FILE"] = str(place / "log")
        (place / "data" / "made" / "here").mkdir(parents=True)
        write(place / "data" / "made" / "here", options.rows, options.dim)
        root = importlib.util.find_spec("vectordb_bench")
        assert root is not None and root.origin is not None
        register.into(Path(root.origin).parent)
        script = f"from bebr.serve import serve; serve({str(place / 'served')!r}, port=0)"
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                target = server.stdout.readline().split()[-1]
                finished([task(target, options, label) for label in (None, *LABELS)])
            finally:
                server.terminate()
        (found,) = [json.loads(path.read_text()) for path in (place / "results").rglob("*.json")]
    good = len(found["results"]) == 1 + len(LABELS)
    for one in found["results"]:
        name, figures = one["task_config"]["case_config"]["custom_case"]["name"], one["metrics"]
        shown = {key: figures[key] for key in ("recall", "qps", "serial_latency_p99", "load_duration")}
        good = good and figures["recall"] >= RECALL
        print(f"{name}: {one['label']} {shown}")
    print("held" if good else f"missed: want {1 + len(LABELS)} cases with a recall@{K} of {RECALL}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
