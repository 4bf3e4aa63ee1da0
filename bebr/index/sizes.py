"""What an index takes: bytes of so many rows, and the largest code that a memory has room for.

Bytes are those of the file, which a mapped index searches as they are. The model is not counted (some 100 KB to a few
MB), nor are payloads and vectors of a collection.
"""

from __future__ import annotations

import math
import re
from typing import Literal, get_args

Kind = Literal["flat", "ivf", "graph"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Lists are faster from some 50,000 rows on (docs/experiments/segment-kinds.md), and pay for what making them costs
# where files are merged: above the rows of one seal.
FLAT_ROWS = 75_000
MOST_LISTS = 1 << 20
_ID = 8
_LINE = 64  # a node of a graph is whole cache lines
_UNITS = {"": 1} | {unit: 1000 ** (i + 1) for i, unit in enumerate("kmgt")}
_UNITS |= {f"{unit}i": 1024 ** (i + 1) for i, unit in enumerate("kmgt")}


def usual_kind(rows: int) -> Kind:
    """Few rows are scanned, many are in lists: what a collection makes of files of so many rows, too."""
    return "flat" if rows <= FLAT_ROWS else "ivf"


def usual_lists(rows: int) -> int:
    """The power of two nearest to four times the square root of the rows."""
    return min(MOST_LISTS, 1 << max(0, round(math.log2(4 * math.sqrt(rows)))), rows)


def index_bytes(
    kind: Kind,
    rows: int,
    bytes_per_vector: int,
    dim: int,
    *,
    nlist: int | None = None,
    max_degree: int = 32,
    inline: int = 0,
) -> int:
    """Bytes of an index of ``rows`` codes with their ids.

    dim: of what centroids of lists are, at most the vectors'. nlist: of an IVF, None for :func:`usual_lists`, each
    padded to whole blocks. max_degree: links of a node of a graph. inline: bytes of each neighbour's code in it, whose
    factors are taken as 2 bytes.
    """
    if kind == "graph":
        node = -(-(4 + bytes_per_vector) // 4) * 4 + 4 * max_degree
        if inline:
            blocks = -(-max_degree // 16) * 16 * min(inline, bytes_per_vector - 2)
            node = -(-(node + 2 * max_degree) // _LINE) * _LINE + blocks
        return rows * (-(-node // _LINE) * _LINE + _ID)
    row = bytes_per_vector + _ID
    if kind == "flat":
        return rows * row
    lists = usual_lists(rows) if nlist is None else nlist
    return (rows + 8 * lists) * row + 4 * rows + lists * (4 * dim + 16)


def largest_code(kind: Kind, rows: int, dim: int, memory: int, least: int, most: int) -> int:
    """The most bytes a vector, from ``least`` to ``most``, of which :func:`index_bytes` fit into ``memory``.
    ``ValueError`` where not even the least do."""
    if index_bytes(kind, rows, least, dim) > memory:
        need = index_bytes(kind, rows, least, dim)
        raise ValueError(
            f"memory is {memory:,} bytes: {rows:,} rows of {least} bytes, the smallest code, take {need:,} ({kind})"
        )
    while least < most:
        middle = (least + most + 1) // 2
        if index_bytes(kind, rows, middle, dim) <= memory:
            least = middle
        else:
            most = middle - 1
    return least


def parse_size(size: int | str, name: str = "memory") -> int:
    """Bytes of 4294967296, "4GiB" or "4 GB"; ``ValueError`` naming ``name``."""
    if isinstance(size, bool) or not isinstance(size, int | str):
        raise ValueError(f"{name} is {size!r}: want bytes, or a size as '4GiB'")
    if isinstance(size, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(|[kmgt]i?)b?", size.strip().lower())
        if found is None:
            raise ValueError(f"{name} is {size!r}: want a size as '4GiB' or '500MB'")
        size = int(float(found[1]) * _UNITS[found[2]])
    return size
