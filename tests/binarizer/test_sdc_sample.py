"""The codes released with the paper's source (tests/data/bebr_sdc_sample), read by an adapter and searched by the
engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bebr
from bebr.binarizer.codes import PreparedQueries

SAMPLE = Path(__file__).parent / "data" / "bebr_sdc_sample"
DIMS = 128


def read(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, inverse norms and pairs c in 0..3 (uint8 [n, 128]) of a file; 4 pairs a byte, most significant first."""
    rows = np.loadtxt(SAMPLE / name, delimiter=",", skiprows=1)
    packed = rows[:, -32:].astype(np.uint8)
    pairs = np.stack([packed >> shift & 3 for shift in (6, 4, 2, 0)], axis=2).reshape(len(rows), DIMS)
    return rows[:, 0].astype(int), rows[:, 1], pairs


def codes_of(pairs: np.ndarray, inverse_norm: np.ndarray) -> bebr.Codes:
    """Two planes: the high bit of a pair is the sign plane."""
    planes = [np.packbits(pairs >> bit & 1, axis=1, bitorder="little") for bit in (1, 0)]
    return bebr.Codes(np.hstack(planes), inverse_norm.astype(np.float16)[:, None])


@pytest.fixture
def code_space() -> bebr.Binarizer:
    """The paper's scoring: no decoder, y = v_q. The encoder is never used here."""
    identity = np.eye(DIMS, dtype=np.float32)
    config = {"architecture": "linear", "widths": [DIMS, DIMS], "metric": "cosine", "input_dim": DIMS}
    return bebr.Binarizer.from_tensors({"encoder.0.weight": identity}, config)


@pytest.mark.parametrize(("norms", "expected"), [(True, 0.900), (False, 0.895)])
def test_recall_of_the_released_codes(code_space, norms, expected):
    query_labels, _, query_pairs = read("queries.csv")
    labels, inverse_norm, pairs = read("documents.csv")
    index = bebr.FlatIndex(code_space)
    index.add_codes(codes_of(pairs, inverse_norm if norms else np.ones(len(pairs))), np.arange(len(pairs)))
    y = (2 * query_pairs.astype(np.float32) - 3) / 2
    nothing = np.zeros(len(y), np.float32)
    hits = index.search_prepared(PreparedQueries(y, nothing, None, nothing, y), 20, exact=True)
    found = sum(np.count_nonzero(labels[ids] == label) for ids, label in zip(hits.ids, query_labels, strict=True))
    assert found / 200 == pytest.approx(expected)


def test_scores_are_the_exact_integers_of_the_paper(code_space):
    _, _, query_pairs = read("queries.csv")
    _, _, pairs = read("documents.csv")
    index = bebr.FlatIndex(code_space)
    index.add_codes(codes_of(pairs, np.ones(len(pairs))), np.arange(len(pairs)))
    y = (2 * query_pairs.astype(np.float32) - 3) / 2
    nothing = np.zeros(len(y), np.float32)
    hits = index.search_prepared(PreparedQueries(y, nothing, None, nothing, y), len(pairs), exact=True)
    want = (2 * query_pairs.astype(int) - 3) @ (2 * pairs.astype(int) - 3).T / 4
    np.testing.assert_array_equal(hits.scores, np.take_along_axis(want, hits.ids, axis=1))
