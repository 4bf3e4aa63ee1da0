"""Factors in 1, 2 and 4 bytes: what a byte stands for, who chooses, and that nothing is clipped in silence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bebr
from bebr.binarizer.factors import ByteCode, stored
from tests.conftest import clustered

byte_codes = st.integers(1, 124).flatmap(
    lambda step: st.builds(ByteCode, st.integers(0, 0x7C00 - 1 - 255 * step), st.just(step))
)


@given(byte_codes, st.lists(st.floats(0, 65504, width=32), max_size=50))
def test_a_byte_is_the_nearest_of_256_rising_values(code, numbers):
    factors = np.array(numbers, np.float32)
    assert np.isfinite(code.values).all() and (np.diff(code.values) > 0).all()
    np.testing.assert_array_equal(code.nearest(code.values), np.arange(256))
    error = np.abs(code.values[code.nearest(factors)].astype(np.float64) - factors)
    np.testing.assert_array_equal(error, np.abs(code.values.astype(np.float64) - factors[:, None]).min(axis=1))


@pytest.mark.parametrize(("low", "step"), [(0, 0), (-1, 1), (0, 125), (0x7C00 - 255, 1)])
def test_a_code_that_leaves_the_finite_numbers_is_refused(low, step):
    with pytest.raises(ValueError, match=f"low {low}, step {step}"):
        ByteCode(low, step)


def test_a_line_and_a_logarithm_are_the_same_code():
    line, log = ByteCode(0x3C00, 4).values, ByteCode(0x3C00, 40).values
    np.testing.assert_array_equal(line, 1 + np.arange(256) / 256)
    ratios = log[1:] / log[:-1]
    assert ratios.min() > 1.019 and ratios.max() < 1.04


@pytest.fixture(scope="module")
def small(vectors) -> dict[int, bebr.Binarizer]:
    """By bytes of the factor, with planes of 48 and 24 bits; read only."""
    return {size: bebr.train(vectors[:600], widths=[48, 24], factor_bytes=size, rounds=2) for size in (1, 2, 4)}


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_bytes_of_the_factor_count_and_fewer_are_coarser(vectors, metric):
    x = vectors if metric == "cosine" else vectors * np.linspace(0.5, 3, len(vectors), dtype=np.float32)[:, None]
    errors = []
    for factor_bytes, dtype in ((1, np.uint8), (2, np.float16), (4, np.float32)):
        bz = bebr.train(x, widths=[48, 24], metric=metric, factor_bytes=factor_bytes, rounds=0)
        assert bz.bytes_per_vector == 9 + factor_bytes and bz.settings.factor_bytes == factor_bytes
        codes = bz.encode(x)
        assert codes.factors.dtype == dtype
        exact, kept = bz.exact_factors(x, codes.planes), bz.factor_values(codes)
        errors.append(float(np.abs(kept - exact).max() / np.ptp(exact)))
    assert errors[2] == 0 < errors[1] < errors[0] < 1 / 255


def test_a_factor_of_the_stage_follows_the_width(vectors, queries):
    for metric in ("cosine", "l2"):
        plain = bebr.train(vectors, widths=[48, 24], metric=metric, factor_bytes=4, rounds=2)
        exact = _with_stage_factor(plain, vectors, 4)
        small = _with_stage_factor(plain, vectors, 1)
        assert small.bytes_per_vector == 9 + 2 and small.encode(vectors).factors.shape == (3000, 2)
        want, got = (bebr.FlatIndex(bz) for bz in (exact, small))
        for index in (want, got):
            index.add(vectors)
        same = got.search(queries, 10, oversampling=20).ids == want.search(queries, 10, oversampling=20).ids
        assert same.mean() > 0.8


def _tensors(bz: bebr.Binarizer) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    return load(bz.to_bytes())


def _with_stage_factor(bz: bebr.Binarizer, x: np.ndarray, factor_bytes: int) -> bebr.Binarizer:
    from bebr.training.linear.factors import fit_factors

    config = fit_factors(_tensors(bz), bz.config | {"stage_factor": True}, x, factor_bytes)
    return bebr.Binarizer.from_tensors(_tensors(bz), config)


def test_training_takes_one_byte_where_it_pays():
    """Steep spectrum and few bytes: one more byte of planes is worth more than the factor's precision."""
    x = clustered(6000, 64)
    chosen = bebr.train(x, bytes_per_vector=10, rounds=0)
    assert chosen.settings.factor_bytes == 1 and chosen.bytes_per_vector == 10
    assert bebr.train(x, widths=[48, 16], rounds=0).settings.factor_bytes == 2


