"""Before there is data, and with little of it: `bebr.untrained`, and what `bebr.train` makes of few rows."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest

import bebr
from bebr.exact import exact
from bebr.training.linear import shrinkage
from bebr.training.linear.shrinkage import _monotone, are_few, filled_up
from tests.conftest import clustered, recall

METRICS = ("cosine", "ip", "l2")


def found(bz: bebr.Binarizer, base: np.ndarray, queries: np.ndarray) -> float:
    """Recall@10 of a flat index over `base`."""
    index = bebr.FlatIndex(bz)
    index.add(base)
    return recall(index.search(queries, 10).ids, exact(base, queries, 10, bz.metric))


def scaled_to(scale: float) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal((300, 16)) * scale).astype(np.float32)


# Without data


def test_a_model_without_data_searches_at_once():
    bz = bebr.untrained(64, 34)
    index = bebr.FlatIndex(bz)
    index.add(np.eye(64, dtype=np.float32)[:3])  # three rows, e_0 to e_2
    assert index.search(np.eye(64, dtype=np.float32)[1], 1).ids.tolist() == [[1]]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [1, 2, 3, 6, 7, 8, 9, 50])
def test_every_dimension_from_one_up(dim, metric):
    rng = np.random.default_rng(dim)
    x = rng.standard_normal((200, dim)).astype(np.float32) / np.sqrt(dim)
    bz = bebr.untrained(dim, 2 + 8 * -(-dim // 8), metric=metric)
    assert bz.input_dim == dim
    if dim > 1:  # on a line, cosine knows two directions, and ties decide
        assert found(bz, x, x[:20]) > 0.9


def test_a_larger_budget_recalls_more(vectors, queries):
    base = vectors - vectors.mean(axis=0)
    reached = [found(bebr.untrained(64, size), base, queries - vectors.mean(axis=0)) for size in (6, 10, 18, 34, 66)]
    assert reached == sorted(reached)
    assert reached[-1] > 0.95


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size", [34, 66])
def test_the_sign_plane_lets_near_rows_through(metric, size):
    """Lists of one query at a time find what a scan of whole codes does."""
    x = clustered(20_060, 128)
    base, queries = x[:20_000], x[20_000:]
    index = bebr.IVFIndex(bebr.untrained(128, size, metric=metric), nlist=16)
    index.train(base)
    index.add(base)
    whole = index.search(queries, 10, nprobe=16, margin="exact").ids
    single = np.concatenate([index.search(q[None], 10, nprobe=16).ids for q in queries])
    assert recall(single, whole) > 0.98


def test_every_dimension_has_equally_many_bits_as_far_as_they_go():
    assert bebr.untrained(384, 52).widths == (384, 16)
    assert bebr.untrained(300, 100).widths == (304, 304, 176)
    assert bebr.untrained(1536, 52).widths == (400,)  # fewer bits than dimensions: so many random projections


def test_bytes_are_those_asked_for_and_the_seed_decides_the_rest(vectors):
    for size in (3, 10, 13, 66):
        assert bebr.untrained(64, size).bytes_per_vector == size
    first, same, other = (bebr.untrained(64, 18, seed=seed) for seed in (1, 1, 2))
    assert first.digest == same.digest != other.digest


def test_decoding_gives_the_vector_back(queries):
    bz = bebr.untrained(64, 66)
    np.testing.assert_allclose(bz.decode(bz.encode(queries)), queries, atol=0.1)


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_norm_is_the_length_that_steps_are_set_for(metric):
    x = clustered(1000, 32, seed=3) * np.float32(1000)
    x -= x.mean(axis=0)
    length = float(np.linalg.norm(x, axis=1).mean())
    right = found(bebr.untrained(32, 18, metric=metric, norm=length), x, x[:50])
    assert right > found(bebr.untrained(32, 18, metric=metric, norm=length / 100), x, x[:50]) + 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, "dim is 0: want a whole number from 1 to 4096"),
        ({"dim": 4097}, "dim is 4097"),
        ({"dim": 8.0}, r"dim is 8\.0"),
        ({"dim": True}, "dim is True"),
        ({"bytes_per_vector": 2}, "bytes_per_vector is 2: want 3 to 66 for 64 dimensions"),
        ({"bytes_per_vector": 67}, "bytes_per_vector is 67: want 3 to 66 for 64 dimensions"),
        ({"metric": "dot"}, "metric is 'dot': want one of cosine, ip, l2"),
        ({"metric": "l2", "norm": 0}, "norm is 0: want a finite number above 0"),
        ({"metric": "l2", "norm": 1e-20}, "norm is 1e-20: want 1e-16 to"),
        ({"metric": "l2", "norm": float("inf")}, "norm is inf"),
        ({"seed": 0.5}, "seed is 0.5: want an integer"),
        ({"bytes_per_vector": 10.5}, "bytes_per_vector is 10.5: want an integer"),
        ({"norm": 2.0}, "norm is 2.0: want 1 with metric='cosine'"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        bebr.untrained(**{"dim": 64, "bytes_per_vector": 18} | arguments)


# With little data


@pytest.fixture
def quick(monkeypatch):
    """A tenth of the Gaussian rows, for tests of what does not depend on how many there are."""
    monkeypatch.setattr(shrinkage, "_DRAWN", 512)
    monkeypatch.setattr(shrinkage, "_DRAWN_PER_DIM", 0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_one_to_three_rows_are_enough(quick, rows, metric, vectors, queries):
    bz = bebr.train(vectors[:rows], bytes_per_vector=18, metric=metric, rounds=2)
    assert bz.config["trust"]["rows"] == rows
    assert found(bz, vectors, queries) > 0.4


def test_few_rows_are_no_worse_than_none(vectors):
    queries = clustered(300, 64, seed=9)
    none = found(bebr.untrained(64, 18), vectors, queries)
    for rows in (10, 200):
        few = bebr.train(vectors[:rows], bytes_per_vector=18, factor_bytes=2, rounds=2)
        assert found(few, vectors, queries) > none - 0.03


def test_copies_of_one_row_are_not_taken_for_all_data(quick, vectors, queries):
    bz = bebr.train(np.repeat(vectors[:1], 3, axis=0), bytes_per_vector=18, rounds=2)
    assert found(bz, vectors, queries) > found(bebr.untrained(64, 18), vectors, queries) - 0.1


def test_a_model_says_how_far_it_trusts_its_data(quick, vectors, caplog):
    with caplog.at_level(logging.INFO, "bebr.training"):
        few, more = (bebr.train(vectors[:rows], bytes_per_vector=10, rounds=0) for rows in (10, 200))
    assert few.config["trust"].keys() == {"rows", "mean", "covariance"}
    for share in ("mean", "covariance"):
        assert 0 <= few.config["trust"][share] < more.config["trust"][share] <= 1
    assert bebr.untrained(64, 10).config["trust"] == {"rows": 0, "mean": 0.0, "covariance": 0.0}
    assert "trust" not in bebr.train(vectors[:256], bytes_per_vector=10, rounds=0).config  # 4 rows a dimension
    assert "10 vectors are few for 64 dimensions" in caplog.text


def test_factors_of_few_rows_take_two_bytes(quick, vectors):
    assert bebr.train(vectors[:30], bytes_per_vector=18, rounds=0).settings.factor_bytes == 2
    assert bebr.train(vectors[:30], bytes_per_vector=18, factor_bytes=1, rounds=0).settings.factor_bytes == 1
    assert bebr.train(vectors[:30], bytes_per_vector=2, rounds=0).settings.factor_bytes == 1  # no room for two


@pytest.mark.parametrize("metric", METRICS)
def test_rows_filled_up_keep_their_mean_length_and_their_strong_directions(metric):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((60, 20)) * np.linspace(2, 0.2, 20) + 1).astype(np.float32)
    assert are_few(x)
    filled, trust = filled_up(x, metric, seed=0)
    assert len(filled) == 60 + 4096
    np.testing.assert_array_equal(filled[:60], x)
    drawn = filled[60:]
    assert np.square(drawn).sum(axis=1).mean() == pytest.approx(np.square(x).sum(axis=1).mean(), rel=0.1)
    assert drawn.std(axis=0)[:5].min() > drawn.std(axis=0)[-5:].max()
    assert trust.mean == (1 if metric == "l2" else pytest.approx(0.9, abs=0.06))


def test_variances_that_are_all_noise_come_out_equal():
    x = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)
    _, trust = filled_up(x, "l2", seed=0)
    assert trust.covariance < 0.2


def test_pools_make_a_sequence_descend():
    np.testing.assert_allclose(_monotone(np.array([5.0, 1.0, 3.0, 2.0, 2.0])), [5, 2, 2, 2, 2])


# Whatever the unit of vectors


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_unit_of_vectors_does_not_matter(metric, scale):
    for x in (scaled_to(1), scaled_to(scale)):
        index = bebr.FlatIndex(bebr.train(x, widths=[16, 16, 16, 16], metric=metric, seed=0))
        index.add(x)
        scores, ids = index.search(x, 1)
        if metric == "l2":
            assert (ids[:, 0] == np.arange(300)).all() and (scores[:, 0] < 0.1 * (x * x).sum(axis=1)).all()
        else:
            assert (ids[:, 0] == (x @ x.T).argmax(axis=1)).mean() > 0.95


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_vectors_whose_squares_are_no_float32_are_refused_without_a_warning(metric):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scale in (1e25, 1e-30):
            with pytest.raises(ValueError, match=r"length of the longest of x is .*: want 1e-16 to 1e"):
                bebr.train(scaled_to(scale), widths=[16], metric=metric)
        x = scaled_to(1)
        x[7] *= 1e30
        with pytest.raises(ValueError, match="length of the longest of x"):
            bebr.train(x, widths=[16], metric=metric)
        if metric == "ip":
            with pytest.raises(ValueError, match=r"x\[7\] has a factor of inf, .*: scale the vectors"):
                bebr.untrained(16, 8, metric="ip").encode(x)
            x[7] /= 1e23
            with pytest.raises(
                ValueError, match=r"with factor_bytes=4 or on .* give bebr.untrained their length, norm="
            ):
                bebr.untrained(16, 8, metric="ip").encode(x)
