"""Locally-adaptive vector quantization (Aguerrebere et al., 2023, section 3), written out.

Intel's library (``scalable-vs``) has it for Intel's CPUs alone. Bytes and recall of a code do not depend on who scans
it, so here they can be measured anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats, Ids
from bebr.exact import best
from bebr.peers.base import DEFAULT, Adapter, Case, Peer, Setting

__all__ = ["LEVELS", "LVQ", "code_bytes", "flat"]

LEVELS = ((4, 0), (8, 0), (4, 4), (4, 8))  # bits, and bits of the residual
_FACTORS = 4  # the lower end and the step of each row, in half precision
_BLOCK = 8192


def code_bytes(dim: int, bits: int, residual: int) -> float:
    """Bytes of one row of ``dim`` dimensions, its factors included."""
    return float(_FACTORS + sum(math.ceil(dim * level / 8) for level in (bits, residual)))


class LVQ(Adapter):
    """LVQ of B1 bits, or of B1 bits and B2 for what they leave, searched exhaustively with float queries.

    x - mean is coded on a uniform grid between its own least and greatest value; a residual is uniform over one step.
    With ``dims`` the rows are first projected to that many principal directions: the first stage of LeanVec (Tepper
    et al., 2023). Its second stage holds a whole LVQ code beside it, which alone has the same recall in fewer bytes.
    """

    library = "own"

    def __init__(self, bits: int, residual: int, case: Case, version: str, dims: int | None = None) -> None:
        levels = f"{bits}x{residual}" if residual else f"{bits}"
        name = f"LVQ{levels}" if dims is None else f"LeanVec{dims}x{levels} first stage"
        super().__init__(f"{name}, our code", case, version)
        self.training_free = dims is None
        self._bits, self._residual, self._dims = bits, residual, dims
        self._mean = np.zeros(case.dim, dtype=np.float32)
        self._project = np.eye(case.dim, dtype=np.float32)[:, :dims] if dims else None
        self._codes: list[NDArray[np.uint8]] = []
        self._factors = np.zeros((0, 2), dtype=np.float16)

    @property
    def bytes_per_vector(self) -> float:
        return code_bytes(self._dims or self._case.dim, self._bits, self._residual)

    def fit(self, train: Floats, threads: int | None = None) -> None:
        self._mean = train.mean(axis=0)
        if self._dims:
            _, directions = np.linalg.eigh(np.cov((train - self._mean).T))
            self._project = np.ascontiguousarray(directions[:, : -self._dims - 1 : -1], dtype=np.float32)

    def _reduced(self, x: Floats) -> Floats:
        return x if self._project is None else np.asarray(x @ self._project, dtype=np.float32)

    def add(self, base: Floats, threads: int | None = None) -> None:
        blocks = (base[start : start + _BLOCK] for start in range(0, len(base), _BLOCK))
        parts = [self._coded(self._reduced(block - self._mean)) for block in blocks]
        self._codes = [np.concatenate(codes) for codes in zip(*[codes for codes, _ in parts], strict=True)]
        self._factors = np.concatenate([factors for _, factors in parts])

    def _coded(self, x: Floats) -> tuple[list[NDArray[np.uint8]], NDArray[np.float16]]:
        top = 2**self._bits - 1
        low = x.min(axis=1, keepdims=True).astype(np.float16)
        step = ((x.max(axis=1, keepdims=True) - low) / top).astype(np.float16)
        factors = np.hstack([low, step])
        step = np.maximum(step, np.finfo(np.float16).tiny).astype(np.float32)
        code = np.clip(np.rint((x - low) / step), 0, top).astype(np.uint8)
        if not self._residual:
            return [code], factors
        top = 2**self._residual - 1
        rest = (x - low) / step - code  # in steps: -1/2 to 1/2
        return [code, np.clip(np.rint((rest + np.float32(0.5)) * top), 0, top).astype(np.uint8)], factors

    def decoded(self, rows: slice) -> Floats:
        """What the codes of ``rows`` stand for, less the mean: float32 ``[n, dims]``."""
        low, step = np.hsplit(self._factors[rows].astype(np.float32), 2)
        x = self._codes[0][rows].astype(np.float32)
        if self._residual:
            x += self._codes[1][rows] / np.float32(2**self._residual - 1) - np.float32(0.5)
        return np.asarray(x * step + low, dtype=np.float32)

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        """As the interface says; ``threads`` is left to BLAS."""
        # <q, mean> is the same for every row; distances are those of rows and query less the mean.
        l2 = self._case.metric == "l2"
        decoded = (self.decoded(slice(at, at + _BLOCK)) for at in range(0, len(self._factors), _BLOCK))
        found = best(decoded, self._reduced(queries - self._mean if l2 else queries), k, "l2" if l2 else "ip")
        return np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=-1)


def flat(case: Case, version: str) -> Iterator[Peer]:
    """LVQ of every level, and LeanVec to a quarter and a half of the dimensions."""
    for bits, residual in LEVELS:
        yield LVQ(bits, residual, case, version)
    for dims in (case.dim // 4, case.dim // 2):
        for bits in (4, 8) if case.dim >= 32 else ():
            yield LVQ(bits, 0, case, version, dims)
