"""Arrays from outside: what is scaled to unit length has it, however large its numbers are."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from bebr.arrays import as_vectors, normalized


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e25, 3e37])
def test_large_finite_rows_are_scaled_like_small_ones(scale):
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
        for bad in ([np.inf, -np.inf], [np.nan, 0]):
            with pytest.raises(ValueError, match="want finite numbers"):
                as_vectors(np.array([bad * 8], np.float32), "x")
