"""How many bits for which dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bebr.arrays import Floats
from bebr.training.linear.closed_form import allocate, spectrum

Choose = Callable[[Floats, int], tuple[int, ...]]

FACTOR_BYTES = 2  # of the one factor beside a code, unless told


def choose_widths(
    x: Floats,
    bytes_per_vector: int | None,
    dims: int | None,
    bits: int | None,
    widths: Sequence[int] | None,
    factor_bytes: int = FACTOR_BYTES,
    choose: Choose | None = None,
) -> tuple[int, ...]:
    """Widths of the planes from whichever of the three ways was used; ``ValueError`` for none, several or impossible
    ones. choose: finds widths of a number of bits for x, by default :func:`allocate` of its spectrum."""
    ways = [w for w in (bytes_per_vector, dims if dims is not None else bits, widths) if w is not None]
    if len(ways) != 1:
        raise ValueError("want exactly one of bytes_per_vector, dims with bits, widths or target_recall")
    if widths is not None:
        return checked(tuple(int(w) for w in widths))
    if bytes_per_vector is not None:
        size = check_bytes(bytes_per_vector, x.shape[1], factor_bytes)
        planes = 8 * (size - factor_bytes)
        return allocate(spectrum(x)[1], planes) if choose is None else choose(x, planes)
    if dims is None or bits is None:
        raise ValueError("want dims and bits together")
    return checked((int(dims),) * int(bits))


def most_bytes(dim: int, factor_bytes: int = FACTOR_BYTES) -> int:
    """Bytes of the largest code for vectors of ``dim`` dimensions: eight planes of all of them, and the factor."""
    return factor_bytes + 8 * (-(-dim // 8))


def check_bytes(bytes_per_vector: int, dim: int, factor_bytes: int = FACTOR_BYTES) -> int:
    """``bytes_per_vector`` if vectors of ``dim`` dimensions have a code of that size, else ``ValueError``."""
    most = most_bytes(dim, factor_bytes)
    least = factor_bytes + 1
    if not least <= bytes_per_vector <= most:
        raise ValueError(f"bytes_per_vector is {bytes_per_vector}: want {least} to {most} for {dim} dimensions")
    return int(bytes_per_vector)


def checked(widths: tuple[int, ...]) -> tuple[int, ...]:
    """``widths`` if they are 1 to 8 non-increasing multiples of 8 from 8 to 4096."""
    if not 1 <= len(widths) <= 8:
        raise ValueError(f"widths has {len(widths)} planes: want 1 to 8")
    for t, w in enumerate(widths):
        if w % 8 or not 8 <= w <= 4096 or (t and w > widths[t - 1]):
            raise ValueError(f"widths[{t}] is {w}: want non-increasing multiples of 8 from 8 to 4096")
    return widths
