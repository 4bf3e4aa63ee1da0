"""Vector files: what is read, what is written, and what a damaged or unclear file is told."""

from __future__ import annotations

import struct
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bebr.vectors import VectorWriter, read_ids, read_vectors, stream, write_columns, write_vectors

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
DTYPES = {".npy": "<f4", ".fvecs": "<f4", ".bvecs": "u1", ".ivecs": "<i4", ".parquet": "<f4"}


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((70, 12)).astype(np.float32)


@pytest.mark.parametrize("suffix", DTYPES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_back(suffix: str, data: st.DataObject) -> None:
    array = data.draw(hnp.arrays(DTYPES[suffix], SHAPES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"vectors{suffix}"
        write_vectors(path, array)
        for mmap in (True, False):
            back = read_vectors(path, mmap=mmap)
            assert back.dtype == np.float32
            np.testing.assert_array_equal(back, array.astype(np.float32))
        np.testing.assert_array_equal(read_vectors(path, limit=2), array[:2].astype(np.float32))
        assert [p.name for p in Path(folder).iterdir()] == [path.name], "a temporary file was left"


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8", "i1", "u1", "<i8", "<u2"])
@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_numeric_types_become_float32(tmp_path: Path, dtype: str, suffix: str) -> None:
    array = np.arange(24).reshape(4, 6).astype(dtype)
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    else:
        write_vectors(path, array.astype(np.dtype(dtype).newbyteorder("=")))
    np.testing.assert_array_equal(read_vectors(path), np.arange(24, dtype=np.float32).reshape(4, 6))


def test_texmex_bytes_are_the_published_layout(tmp_path: Path) -> None:
    write_vectors(tmp_path / "a.fvecs", np.array([[1.5, -2.0], [3.0, 4.0]]))
    assert (tmp_path / "a.fvecs").read_bytes() == struct.pack("<iffiff", 2, 1.5, -2.0, 2, 3.0, 4.0)
    write_vectors(tmp_path / "a.bvecs", np.array([[1, 2, 255]]))
    assert (tmp_path / "a.bvecs").read_bytes() == struct.pack("<iBBB", 3, 1, 2, 255)


@pytest.mark.parametrize(("suffix", "dtype"), [(".fbin", "<f4"), (".u8bin", "u1"), (".i8bin", "i1")])
def test_files_of_the_big_ann_benchmarks_are_read(tmp_path: Path, suffix: str, dtype: str) -> None:
    array = (np.arange(24).reshape(6, 4) - (0 if dtype == "u1" else 12)).astype(dtype)
    path = tmp_path / f"base{suffix}"
    path.write_bytes(struct.pack("<II", 6, 4) + array.tobytes())
    for mmap in (True, False):
        np.testing.assert_array_equal(read_vectors(path, mmap=mmap), array.astype(np.float32))
    assert read_vectors(path, limit=2).shape == (2, 4)
    assert isinstance(read_vectors(path), np.memmap) == (suffix == ".fbin")
    blocks = list(stream(tmp_path).blocks(1, 6, 2))  # a folder of them
    assert [len(block) for block in blocks] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), array[1:].astype(np.float32))
    for content, told in (
        (path.read_bytes()[:-1], "wanted .* for 6 rows of 4 x . bytes. Truncated, or not"),
        (path.read_bytes() + b"x", "wanted .* for 6 rows of 4 x . bytes"),
        (b"1234", "got 4 bytes, wanted at least the 8"),
        (struct.pack("<II", 0, 4), "got 0 rows of 4 dimensions"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=told):
            read_vectors(path)


def test_large_float32_files_are_mapped_not_copied(tmp_path: Path, x: np.ndarray) -> None:
    for suffix in (".npy", ".fvecs"):
        write_vectors(tmp_path / f"x{suffix}", x)
        mapped = read_vectors(tmp_path / f"x{suffix}")
        assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
        assert not isinstance(read_vectors(tmp_path / f"x{suffix}", mmap=False), np.memmap)


def test_reading_numpy_files_does_not_import_pyarrow(tmp_path: Path, x: np.ndarray) -> None:
    import subprocess

    write_vectors(tmp_path / "x.npy", x)
    code = "import sys, bebr.vectors\nbebr.vectors.read_vectors(sys.argv[1])\nprint('pyarrow' in sys.modules)"
    command = [sys.executable, "-c", code, str(tmp_path / "x.npy")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"


# Parquet


def list_column(rows: list[list[float] | None], kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(rows, kind or pa.list_(pa.float32()))


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float16(), 2)])
def test_parquet_finds_the_only_vector_column(tmp_path: Path, kind: pa.DataType) -> None:
    number = np.float16 if kind.value_type == pa.float16() else float
    rows = [[number(1), number(2)], [number(3), number(4)]]
    table = pa.table({"id": [7, 8], "text": ["a", "b"], "emb": pa.array(rows, kind)})
    pq.write_table(table, tmp_path / "t.parquet")
    np.testing.assert_array_equal(read_vectors(tmp_path / "t.parquet"), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(read_ids(tmp_path / "t.parquet"), [7, 8])


def test_parquet_with_two_vector_columns_asks_which(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_columns(path, {"title": np.ones((3, 4)), "body": np.zeros((3, 8)), "id": np.arange(3)})
    with pytest.raises(ValueError, match=r"2 columns hold vectors.*column=.*title, body"):
        read_vectors(path)
    assert read_vectors(path, column="body").shape == (3, 8)
    with pytest.raises(ValueError, match=r"'id' holds no vectors.*title, body"):
        read_vectors(path, column="id")
    with pytest.raises(ValueError, match=r"'bodi' is not there.*title, body"):
        read_vectors(path, column="bodi")


def test_parquet_over_many_batches_and_row_groups(tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((20_000, 3)).astype(np.float32)
    table = pa.table({"v": pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 3), "id": np.arange(20_000)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=3_000)
    np.testing.assert_array_equal(read_vectors(tmp_path / "t.parquet"), x)
    np.testing.assert_array_equal(read_vectors(tmp_path / "t.parquet", limit=8_500), x[:8_500])
    np.testing.assert_array_equal(read_ids(tmp_path / "t.parquet", limit=8_500), np.arange(8_500))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (list_column([[1.0, 2.0], None]), "null in row 1"),
        (list_column([[1.0, 2.0], [3.0, None]]), "null number in row 1"),
        (list_column([[1.0, 2.0], [3.0]]), "1 dimensions in row 1, wanted 2"),
        (list_column([[]]), "empty vector in row 0"),
        (list_column([]), "no rows"),
        # Older Arrow does not read such a column at all.
        (list_column([[1.0, 2.0], None], pa.list_(pa.float32(), 2)), "null in row 1|column 'v' cannot be decoded"),
        (list_column([[1.0, 2.0], [1e300, 0.0]], pa.list_(pa.float64())), "1e\\+300 at row 1, dim 0"),
        (pa.array(["a"]), "no column holds vectors; columns: v"),
    ],
)
def test_parquet_refuses(tmp_path: Path, column: pa.Array, message: str) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"v": column}), path)
    with pytest.raises(ValueError, match=message) as caught:
        read_vectors(path)
    assert "t.parquet" in str(caught.value)


