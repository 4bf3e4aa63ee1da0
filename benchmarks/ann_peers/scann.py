"""ScaNN: a tree of lists, 4-bit codes in them, and float32 rows that reorder the best."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.ann_peers.base import Case, Engine, Floats, Ids, Setting, probes, rows_of

__all__ = ["engines"]


class _ScaNN:
    library = "scann"
    imports = ("scann",)

    def __init__(self, lists: int, spilled: bool, case: Case, version: str) -> None:
        self.name = f"scann tree{lists}{' SOAR' if spilled else ''} AH reorder"
        self.version, self.sweeps = version, [probes(lists, reorder=rows) for rows in (30, 100, 300)]
        self._lists, self._spilled, self._case = lists, spilled, case
        self._searcher: Any = None
        self._threads = 0

    @property
    def bytes_per_vector(self) -> float:
        # 4 bits for two dimensions, twice where a row is in two lists; float32 for the reordering.
        return -(-self._case.dim // 2) / 2 * (1 + self._spilled) + 4 * self._case.dim

    def build(self, base: Floats, train: Floats, threads: int = 1) -> float:
        start = time.perf_counter()
        by_distance = self._case.metric == "l2"
        builder = importlib.import_module("scann").scann_ops_pybind.builder(
            base, 10, "squared_l2" if by_distance else "dot_product"
        )
        soar = {"soar_lambda": 1.5, "overretrieve_factor": 2.0} if self._spilled else {}
        # .2 is the threshold that its own guide uses for unit vectors; the loss is meant for inner products only.
        threshold = float("nan") if by_distance else 0.2
        self._searcher = (
            builder.set_n_training_threads(threads)
            .tree(self._lists, 1, training_sample_size=len(train), **soar)
            .score_ah(2, anisotropic_quantization_threshold=threshold, training_sample_size=len(train))
            .reorder(100)
            .build()
        )
        return time.perf_counter() - start

    def search(self, queries: Floats, k: int, setting: Setting, threads: int = 1) -> Ids:
        effort = (k, max(setting["reorder"], k), setting["probes"])
        if len(queries) == 1:
            ids, _ = self._searcher.search(queries[0], *effort)
        elif threads == 1:
            ids, _ = self._searcher.search_batched(queries, *effort)
        else:
            if threads != self._threads:  # this makes a new pool of threads, so not for each call
                self._searcher.set_num_threads(threads)
                self._threads = threads
            ids, _ = self._searcher.search_batched_parallel(queries, *effort)
        return rows_of(ids, k)


def engines(case: Case, version: str) -> Iterator[Engine]:
    """Every number of lists, and for inner products each with spilling (SOAR) as well."""
    for lists in case.lists:
        for spilled in (False,) if case.metric == "l2" else (False, True):
            yield _ScaNN(lists, spilled, case, version)
