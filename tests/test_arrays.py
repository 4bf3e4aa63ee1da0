"""Arrays from outside: what is scaled to unit length has it, however large or small its numbers are."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import bebr
from bebr import _core
from bebr.arrays import as_radius, as_vectors, normalized


@pytest.mark.parametrize("scale", [1e-37, 1e-30, 1e-20, 1e-3, 1.0, 1e25, 3e37])
def test_large_and_tiny_rows_are_scaled_like_others(scale):
    x = np.random.default_rng(0).uniform(0.5, 1, (3, 16)).astype(np.float32)
    expected = x / np.linalg.norm(x, axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(normalized(x * np.float32(scale)), expected, rtol=1e-5)


def test_rows_of_ordinary_size_do_not_depend_on_large_ones():
    x = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    mixed = np.vstack([x, np.full((1, 16), 1e30, np.float32), np.zeros((1, 16), np.float32)])
    np.testing.assert_array_equal(normalized(mixed)[:3], normalized(x))
    np.testing.assert_array_equal(normalized(mixed)[4], np.zeros(16))


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-19, 1.0, 1e19, 1e30])
def test_a_row_alone_is_scaled_as_among_others_to_the_bit(scale):
    x = np.random.default_rng(2).standard_normal((200, 37)).astype(np.float32) * np.float32(scale)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = np.concatenate([normalized(row[None]) for row in x])
    np.testing.assert_array_equal(alone, normalized(x))


def test_what_is_not_finite_is_an_error_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bad, dtype in ([np.inf, -np.inf], "f4"), ([np.nan, 0], "f4"), ([1e39, 0], "f8"):
            with pytest.raises(ValueError, match="want finite numbers"):
                as_vectors(np.array([bad * 8], dtype), "x")


PLAIN = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(("x", "rows"), [(PLAIN[1], [1]), (PLAIN, [0, 1, 2]), (PLAIN[1:], [1, 2])])
def test_a_few_plain_vectors_are_taken_without_a_copy(x, rows):
    taken = _core.few_vectors(x, 4)
    assert np.shares_memory(taken, x)
    np.testing.assert_array_equal(taken, PLAIN[rows])
    np.testing.assert_array_equal(as_vectors(x, "x", 4), taken)


def misaligned() -> np.ndarray:
    return np.frombuffer(b"." + PLAIN[1].tobytes(), np.float32, offset=1)


@pytest.mark.parametrize(
    "x",
    [
        *(PLAIN[1].astype(kind) for kind in ("f2", "f8", "i4", ">f4")),
        *(np.asfortranarray(PLAIN), np.repeat(PLAIN, 2, axis=1)[1, ::2], misaligned(), PLAIN[1].tolist()),
    ],
    ids=["half", "double", "whole", "swapped", "fortran", "strided", "misaligned", "list"],
)
def test_what_is_laid_out_otherwise_is_copied(x):
    assert _core.few_vectors(x, 4) is None
    found = as_vectors(x, "x", 4)
    assert found.flags.c_contiguous and found.dtype == np.float32
    np.testing.assert_array_equal(found, np.atleast_2d(np.asarray(x)))


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_found_wherever_they_are(bad):
    for at in range(12):
        x = np.full(12, np.finfo(np.float32).max, np.float32)
        assert _core.few_vectors(x, 12) is not None
        x[at] = bad
        assert _core.few_vectors(x, 12) is None


MANY = np.zeros((2049, 4), np.float32)


@pytest.mark.parametrize("x", [np.float32(1), PLAIN[None], PLAIN[:, :3], PLAIN[:0], MANY, None])
def test_what_has_another_shape_is_not_taken(x):
    assert _core.few_vectors(x, 4) is None


def test_what_numpy_cannot_read_is_named():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"x cannot be read as an array .Can't call numpy"):
        as_vectors(torch.ones(2, 8, requires_grad=True), "x", 8)
    with pytest.raises(ValueError, match=r"x cannot be read as an array .*BFloat16.*: want float32"):
        bebr.train(torch.ones(2, 8, dtype=torch.bfloat16), bytes_per_vector=4)
    with pytest.raises(ValueError, match="x has rows of different lengths: want"):
        bebr.train([[1.0, 2.0], [3.0]], bytes_per_vector=4)


@pytest.mark.parametrize("radius", [np.nan, np.inf, 2**2000, "0.5", True, None, [0.5], np.array([0.5, 0.6])])
def test_a_radius_is_one_finite_number(radius):
    with pytest.raises(ValueError, match=r"radius is .*: want a finite number"):
        as_radius(radius)


@pytest.mark.parametrize("radius", [0.5, np.float32(0.5), np.array(0.5), np.int64(3)])
def test_any_number_is_a_radius(radius):
    assert as_radius(radius) == float(radius)
    assert np.isfinite(np.float32(as_radius(1e300))) and as_radius(-1e300) == -as_radius(1e300)