# Ids


def test_ids_come_from_any_integer_file(tmp_path: Path) -> None:
    ids = np.array([5, 2**40, -1])
    np.save(tmp_path / "ids.npy", ids)
    np.save(tmp_path / "column.npy", ids[:, None].astype(np.int64))
    write_columns(tmp_path / "ids.parquet", {"key": ids})
    for name in ("ids.npy", "column.npy", "ids.parquet"):
        got = read_ids(tmp_path / name)
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, ids)
    write_vectors(tmp_path / "ids.ivecs", np.arange(3)[:, None])
    np.testing.assert_array_equal(read_ids(tmp_path / "ids.ivecs"), [0, 1, 2])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0]), "dtype float64, wanted integers"),
        (np.array([2**63], np.uint64), "9223372036854775808, wanted at most"),
        (np.zeros((2, 2), int), r"shape \[2, 2\], wanted one id a row"),
    ],
)
def test_ids_refuse(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "ids.npy", array)
    with pytest.raises(ValueError, match=message):
        read_ids(tmp_path / "ids.npy")


# Damage


@pytest.mark.parametrize("suffix", DTYPES)
def test_every_truncation_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    array = np.random.default_rng(2).integers(0, 200, (9, 5)).astype(DTYPES[suffix])
    path = tmp_path / f"cut{suffix}"
    write_vectors(path, array)
    whole = path.read_bytes()
    row = 4 + 5 * array.dtype.itemsize
    for size in range(len(whole)):
        if suffix in (".fvecs", ".bvecs", ".ivecs") and size and size % row == 0:
            continue  # a whole number of rows is a legal file
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="cut"):
            read_vectors(path)


