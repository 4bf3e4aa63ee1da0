"""Training by the closed form, the file, and what a binarizer promises."""

from __future__ import annotations

import copy
import gc
import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import save

import bebr
from tests.conftest import clustered, recall


@pytest.fixture(scope="module")
def models(vectors) -> dict[int, bebr.Binarizer]:
    """By bytes of a vector; read only."""
    return {size: bebr.train(vectors, bytes_per_vector=size, rounds=8) for size in (10, 18, 34)}


@pytest.fixture(scope="module")
def bz(models) -> bebr.Binarizer:
    """Of 18 bytes; read only."""
    return models[18]


def exact(x: np.ndarray, q: np.ndarray, metric: str, k: int = 10) -> np.ndarray:
    scores = q @ x.T
    if metric == "cosine":
        scores = scores / np.linalg.norm(x, axis=1)
    if metric == "l2":
        scores = 2 * scores - (x**2).sum(1)
    return np.argsort(-scores, axis=1)[:, :k]


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("norms", ["unit", "spread"])
def test_recall_rises_with_bytes(vectors, queries, metric, norms):
    x = vectors[:1000] * (1 if norms == "unit" else np.linspace(0.5, 2, 1000, dtype=np.float32)[:, None])
    found = {}
    for size in (10, 18, 34, 66):
        bz = bebr.train(x, bytes_per_vector=size, factor_bytes=2, metric=metric, rounds=4)
        assert bz.bytes_per_vector == size
        index = bebr.FlatIndex(bz)
        index.add(x)
        found[size] = recall(index.search(queries, 10).ids, exact(x, queries, metric))
    assert found[10] < found[18] < found[34] < found[66], found
    assert found[66] > 0.96, found


def test_the_query_may_be_coded_too(models, vectors, queries):
    index = bebr.FlatIndex(models[34])
    index.add(vectors)
    truth = exact(vectors, queries, "cosine")
    adc, sdc = (recall(index.search(queries, 10, query=mode).ids, truth) for mode in ("float", "code"))
    assert 0.6 < sdc < adc


def test_the_margin_holds_for_queries_that_come_alone(bz, vectors, queries):
    index = bebr.IVFIndex(bz, nlist=1)
    index.add(vectors)
    alone = np.concatenate([index.search(one, 10).ids for one in queries])
    assert recall(alone, index.search(queries, 10, margin="exact").ids) > 0.98


def test_widths_follow_the_spectrum_or_the_caller(vectors):
    ragged = bebr.train(vectors, bytes_per_vector=18, factor_bytes=2, rounds=1).widths
    assert sum(ragged) == 128 and list(ragged) == sorted(ragged, reverse=True) and len(ragged) > 1
    assert bebr.train(vectors[:300], dims=32, bits=2, rounds=1).widths == (32, 32)
    assert bebr.train(vectors[:300], widths=[40, 16], rounds=1).widths == (40, 16)
    flat = np.random.default_rng(0).standard_normal((2000, 32)).astype(np.float32)
    assert bebr.train(flat, bytes_per_vector=6, factor_bytes=2, metric="ip", rounds=1).widths == (
        32,
    )  # no direction deserves a second bit before all have one


def test_the_same_seed_gives_the_same_model(vectors):
    one, two, other = (bebr.train(vectors[:600], bytes_per_vector=18, seed=s) for s in (0, 0, 1))
    assert one.digest == two.digest != other.digest


