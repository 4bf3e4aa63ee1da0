"""How much of everything fits into the memory and onto the disk that a build may use."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from bebr.binarizer import Binarizer
from bebr.errors import LimitExceeded
from bebr.index.kmeans import SAMPLE_PER_LIST
from bebr.index.sizes import index_bytes

FEWEST = 64 << 20
# Rows a list below which its centroid is noise; above SAMPLE_PER_LIST more change nothing.
FEWEST_PER_LIST = 16
MANY_LISTS, PER_LIST_OF_MANY = 4096, 64
_MOST_CHUNK, _MOST_BLOCK = 1 << 22, 1 << 16
_SCORES = 24 << 10
_MOST_TRAINING = 65_536  # more raise no recall and take longer (docs/experiments/recipe-parts.md)


@dataclass(frozen=True)
class Budget:
    """Rows of each step of a build within ``memory`` bytes, beyond what the interpreter itself takes (0.1 GB)."""

    memory: int
    dim: int
    nlist: int

    def __post_init__(self) -> None:
        if self.memory < FEWEST:
            raise ValueError(f"memory is {self.memory} bytes: want at least {FEWEST >> 20}MiB")
        need = FEWEST_PER_LIST * self.nlist * self._float_row * 3
        if need > self.memory:
            raise LimitExceeded(
                f"memory is {self.memory:,} bytes: {self.nlist:,} centroids of {self.dim} dimensions want {need:,} to "
                f"be found ({FEWEST_PER_LIST} vectors each); want more memory or fewer lists"
            )

    @property
    def _float_row(self) -> int:
        return 4 * self.dim

    @property
    def training(self) -> int:
        """Vectors for :func:`bebr.train`: at its widest it holds six copies, and scores of 20 KB a vector for up to
        17,000 of them (measured at 5,000 to 60,000 vectors of 64 to 256 dimensions)."""
        few = self.memory // (_SCORES + 6 * self._float_row)
        return min(_MOST_TRAINING, max(few, (self.memory - (640 << 20)) // (6 * self._float_row)))

    @property
    def sample(self) -> int:
        """Vectors for k-means, which holds them, a sorted copy and what the engine works in."""
        wanted = SAMPLE_PER_LIST if self.nlist <= MANY_LISTS else PER_LIST_OF_MANY
        return min(wanted * self.nlist, self.memory // (3 * self._float_row))

    @property
    def block(self) -> int:
        """Vectors read, encoded and assigned at once: some four blocks are alive, each in a few forms."""
        return max(256, min(_MOST_BLOCK, self.memory // (24 * self._float_row)))

    def chunk(self, stored: int) -> int:
        """Rows of a chunk of ``stored`` bytes a row: one is filled while another is written."""
        return max(1024, min(_MOST_CHUNK, self.memory // (6 * (stored + 12))))


def check_disk(path: Path, rows: int, nlist: int, bz: Binarizer, raw: int, own_ids: bool, present: int) -> None:
    """:class:`LimitExceeded` unless the folder of ``path`` has room for chunks and index; raw: bytes of a vector kept
    beside its code; present: bytes of chunks that are there already."""
    stored = bz.bytes_per_vector
    chunks = rows * (stored + raw + 4 + 8 * own_ids)
    index = index_bytes("ivf", rows, stored, bz.inner_dim, nlist=nlist)
    index += rows * (raw + 12) if raw else 0
    need, free = chunks + index - present, shutil.disk_usage(path.parent).free
    if need > free:
        raise LimitExceeded(
            f"{path}: wants about {need:,} bytes of disk while it is built ({index:,} for the index, the rest for its "
            f"chunks): {path.parent} has {free:,} free"
        )
