"""ScaNN: asymmetric hashing (4-bit codes, anisotropic loss) over all rows, or in a tree of lists with reordering."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from bebr.arrays import Floats, Ids
from bebr.peers.base import DEFAULT, Adapter, Case, Peer, Setting, by_nprobe, rows_of

__all__ = ["approximate", "flat"]


class _Hashed(Adapter):
    """Codes of ``block`` dimensions each, all looked at, without reordering."""

    library = "scann"
    imports = ("scann",)
    training_free = False

    def __init__(self, block: int, name: str, case: Case, version: str, sweeps: Any = ((DEFAULT,),)) -> None:
        super().__init__(f"scann {name}", case, version, sweeps)
        self._block = block
        self._sample = self._threads = 0

    @property
    def bytes_per_vector(self) -> float:
        return float(-(-self._case.dim // self._block)) / 2

    def fit(self, train: Floats, threads: int | None = None) -> None:
        """Notes how many rows to learn from: ScaNN itself draws them from those that it stores, in ``add``."""
        self._sample = len(train)

    def add(self, base: Floats, threads: int | None = None) -> None:
        l2 = self._case.metric == "l2"
        builder = importlib.import_module("scann").scann_ops_pybind.builder(
            base, 10, "squared_l2" if l2 else "dot_product"
        )
        if threads is not None:
            builder = builder.set_n_training_threads(threads)
        # .2 is the threshold that its own guide uses for unit vectors; the loss is meant for inner products only.
        threshold = float("nan") if l2 else 0.2
        self._index = (
            self._structured(builder)
            .score_ah(self._block, anisotropic_quantization_threshold=threshold, training_sample_size=self._sample)
            .build()
        )

    def _structured(self, builder: Any) -> Any:
        return builder

    def _effort(self, k: int, setting: Setting) -> tuple[float, ...]:
        return (k,)

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        effort = self._effort(k, setting)
        if len(queries) == 1:
            ids, _ = self._index.search(queries[0], *effort)
        elif threads == 1:
            ids, _ = self._index.search_batched(queries, *effort)
        else:
            if threads != self._threads:  # this makes a new pool of threads, so not for each call
                self._index.set_num_threads(threads)
                self._threads = threads
            ids, _ = self._index.search_batched_parallel(queries, *effort)
        return rows_of(ids, k)


class _Tree(_Hashed):
    """A tree of lists, two dimensions a code, and float32 rows that reorder the best."""

    def __init__(self, nlist: int, spilled: bool, case: Case, version: str) -> None:
        sweeps = [by_nprobe(nlist, reorder=rows) for rows in (30, 100, 300)]
        super().__init__(2, f"tree{nlist}{' SOAR' if spilled else ''} AH reorder", case, version, sweeps)
        self._nlist, self._spilled = nlist, spilled

    @property
    def bytes_per_vector(self) -> float:
        # A spilled row is in two lists.
        return super().bytes_per_vector * (1 + self._spilled) + 4 * self._case.dim

    def _structured(self, builder: Any) -> Any:
        soar = {"soar_lambda": 1.5, "overretrieve_factor": 2.0} if self._spilled else {}
        return builder.tree(self._nlist, 1, training_sample_size=self._sample, **soar).reorder(100)

    def _effort(self, k: int, setting: Setting) -> tuple[float, ...]:
        return (k, max(setting["reorder"], k), setting["nprobe"])


def flat(case: Case, version: str) -> Iterator[Peer]:
    """Codes of four, two and one dimensions."""
    for block in (4, 2, 1):
        yield _Hashed(block, f"AH{block}", case, version)


def approximate(case: Case, version: str) -> Iterator[Peer]:
    """Every number of lists, and for inner products each with spilling (SOAR) as well."""
    for nlist in case.nlist:
        for spilled in (False,) if case.metric == "l2" else (False, True):
            yield _Tree(nlist, spilled, case, version)