def test_file_round_trip(vectors, tmp_path):
    bz = bebr.train(vectors[:300], bytes_per_vector=18, metric="l2")
    bz.save(tmp_path / "m.safetensors")
    again = bebr.Binarizer.load(tmp_path / "m.safetensors")
    assert again.digest == bz.digest and again.widths == bz.widths and again.metric == "l2"
    np.testing.assert_array_equal(again.encode(vectors).planes, bz.encode(vectors).planes)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_model_exists_once_in_a_process(vectors, tmp_path):
    data = bebr.train(vectors[:300], bytes_per_vector=18, rounds=0).to_bytes()
    model = bebr.Binarizer.from_bytes(data)
    (tmp_path / "m.safetensors").write_bytes(data)
    assert bebr.Binarizer.load(tmp_path / "m.safetensors") is model
    index = bebr.FlatIndex(model)
    index.save(tmp_path / "i.bebr")
    assert bebr.open_index(tmp_path / "i.bebr").binarizer is model
    digest = model.digest
    assert bebr.Binarizer.held(digest) is model
    del model, index
    gc.collect()
    assert bebr.Binarizer.held(digest) is None


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "angular"},
        {"widths": "many"},
        {"widths": None},
        {"input_dim": [64]},
        {"format": 9},
        {"survivors": 5, "architecture": 7},
        {"factor_bytes": 3},
    ],
    ids=str,
)
def test_a_configuration_of_another_kind_is_a_corrupt_file(bz, change):
    data = save(bz.tensors, metadata={"bebr": json.dumps(bz.config | change)})
    with pytest.raises(bebr.CorruptFile, match="the model"):
        bebr.Binarizer.from_bytes(data, "the model")


