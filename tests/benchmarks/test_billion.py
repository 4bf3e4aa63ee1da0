"""The billion benchmark at a few thousand rows: exact answers, rows made again, going on, figures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import billion
from benchmarks.mixture import BLOCK, Mixture


@pytest.fixture
def mixture(vectors):
    return Mixture.of(vectors[:, :32].copy(), 20, seed=0)


def taken(mixture: Mixture, start: int, rows: int) -> np.ndarray:
    blocks, found = mixture.blocks(start), np.empty((0, mixture.dim), np.float32)
    while len(found) < rows:
        found = np.concatenate([found, next(blocks)])
    return found[:rows]


def test_rows_are_the_same_from_wherever_they_are_made(mixture):
    x = taken(mixture, 0, 3 * BLOCK)
    np.testing.assert_array_equal(taken(mixture, BLOCK + 7, BLOCK), x[BLOCK + 7 : 2 * BLOCK + 7])
    ids = np.array([9000, 0, 4096, 9000, 4095])
    np.testing.assert_array_equal(mixture.rows(ids), x[ids])
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5)
    assert not np.isin(mixture.queries(100)[:, 0], x[:, 0]).any()


def test_the_mixture_has_the_spectrum_of_what_it_was_fitted_to(vectors):
    x = vectors[:, :32] / np.linalg.norm(vectors[:, :32], axis=1, keepdims=True)
    made = taken(Mixture.of(x, 20, seed=0), 0, 20_000)
    np.testing.assert_allclose(made.mean(axis=0), x.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(made.std(axis=0), x.std(axis=0), rtol=0.15)


def test_answers_are_exact_and_go_on_from_their_file(mixture, tmp_path):
    queries, x = mixture.queries(30), taken(mixture, 0, 20_000)
    truth = billion.Truth(queries, tmp_path / "t.npz", keep=5000)
    truth.look(0, x[:6000])
    truth.look(12_000, x[12_000:])  # past a gap: not looked at
    truth.look(3000, x[3000:9000])  # half of it was seen
    truth = billion.Truth(queries, tmp_path / "t.npz", keep=5000)  # a new life: what was kept is there
    assert truth.done == 6000
    truth.look(6000, x[6000:])
    exact = np.argsort(-(queries @ x.T), axis=1)[:, :10]
    assert np.mean([len(set(a) & set(b)) for a, b in zip(truth.ids, exact, strict=True)]) > 9.95  # but for rounding
    padded = np.concatenate([exact[:, ::-1], exact[:, :3] * 0 - 1], axis=1)
    answers, few = billion.rescored(mixture, queries, [padded, exact[:, :4]])
    assert np.mean(answers == exact) > 0.99 and np.mean(few[:, :4] == exact[:, :4]) > 0.99 and (few[:, 4:] == -1).all()


def test_the_command_measures_and_reads_what_it_measured(mixture, tmp_path, monkeypatch):
    monkeypatch.setattr(Mixture, "fitted", staticmethod(lambda dim, path, seed: mixture))
    monkeypatch.setattr(billion, "PROBES", (1, 64))
    arguments = ["--rows", "6e3", "--folder", str(tmp_path), "--bytes", "18", "--rescore", "100"]
    assert billion.main([*arguments, "--json", str(tmp_path / "r.json")]) == 0
    (row,) = json.loads((tmp_path / "r.json").read_text())["rows"]
    few, all_ = row["search"]
    assert row["rows"] == 6000 and row["nlist"] == 64 and row["bytes_per_vector"] == 18
    assert few["recall"] < all_["recall"] < all_["rescored_recall"] and all_["rescored_recall"] > 0.97
    assert sum(row["seconds"].values()) == pytest.approx(row["build_seconds"], rel=0.2)
    before = (tmp_path / "6000.json").read_text()
    assert billion.main(arguments) == 0
    assert (tmp_path / "6000.json").read_text() == before


def test_vectors_kept_in_the_index_are_rescored_from_there(mixture, tmp_path, monkeypatch):
    monkeypatch.setattr(Mixture, "fitted", staticmethod(lambda dim, path, seed: mixture))
    monkeypatch.setattr(billion, "PROBES", (64,))
    arguments = ["--rows", "6e3", "--folder", str(tmp_path), "--bytes", "18", "--rescore", "100", "--keep", "float16"]
    assert billion.main([*arguments, "--json", str(tmp_path / "r.json")]) == 0
    (row,) = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert row["keep"] == "float16" and row["search"][0]["rescored_recall"] > 0.97
    assert row["search"][0]["rescored_p50_ms"] > 0 and row["disk_bytes"] > 6000 * (18 + 2 * mixture.dim)
