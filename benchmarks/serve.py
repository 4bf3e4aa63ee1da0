"""What coalescing gives, and what a call costs: 64 clients that ask one query at a time, and one client alone.

    python -m benchmarks.serve [--vectors x.npy] [--rows 1000000] [--seconds 5] > serve.json

In one run, over the same collection: the server with coalescing, the server without it (every query a kernel call of
its own, with as many threads per call as given and with one, whichever is faster), and the same collection searched in
this process. The variants take turns (--rounds), so that a machine that grows busier does so for all. Clients share the
machine with the server; their cost is in every figure. Answers over gRPC are compared with local ones, bit for bit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator

import grpc
import numpy as np

import bebr
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc
from benchmarks import servers

K = 10
QUERIES = 2048
NAME = "bench"


def clusters(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """float32[n, d]: Gaussian clusters with a spectrum that falls as 1/i, as those of embeddings do."""
    scale = (1 / np.sqrt(np.arange(1, d + 1))).astype(np.float32)
    centers = rng.standard_normal((1000, d), np.float32) * scale
    x = rng.standard_normal((n, d), np.float32) * (0.7 * scale)
    x += centers[rng.integers(0, len(centers), n)]
    return x


def source(path: str | None, n: int, rng: np.random.Generator) -> np.ndarray:
    """float32[n, d] from ``path`` (.npy); rows beyond those of the file are its rows again, moved a little."""
    if path is None:
        return clusters(n, 384, rng)
    real = np.load(path, mmap_mode="r")
    x = np.array(real[rng.permutation(len(real))[:n]], np.float32)
    if len(x) < n:
        more = x[rng.integers(0, len(x), n - len(x))]
        noise = rng.standard_normal(more.shape, np.float32)
        noise *= 0.3 * np.linalg.norm(more, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
        x = np.concatenate([x, more + noise])
    return x


@contextlib.contextmanager
def serving(path: str, threads: int, coalesce: bool) -> Iterator[str]:
    options = f"port=0, threads={threads}, coalesce={coalesce}"
    with servers.started("-c", f"from bebr.serve import serve; serve({path!r}, {options})") as (target, _):
        yield target


def request(query: np.ndarray) -> pb.SearchRequest:
    vectors = pb.Vectors(f32=query.astype("<f4").tobytes(), dimension=len(query), count=1)
    return pb.SearchRequest(collection=NAME, queries=vectors, k=K)


async def _ask(target: str, queries: np.ndarray, clients: int, seconds: float, first: int) -> list[float]:
    """Latencies in seconds of ``clients`` tasks, each with one call in flight at any time."""
    latencies: list[float] = []
    async with grpc.aio.insecure_channel(target) as channel:
        search = rpc.PointsStub(channel).Search
        requests = [request(query) for query in queries]
        await search(requests[0])
        end = time.perf_counter() + seconds

        async def client(i: int) -> None:
            while (begin := time.perf_counter()) < end:
                await search(requests[i % len(requests)])
                latencies.append(time.perf_counter() - begin)
                i += 61

        await asyncio.gather(*(client(first + 7 * i) for i in range(clients)))
    return latencies


def _client_process(arguments: tuple[str, np.ndarray, int, float, int]) -> list[float]:
    return asyncio.run(_ask(*arguments))


def load(target: str, queries: np.ndarray, clients: int, processes: int, seconds: float) -> dict[str, float]:
    """Throughput and latency of ``clients`` spread over ``processes``."""
    shares = [len(part) for part in np.array_split(np.arange(clients), processes)]
    work = [(target, queries, share, seconds, 500 * i) for i, share in enumerate(shares)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        latencies = np.concatenate(pool.map(_client_process, work))
    return {
        "queries_per_second": len(latencies) / seconds,
        "p50_ms": float(np.median(latencies) * 1e3),
        "p99_ms": float(np.quantile(latencies, 0.99) * 1e3),
    }


def p50_ms(search, queries: np.ndarray, seconds: float) -> float:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        search(queries[len(times) % len(queries)], K)
        times.append(time.perf_counter() - begin)
    return float(np.median(times) * 1e3)


def build(path: str, x: np.ndarray, bytes_per_vector: int, seed: int) -> None:
    bz = bebr.train(x[:50_000], bytes_per_vector=bytes_per_vector, metric="cosine", seed=seed)
    with bebr.open(path) as db:
        collection = db.create_collection(NAME, bz)
        for start in range(0, len(x), 50_000):
            collection.upsert(np.arange(start, min(start + 50_000, len(x))), x[start : start + 50_000])
            print(f"\r{len(collection):,} rows", end="", file=sys.stderr, flush=True)
        collection.settle()
    print(file=sys.stderr)


def run(arguments: argparse.Namespace) -> dict[str, object]:
    rng = np.random.default_rng(arguments.seed)
    x = source(arguments.vectors, arguments.rows + QUERIES, rng)
    queries, x = x[arguments.rows :], x[: arguments.rows]
    threads = arguments.threads
    bebr.set_num_threads(threads)
    variants = {"coalesced": (threads, True), "alone": (threads, False), "alone, 1 thread a call": (1, False)}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    calls, locals_ = [], []
    with tempfile.TemporaryDirectory() as path:
        build(path, x, arguments.bytes, arguments.seed)
        for _ in range(arguments.rounds):
            with bebr.open(path) as db:
                local = db.collection(NAME)
                expected, stats = local.search(queries, K), local.stats()
                locals_.append(p50_ms(local.search, queries, arguments.seconds / 2))
            for name, (per_call, coalesce) in variants.items():
                with serving(path, per_call, coalesce) as target:
                    if coalesce:
                        with bebr.connect(target) as client:
                            collection = client.collection(NAME)
                            calls.append(p50_ms(collection.search, queries, arguments.seconds / 2))
                            found = collection.search(queries, K)
                            same = np.array_equal(found.scores, expected.scores)
                            same &= np.array_equal(found.ids, expected.ids)
                            assert same, "answers over gRPC differ from local ones"
                    rounds[name].append(
                        load(target, queries, arguments.clients, arguments.processes, arguments.seconds)
                    )
                    if coalesce:
                        with bebr.connect(target) as client:
                            batching = client.collection(NAME).stats().batching
                print(f"{name}: {rounds[name][-1]}", file=sys.stderr, flush=True)
    medians = {
        name: {figure: float(np.median([r[figure] for r in results])) for figure in results[0]}
        for name, results in rounds.items()
    }
    assert batching is not None
    alone = max(medians[name]["queries_per_second"] for name in variants if name != "coalesced")
    return {
        "rows": arguments.rows,
        "input_dim": x.shape[1],
        "bytes_per_vector": stats.bytes_per_vector,
        "segments": stats.segments,
        "vectors": arguments.vectors or "Gaussian clusters",
        "k": K,
        "clients": arguments.clients,
        "threads": threads,
        "info": bebr.info(),
        "answers_equal_local": True,
        "load": medians,
        "queries_per_batch": round(batching.queries / batching.batches, 1),
        "coalescing_gain": medians["coalesced"]["queries_per_second"] / alone,
        "local_p50_ms": float(np.median(locals_)),
        "call_p50_ms": float(np.median(calls)),
        "call_overhead_p50_ms": float(np.median(calls) - np.median(locals_)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", help=".npy of float vectors [n, d]; default: Gaussian clusters, 384 dimensions")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=52, help="bytes per vector")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--processes", type=int, default=1, help="client processes")
    parser.add_argument("--threads", type=int, default=bebr.get_num_threads(), help="threads of one kernel call")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    print(json.dumps(run(parser.parse_args()), indent=2))


if __name__ == "__main__":
    main()
