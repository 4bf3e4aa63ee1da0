"""What one file of vectors offers, whatever its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


class VectorFile(ABC):
    """``rows`` vectors of ``dim`` dimensions in the file's own dtype, its header checked and nothing read yet."""

    rows: int
    dim: int

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)

    @abstractmethod
    def blocks(self, start: int, stop: int, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """(first row, [m, dim]), m <= size, of rows start to stop, read and not mapped."""

    def mapped(self, rows: int) -> NDArray[Any] | None:
        """The first rows as a read-only view of the mapped file; None for a format that cannot be mapped."""
        return None