@settings(max_examples=150, deadline=None)
@given(
    suffix=st.sampled_from(sorted(DTYPES)),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_flipped_bytes_never_crash(suffix: str, flips: list[tuple[int, int]]) -> None:
    """A flipped byte gives other numbers or a ValueError, nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"flipped{suffix}"
        write_vectors(path, np.arange(60).reshape(12, 5).astype(DTYPES[suffix]))
        content = bytearray(path.read_bytes())
        for at, bits in flips:
            content[at % len(content)] ^= bits
        path.write_bytes(content)
        try:
            assert read_vectors(path, mmap=False).ndim == 2
        except ValueError as error:
            assert "flipped" in str(error)


def test_row_of_another_dimension_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mixed.fvecs"
    path.write_bytes(struct.pack("<iffiff", 2, 0, 0, 3, 0, 0))
    with pytest.raises(ValueError, match=r"mixed.fvecs: got dimension 3 in row 1, wanted 2"):
        read_vectors(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4, np.float32), r"shape \[4\], wanted vectors"),
        (np.zeros((0, 4), np.float32), "at least one vector"),
        (np.zeros((4, 0), np.float32), "at least one dimension"),
        (np.zeros((2, 2), np.complex64), "complex64, wanted real numbers"),
        (np.array([["a"]]), "wanted real numbers"),
        (np.array([[None]]), "not a readable .npy"),
        (np.array([[0.0, 1e39]]), "row 0, dim 1"),
    ],
)
def test_npy_refuses(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "bad.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=message) as caught:
        read_vectors(tmp_path / "bad.npy")
    assert "bad.npy" in str(caught.value)


def test_infinities_of_the_file_are_passed_on(tmp_path: Path) -> None:
    np.save(tmp_path / "inf.npy", np.array([[np.inf, np.nan]]))
    np.testing.assert_array_equal(read_vectors(tmp_path / "inf.npy"), np.array([[np.inf, np.nan]], np.float32))


def test_wrong_paths_and_arguments(tmp_path: Path, x: np.ndarray) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.npy"):
        read_vectors(tmp_path / "none.npy")
    with pytest.raises(ValueError, match=r"'\.csv', wanted one of \.npy"):
        read_vectors(tmp_path / "x.csv")
    write_vectors(tmp_path / "x.npy", x)
    with pytest.raises(ValueError, match="limit: got 0"):
        read_vectors(tmp_path / "x.npy", limit=0)
    with pytest.raises(ValueError, match="column: got 'v'"):
        read_vectors(tmp_path / "x.npy", column="v")
    np.savez(tmp_path / "z.npz", x)
    (tmp_path / "z.npz").rename(tmp_path / "z.npy")
    with pytest.raises(ValueError, match=r"\.npz archive"):
        read_vectors(tmp_path / "z.npy")


# Writing


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("a.ivecs", np.array([[2**31]])),
        ("a.bvecs", np.array([[256]])),
        ("a.bvecs", np.array([[0.5]])),
        ("a.bvecs", np.array([[-1]])),
        ("a.ivecs", np.array([[np.nan]])),
        ("a.fvecs", np.array([[1e300]])),
        ("a.fvecs", np.array([[2**24 + 1]])),
    ],
)
def test_a_value_the_format_cannot_hold_leaves_the_old_file(tmp_path: Path, name: str, array: np.ndarray) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="cannot hold"):
        write_vectors(path, array)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("suffix", [".npy", ".fvecs", ".parquet"])
def test_blocks_make_the_same_file_as_one_array(tmp_path: Path, x: np.ndarray, suffix: str) -> None:
    with VectorWriter(tmp_path / f"blocks{suffix}", 70, 12, np.float32) as writer:
        for start in range(0, 70, 32):
            writer.append(x[start : start + 32])
    np.testing.assert_array_equal(read_vectors(tmp_path / f"blocks{suffix}"), x)


def test_too_few_or_too_many_rows_leave_no_file(tmp_path: Path, x: np.ndarray) -> None:
    for rows in (9, 11):
        with pytest.raises(ValueError, match=f"got 10 rows, wanted {rows}"):  # noqa: SIM117
            with VectorWriter(tmp_path / "a.npy", rows, 12, np.float32) as writer:
                writer.append(x[:10])
    assert not list(tmp_path.iterdir())


def test_writing_into_a_missing_folder(tmp_path: Path, x: np.ndarray) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write_vectors(tmp_path / "no" / "x.npy", x)
