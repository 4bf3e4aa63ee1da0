"""Typed face of the C++ extension. Errors: ValueError, FileNotFoundError, OSError, bebr.CorruptFile,
bebr.LimitExceeded."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

version: str
file_version: int

def isa() -> str: ...
def runnable_isas() -> list[str]: ...
def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def unpack(planes: NDArray[np.uint8], widths: list[int]) -> NDArray[np.float32]: ...
def code_norms(planes: NDArray[np.uint8], widths: list[int]) -> NDArray[np.float32]: ...

class Encoder:
    def __init__(
        self,
        architecture: str,
        widths: list[int],
        layers: list[list[tuple[NDArray[np.float32], NDArray[np.float32]]]],
        normalize: bool,
        gram: NDArray[np.float32] | None = None,
        sweeps: int = 0,
        tries: int = 0,
    ) -> None: ...
    @property
    def input_dim(self) -> int: ...
    def encode(self, x: NDArray[np.float32], bf16: bool = False, optimize: bool = True) -> NDArray[np.uint8]: ...

class Network:
    def __init__(self, layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]], name: str) -> None: ...
    @property
    def input_dim(self) -> int: ...
    @property
    def output_dim(self) -> int: ...
    def forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]: ...

class Decoder:
    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32], widths: list[int]) -> None: ...
    def decode(self, planes: NDArray[np.uint8]) -> NDArray[np.float32]: ...
    def project(self, q: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    def norms(self, planes: NDArray[np.uint8]) -> NDArray[np.float32]: ...

class FlatIndex:
    def __init__(
        self,
        widths: list[int],
        factor: str,
        stage_factor: bool,
        factor_bytes: int,
        code: tuple[int, int],
        stage_code: tuple[int, int],
    ) -> None: ...
    @staticmethod
    def by_whole_codes(queries: int) -> bool: ...
    def __len__(self) -> int: ...
    @property
    def mapped(self) -> bool: ...
    @property
    def widths(self) -> list[int]: ...
    @property
    def factor_bytes(self) -> int: ...
    @property
    def max_id(self) -> int: ...
    def add(self, planes: NDArray[np.uint8], factors: NDArray[np.uint8], ids: NDArray[np.int64]) -> None: ...
    def remove(self, ids: NDArray[np.int64]) -> int: ...
    def contains(self, id: int) -> bool: ...
    def rows(
        self, ids: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]: ...
    def search(
        self,
        y: NDArray[np.float32],
        base: NDArray[np.float32],
        stage_y: NDArray[np.float32] | None,
        stage_base: NDArray[np.float32] | None,
        k: int,
        survivors: int,
        allow: NDArray[np.int64] | None,
        min_scores: NDArray[np.float32] | None = None,
        expand: bool = False,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...
    def range(
        self,
        y: NDArray[np.float32],
        base: NDArray[np.float32],
        allow: NDArray[np.int64] | None,
        min_scores: NDArray[np.float32],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]: ...
    def save(self, path: str, extra: dict[str, bytes], raw: RawVectors | None = None) -> None: ...

class Centroids:
    def __init__(self, values: NDArray[np.float32]) -> None: ...
    def assign(self, x: NDArray[np.float32]) -> NDArray[np.uint32]: ...

class IvfIndex:
    def __init__(
        self,
        widths: list[int],
        factor: str,
        stage_factor: bool,
        factor_bytes: int,
        code: tuple[int, int],
        stage_code: tuple[int, int],
        centroids: NDArray[np.float32],
        by_product: bool,
    ) -> None: ...
    def by_whole_codes(self, queries: int, nprobe: int, k: int) -> bool: ...
    def __len__(self) -> int: ...
    @property
    def mapped(self) -> bool: ...
    @property
    def widths(self) -> list[int]: ...
    @property
    def factor_bytes(self) -> int: ...
    @property
    def max_id(self) -> int: ...
    @property
    def list_sizes(self) -> list[int]: ...
    @property
    def centroids(self) -> NDArray[np.float32]: ...
    def assign(self, x: NDArray[np.float32]) -> NDArray[np.uint32]: ...
    def add(
        self,
        planes: NDArray[np.uint8],
        factors: NDArray[np.uint8],
        ids: NDArray[np.int64],
        lists: NDArray[np.uint32],
    ) -> None: ...
    def remove(self, ids: NDArray[np.int64]) -> int: ...
    def contains(self, id: int) -> bool: ...
    def rows(
        self, ids: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]: ...
    def search(
        self,
        y: NDArray[np.float32],
        base: NDArray[np.float32],
        stage_y: NDArray[np.float32] | None,
        stage_base: NDArray[np.float32] | None,
        vectors: NDArray[np.float32],
        k: int,
        enough: int,
        nprobe: int,
        margin: float,
        allow: NDArray[np.int64] | None,
        min_scores: NDArray[np.float32] | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...
    def range(
        self,
        y: NDArray[np.float32],
        base: NDArray[np.float32],
        stage_y: NDArray[np.float32] | None,
        stage_base: NDArray[np.float32] | None,
        vectors: NDArray[np.float32],
        nprobe: int,
        margin: float,
        allow: NDArray[np.int64] | None,
        min_scores: NDArray[np.float32],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]: ...
    def save(self, path: str, extra: dict[str, bytes], raw: RawVectors | None = None) -> None: ...

class GraphIndex:
    def __init__(
        self,
        widths: list[int],
        factor: str,
        stage_factor: bool,
        factor_bytes: int,
        code: tuple[int, int],
        stage_code: tuple[int, int],
        max_degree: int,
        ef_construction: int,
        seed: int,
        gram: NDArray[np.float32],
        mean: NDArray[np.float32],
        mean_norm: float,
        scale: float,
        offset: float,
        augment_norm: bool,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def mapped(self) -> bool: ...
    @property
    def widths(self) -> list[int]: ...
    @property
    def factor_bytes(self) -> int: ...
    @property
    def max_degree(self) -> int: ...
    @property
    def node_bytes(self) -> int: ...
    @property
    def max_id(self) -> int: ...
    def add(self, planes: NDArray[np.uint8], factors: NDArray[np.uint8], ids: NDArray[np.int64]) -> None: ...
    def remove(self, ids: NDArray[np.int64]) -> int: ...
    def contains(self, id: int) -> bool: ...
    def rows(
        self, ids: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]: ...
    def search(
        self,
        y: NDArray[np.float32],
        base: NDArray[np.float32],
        k: int,
        ef_search: int,
        allow: NDArray[np.int64] | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...
    def save(self, path: str, extra: dict[str, bytes], raw: RawVectors | None = None) -> None: ...

class IvfBuild:
    def __init__(
        self,
        widths: list[int],
        factor: str,
        stage_factor: bool,
        factor_bytes: int,
        code: tuple[int, int],
        stage_code: tuple[int, int],
        centroids: NDArray[np.float32],
        by_product: bool,
        raw: str | None = None,
    ) -> None: ...
    def raw_rows(self, x: NDArray[np.float32]) -> NDArray[np.uint8]: ...
    def assign(self, x: NDArray[np.float32]) -> NDArray[np.uint32]: ...
    def write_chunk(
        self,
        path: str,
        first_row: int,
        planes: NDArray[np.uint8],
        factors: NDArray[np.uint8],
        lists: NDArray[np.uint32],
        ids: NDArray[np.int64] | None,
        raw: NDArray[np.uint8] | None = None,
    ) -> None: ...
    def chunk_rows(self, path: str) -> tuple[int, int]: ...
    def merge(
        self,
        path: str,
        chunks: list[str],
        extra: dict[str, bytes],
        memory: int,
        progress: Callable[[int, int], None],
    ) -> None: ...

class RawVectors:
    def __init__(self, dim: int, type: str) -> None: ...
    def __len__(self) -> int: ...
    @property
    def mapped(self) -> bool: ...
    @property
    def dim(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def row_bytes(self) -> int: ...
    def add(self, x: NDArray[np.float32], ids: NDArray[np.int64]) -> None: ...
    def remove(self, ids: NDArray[np.int64]) -> int: ...
    def values(self, ids: NDArray[np.int64]) -> NDArray[np.float32]: ...
    def rescore(
        self,
        queries: NDArray[np.float32],
        candidates: NDArray[np.int64],
        k: int,
        squared_distance: bool,
        read_ahead: bool = True,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...

def open_index(
    path: str, map: bool, verify: bool
) -> tuple[FlatIndex | IvfIndex | GraphIndex, dict[str, bytes], RawVectors | None]: ...
def kernel_bench(
    isa: str, kernel: str, dims: int, planes: int, rows: int, queries: int, repeats: int
) -> list[float]: ...
