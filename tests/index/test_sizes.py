"""What an index takes, against the files that indexes write; and the largest code that fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bebr
from bebr.index.sizes import KINDS, Kind, index_bytes, largest_code, parse_size, usual_kind, usual_lists
from tests.conftest import clustered


@pytest.mark.parametrize(("dim", "size"), [(64, 20), (96, 53)])
@pytest.mark.parametrize(("kind", "inline"), [*((kind, 0) for kind in KINDS), ("graph", 32)])
def test_a_file_takes_what_was_said(kind: Kind, inline: int, dim: int, size: int, tmp_path: Path) -> None:
    """The difference of two sizes: the model is the same in both."""
    bz, x = bebr.untrained(dim, size), clustered(2048, dim)
    files = []
    for rows in (512, 2048):
        index = {
            "flat": lambda: bebr.FlatIndex(bz),
            "ivf": lambda: bebr.IVFIndex(bz, 16),
            "graph": lambda: bebr.GraphIndex(bz, max_degree=16, ef_construction=16, inline=inline),
        }[kind]()
        index.add(x[:rows])
        index.save(tmp_path / f"{rows}.bebr")
        files.append((tmp_path / f"{rows}.bebr").stat().st_size)
    said = [index_bytes(kind, rows, size, dim, nlist=16, max_degree=16, inline=inline) for rows in (512, 2048)]
    assert files[1] - files[0] == pytest.approx(said[1] - said[0], rel=0.03)


@given(st.sampled_from(KINDS), st.integers(1, 10**9), st.integers(1, 4096), st.integers(0, 1 << 42))
@settings(max_examples=60, deadline=None)
def test_the_largest_code_fits_and_one_more_byte_does_not(kind: Kind, rows: int, dim: int, memory: int) -> None:
    if index_bytes(kind, rows, 3, dim) > memory:
        with pytest.raises(ValueError, match=f"memory is {memory:,} bytes"):
            largest_code(kind, rows, dim, memory, 3, 500)
        return
    size = largest_code(kind, rows, dim, memory, 3, 500)
    assert index_bytes(kind, rows, size, dim) <= memory
    assert size == 500 or index_bytes(kind, rows, size + 1, dim) > memory


def test_few_rows_are_scanned_and_many_are_in_lists() -> None:
    assert usual_kind(75_000) == "flat" and usual_kind(75_001) == "ivf"
    assert usual_lists(1) == 1 and usual_lists(10**6) == 4096 and np.log2(usual_lists(10**12)) == 20


@pytest.mark.parametrize(("text", "size"), [("4GiB", 4 << 30), ("500 MB", 500_000_000), ("1.5k", 1500), (77, 77)])
def test_sizes_are_read(text: int | str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["lots", "-1GiB", True, 1.5, "4 XB"])
def test_what_is_no_size_is_named(text: object) -> None:
    with pytest.raises(ValueError, match=r"budget is .*: want"):
        parse_size(text, "budget")  # type: ignore[arg-type]
