"""What the engine scores: codes of documents, and queries prepared for them (docs/method.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Floats
from bebr.binarizer.factors import Factors, factor_dtype

Query = Literal["float", "code"]


@dataclass(frozen=True)
class Codes:
    """Codes of n vectors.

    planes: uint8[n, code_bytes], the planes of a vector one after the other (csrc/code/spec.h).
    factors: [n, F] of uint8, float16 or float32 (``BinarizerConfig.factor_bytes``), the scalars beside each code;
        they count in ``bytes_per_vector``.
    """

    planes: NDArray[np.uint8]
    factors: Factors

    def __len__(self) -> int:
        return len(self.planes)

    def __getitem__(self, rows: Any) -> Codes:
        return Codes(self.planes[rows], self.factors[rows])

    def to_bytes(self) -> bytes:
        """Rows of code bytes followed by factor bytes (little-endian), back to back."""
        return np.hstack([self.planes, self.factor_rows()]).tobytes()

    def factor_rows(self) -> NDArray[np.uint8]:
        """The factors as bytes, little-endian: uint8[n, F * factor_bytes]."""
        return np.ascontiguousarray(self.factors).view(np.uint8)

    @staticmethod
    def from_bytes(data: bytes, code_bytes: int, factors: int, factor_bytes: int = 2) -> Codes:
        """The inverse of :meth:`to_bytes`; ``ValueError`` unless ``data`` holds whole rows."""
        row = code_bytes + factor_bytes * factors
        if len(data) % row:
            raise ValueError(f"codes have {len(data)} bytes: want a multiple of {row}")
        rows = np.frombuffer(data, np.uint8).reshape(-1, row)
        return Codes.of_rows(rows[:, :code_bytes], rows[:, code_bytes:], factor_bytes)

    @staticmethod
    def of_rows(planes: NDArray[np.uint8], factor_rows: NDArray[np.uint8], factor_bytes: int) -> Codes:
        """From planes and the bytes of :meth:`factor_rows`."""
        factors = np.ascontiguousarray(factor_rows).view(factor_dtype(factor_bytes))
        return Codes(np.ascontiguousarray(planes), factors)


@dataclass(frozen=True)
class PreparedQueries:
    """Queries in code space: score of a code v = base + <y, v>, with the factor applied (docs/method.md, "Codes").

    y: float32[n, m]; base: float32[n]. stage: a function of ``vectors`` that gives the same for the sign plane's own
    decoder, None without one. It is called only by searches that scan sign planes: it is half the work of preparing.
    offset: float32[n], what turns a score into the metric: squared distance = offset - score / scale for l2.
    exact: float32[n, inner_dim], the queries as floats in the space of :meth:`Binarizer.vectors`, whatever ``query``
    was; None where they have no such form (no decoder, or another model's).
    calibration: (a, b), what turns a score on an old model's codes into one as on the new model's own, a * score + b.
    vectors: float32[n, inner_dim], the queries in the decoder's space (without a decoder: code values), where the
    centroids of IVF are.
    """

    y: Floats
    base: Floats
    stage: Callable[[Floats], tuple[Floats, Floats]] | None
    offset: Floats
    vectors: Floats
    calibration: tuple[float, float] = (1.0, 0.0)
    exact: Floats | None = None

    def stage_queries(self, wanted: bool) -> tuple[Floats | None, Floats | None]:
        """y and base for sign planes, where ``wanted`` and there is a decoder for them."""
        return self.stage(self.vectors) if wanted and self.stage is not None else (None, None)

    def __iter__(self) -> Iterator[PreparedQueries]:
        """One query at a time."""
        for i in range(len(self.y)):
            rows: dict[str, Any] = {
                field.name: value[i : i + 1]
                for field in fields(self)
                if isinstance(value := getattr(self, field.name), np.ndarray)
            }
            yield replace(self, **rows)


class GivenQueries(PreparedQueries):
    """Queries of one search on codes of their own model, prepared once somebody reads what that gives. Most searches
    leave it to the extension, which holds nothing of it in arrays of Python (``core.Index.search_given``).

    x: float32[n, query_dim], checked. coded: they are to be coded, too. prepare: makes the rest.
    """

    model: core.QueryModel
    x: Floats
    coded: bool

    def __init__(self, model: core.QueryModel, x: Floats, coded: bool, prepare: Callable[[], PreparedQueries]) -> None:
        self.__dict__.update(model=model, x=x, coded=coded, prepare=prepare)

    @cached_property
    def prepared(self) -> PreparedQueries:
        made: PreparedQueries = self.__dict__["prepare"]()
        return made

    def __getattr__(self, name: str) -> Any:
        if name not in ("y", "base", "stage", "offset", "vectors"):
            raise AttributeError(name)
        return getattr(self.prepared, name)

    @property
    def exact(self) -> Floats | None:
        return self.prepared.exact
