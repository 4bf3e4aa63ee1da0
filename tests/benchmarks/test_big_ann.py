"""The command over files of the big-ann benchmarks, with a few thousand rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import big_ann
from benchmarks.mixture import Mixture


@pytest.fixture
def folder(vectors, tmp_path, monkeypatch):
    mixture = Mixture.of(vectors[:, :32].copy(), 20, seed=0)
    monkeypatch.setattr(Mixture, "fitted", staticmethod(lambda dim, path: mixture))
    monkeypatch.setattr(big_ann, "PROBES", (1, 64))
    assert big_ann.main([str(tmp_path), "--make", "6e3"]) == 0
    return tmp_path


def test_files_are_those_of_the_project(folder):
    rows, dim = np.fromfile(folder / "base.fbin", "<u4", count=2).tolist()
    x = np.fromfile(folder / "base.fbin", "<f4", offset=8).reshape(rows, dim)
    asked = np.fromfile(folder / "queries.fbin", "<f4", offset=8).reshape(-1, dim)[:50]
    assert (rows, dim) == (6000, 32)
    truth = big_ann.read_truth(folder / "truth.ibin")
    exact = np.argsort(-(asked @ x.T), axis=1)[:, :10]
    assert np.mean([len(set(a) & set(b)) for a, b in zip(truth, exact, strict=False)]) > 9.9  # but for rounding


def test_an_index_is_built_and_asked(folder, capsys):
    arguments = [str(folder), "--bytes", "20", "--keep", "int8", "--json", str(folder / "out.json")]
    assert big_ann.main(arguments) == 0
    assert "recall 0.9:" in capsys.readouterr().out
    found = json.loads((folder / "out.json").read_text())
    assert found["rows"][-1]["recall"] > found["rows"][0]["recall"] and found["index"]["bytes"] == 20
    assert big_ann.main([str(folder), "--bytes", "4"]) == 1  # too few bits to find .9


def test_a_file_that_is_not_whole_or_not_there_is_named(folder):
    whole = (folder / "truth.ibin").read_bytes()
    (folder / "truth.ibin").write_bytes(whole[:-4])
    with pytest.raises(ValueError, match=r"truth.ibin: got \d+ bytes, wanted \d+"):
        big_ann.main([str(folder)])
    (folder / "truth.ibin").unlink()
    with pytest.raises(FileNotFoundError, match="no truth"):
        big_ann.main([str(folder)])