def test_lengths_that_fp16_cannot_hold_get_four_bytes(vectors, queries):
    """Lengths over twelve powers of ten: the smallest are below what fp16 tells apart."""
    x = vectors * np.logspace(-12, 0, len(vectors), dtype=np.float32)[:, None]
    bz = bebr.train(x, widths=[64, 64], metric="ip", rounds=1)
    assert bz.settings.factor_bytes == 4
    codes = bz.encode(x)
    np.testing.assert_array_equal(bz.factor_values(codes), bz.exact_factors(x, codes.planes))
    assert bebr.train(vectors, widths=[64, 64], metric="ip", rounds=1).settings.factor_bytes == 2


def test_units_of_length_change_no_answer(vectors, queries):
    """Squared lengths of 1e12, far above fp16's 65,504, are scaled to fit."""
    x = vectors * np.linspace(0.5, 2, len(vectors), dtype=np.float32)[:, None]
    ids = []
    for unit in (1, 2.0**20):
        bz = bebr.train(x * unit, widths=[64, 32], metric="l2", rounds=4)
        assert bz.settings.factor_bytes == 2
        index = bebr.FlatIndex(bz)
        index.add(x * unit)
        ids.append(index.search(queries * unit, 10).ids)
    assert (ids[0] == ids[1]).mean() > 0.95


def test_a_factor_out_of_reach_is_refused_not_clipped():
    values = np.array([1, 2, 1e6], np.float32)
    with pytest.raises(ValueError, match=r"x\[2\] has a factor of 1e\+06, and 2 bytes hold .* factor_bytes=4"):
        stored(values, 2, None)
    assert stored(values, 4, None).dtype == np.float32
    code = ByteCode(0x3C00, 4)
    with pytest.warns(RuntimeWarning, match=r"1 of 3 factors lie far outside .*x\[2\]: 1e\+06"):
        np.testing.assert_array_equal(stored(values, 1, code), [0, 255, 255])


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"factor_bytes": 3}, "factor_bytes is 3: want 1, 2 or 4"),
        ({"factor_bytes": 1}, "factor_code is None"),
        ({"factor_bytes": 1, "factor_code": {"low": 5}}, "factor_code is {'low': 5}"),
        ({"factor_code": {"low": 5, "step": 1}}, "factor_code goes with factor_bytes=1"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(small, extra, message):
    bz = small[2]
    with pytest.raises(ValueError, match=message):
        bebr.Binarizer.from_tensors(_tensors(bz), bz.config | extra)


def test_codes_of_another_width_are_refused(small, vectors):
    one, two = small[1], small[2]
    with pytest.raises(ValueError, match="codes have factors of float16: want uint8"):
        bebr.FlatIndex(one).add_codes(two.encode(vectors[:3]), [0, 1, 2])
    with pytest.raises(ValueError, match="factor_bytes is 3"):
        bebr.train(vectors, widths=[16], factor_bytes=3)


@pytest.mark.parametrize("factor_bytes", [1, 4])
@pytest.mark.parametrize("mmap", [False, True])
def test_every_width_survives_the_file(small, vectors, queries, tmp_path, factor_bytes, mmap):
    index = bebr.FlatIndex(small[factor_bytes])
    index.add(vectors)
    index.remove(np.arange(0, 3000, 3))
    index.save(tmp_path / "x.bebr")
    again = bebr.open_index(tmp_path / "x.bebr", mmap=mmap, verify=True)
    for one, other in zip(index.search(queries, 10), again.search(queries, 10), strict=True):
        np.testing.assert_array_equal(one, other)
    by_id = [c.factors[np.argsort(ids)] for c, ids in (index.codes(), again.codes())]
    np.testing.assert_array_equal(*by_id)