def test_damaged_model_files_are_refused(bz, tmp_path):
    path = tmp_path / "m.safetensors"
    bz.save(path)
    whole = path.read_bytes()
    for cut in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(bebr.CorruptFile, match=str(path)):
            bebr.Binarizer.load(path)
    with pytest.raises(FileNotFoundError):
        bebr.Binarizer.load(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("factor_bytes", [1, 2, 4])
def test_codes_travel_as_bytes(vectors, factor_bytes):
    bz = bebr.train(vectors[:300], bytes_per_vector=18, factor_bytes=factor_bytes, rounds=0)
    codes = bz.encode(vectors[:7])
    again = bebr.Codes.from_bytes(
        codes.to_bytes(), bz.settings.code_bytes, bz.settings.factor_count, bz.settings.factor_bytes
    )
    np.testing.assert_array_equal(again.planes, codes.planes)
    np.testing.assert_array_equal(again.factors, codes.factors)
    assert len(codes.to_bytes()) == 7 * bz.bytes_per_vector
    with pytest.raises(ValueError, match="want a multiple of 18"):
        bebr.Codes.from_bytes(b"123", bz.settings.code_bytes, bz.settings.factor_count, bz.settings.factor_bytes)


def test_decode_is_near_and_gets_nearer(models, vectors):
    errors = [
        np.mean((bz.decode(bz.encode(vectors)) - vectors) ** 2) / vectors.var()
        for bz in (models[size] for size in (10, 18, 34))
    ]
    assert errors[2] < errors[1] < errors[0] < 0.8


def test_awkward_data_trains():
    rng = np.random.default_rng(0)
    x = clustered(250, 24)
    constant = np.hstack([x, np.full((250, 8), 3, np.float32)])
    duplicated = np.hstack([x, x])
    low_rank = rng.standard_normal((250, 3)).astype(np.float32) @ rng.standard_normal((3, 40)).astype(np.float32)
    for data in (constant, duplicated, low_rank, x[:5], np.ones((50, 16), np.float32)):
        for metric in ("cosine", "l2"):
            bz = bebr.train(data, bytes_per_vector=5, metric=metric, rounds=8)
            index = bebr.FlatIndex(bz)
            index.add(data)
            assert np.isfinite(index.search(data[:3], 2).scores).all()


def test_zero_vectors_are_kept(bz, vectors):
    index = bebr.FlatIndex(bz)
    index.add(np.zeros((2, 64), np.float32))
    assert np.isfinite(index.search(vectors[:1], 2).scores).all()


def bad_training():
    yield {"x": np.ones((0, 64), np.float32), "bytes_per_vector": 10}, "0 vectors: want at least 1"
    yield {"x": np.ones((10, 0), np.float32), "bytes_per_vector": 3}, "0 dimensions: want 1 to 4096"
    yield {"x": np.ones(10, np.float32), "bytes_per_vector": 3}, r"shape \(10,\)"
    yield {"x": np.full((10, 8), np.nan, np.float32), "bytes_per_vector": 3}, "nan"
    yield {"bytes_per_vector": 1}, "want 2 to 65"
    yield {"bytes_per_vector": 1000}, "want 3 to 66"
    yield {}, "exactly one of bytes_per_vector"
    yield {"bytes_per_vector": 18, "widths": [8]}, "exactly one of bytes_per_vector"
    yield {"dims": 32}, "dims and bits together"
    yield {"widths": [12]}, r"widths\[0\] is 12"
    yield {"widths": [8, 16]}, r"widths\[1\] is 16"
    yield {"widths": [8] * 9}, "9 planes"
    yield {"bytes_per_vector": 18, "metric": "dot"}, "metric is 'dot'"
    yield {"bytes_per_vector": 18, "architecture": "cnn"}, "architecture is 'cnn'"
    yield {"bytes_per_vector": 18, "hidden": 8}, "unknown option 'hidden'"
    yield {"bytes_per_vector": "18"}, "bytes_per_vector is '18': want an integer"
    yield {"bytes_per_vector": 18.5}, "bytes_per_vector is 18.5: want an integer"
    yield {"dims": 64, "bits": 2.0}, "bits is 2.0: want an integer"
    yield {"widths": 64}, "widths is 64: want the bits of each plane"
    yield {"bytes_per_vector": 18, "seed": 1.5}, "seed is 1.5: want an integer"
    yield {"bytes_per_vector": 18, "seed": -1}, "seed is -1: want an integer of at least 0"


@pytest.mark.parametrize(("arguments", "message"), list(bad_training()))
def test_bad_training_arguments_are_named(vectors, arguments, message):
    arguments = {"x": vectors, **arguments}
    with pytest.raises(ValueError, match=message):
        bebr.train(arguments.pop("x"), **arguments)


@pytest.mark.parametrize("factor_bytes", [1, 2, 4])
@pytest.mark.parametrize("length", [0, 1e-12, 1e-9, 3e8])
def test_lengths_whose_squares_are_far_from_one_are_held(vectors, length, factor_bytes):
    x = vectors[:500] / np.linalg.norm(vectors[:500], axis=1, keepdims=True) * np.float32(length)
    bz = bebr.train(x, bytes_per_vector=34, metric="l2", factor_bytes=factor_bytes)
    index = bebr.FlatIndex(bz)
    index.add(x)
    found = index.search(x[:50], 1).ids[:, 0]
    assert (found == np.arange(50)).mean() > 0.9 if length else (found == 0).all()


def test_tensors_of_the_wrong_shape_are_named():
    config = {"architecture": "linear", "widths": [16], "metric": "ip", "input_dim": 16}
    square = np.eye(16, dtype=np.float32)
    with pytest.raises(ValueError, match=r"encoder\.0\.weight is missing"):
        bebr.Binarizer.from_tensors({}, config)
    with pytest.raises(ValueError, match=r"decoder\.weight has shape \(8, 16\)"):
        bebr.Binarizer.from_tensors({"encoder.0.weight": square, "decoder.weight": square[:8]}, config)
    with pytest.raises(ValueError, match=r"unknown tensor 'fc\.weight'"):
        bebr.Binarizer.from_tensors({"encoder.0.weight": square, "fc.weight": square}, config)
    with pytest.raises(ValueError, match="no 'metric'"):
        bebr.Binarizer.from_tensors(
            {"encoder.0.weight": square}, {"architecture": "linear", "widths": [16], "input_dim": 16}
        )


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_is_the_same_model(bz, vectors, copied):
    again = copied(bz)
    assert again.digest == bz.digest
    codes = bz.encode(vectors[:5])
    for one in (again.encode(vectors[:5]), copied(codes)):
        np.testing.assert_array_equal(one.planes, codes.planes)
        np.testing.assert_array_equal(one.factors, codes.factors)
        assert type(one) is bebr.Codes


def test_an_unknown_attribute_is_refused(bz):
    with pytest.raises(AttributeError, match=r"Binarizer has no attribute 'widhts': it has .*widths.*; none can be"):
        bz.widhts = (8, 8)
    with pytest.raises(AttributeError, match="attribute 'metric' of Binarizer cannot be set"):
        bz.metric = "ip"
    assert bz.digest == bz.digest  # kept once it is computed
