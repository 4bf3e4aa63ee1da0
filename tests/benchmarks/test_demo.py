"""The demonstration from end to end, server and all, with made-up vectors in place of the encoder's."""

from __future__ import annotations

import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import bebr
from bebr import tradeoff
from benchmarks import demo, sources


class Hashing:
    """A producer that needs no model: a text's vector is the sum of its words' vectors."""

    name, version = "hashing", "1"

    def embed(self, items, batch_size=64, progress=None):
        rows = []
        for item in items:
            words = [word.strip("?.:,").lower() for word in item.split()]
            rows.append(sum(np.random.default_rng([*word.encode(), 1]).standard_normal(384) for word in words))
        x = np.array(rows, dtype=np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def documents(monkeypatch):
    words = ["merge", "sorted", "lists", "gzip", "compress", "data", "solve", "linear", "options", "parse", "gradients"]
    drawn = np.random.default_rng(0)
    texts = [
        " ".join(drawn.choice(words, 5)) + f" {number}" for number in range(1_600)
    ]  # four a dimension and more: none is drawn beside
    found = [sources.Document(f"package.{number}", text, text) for number, text in enumerate(texts)]
    found[7] = sources.Document("heapq.merge", "merge two sorted lists", "how do I merge two sorted lists")
    monkeypatch.setattr(sources, "docstrings", lambda: found)
    # One budget and one round: the demonstration's own four train sixteen models, which is the time and not the point.
    monkeypatch.setattr(demo, "sweep", partial(demo.sweep, bytes=(24,)))
    monkeypatch.setattr(tradeoff, "ROUNDS", 1)
    monkeypatch.setattr(bebr, "train", partial(bebr.train, rounds=1))
    monkeypatch.setitem(sys.modules, "bebr.models", SimpleNamespace(load=lambda name, **options: Hashing()))
    return found


def test_the_demonstration_answers_and_reports(documents, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the picture needs it: pip install matplotlib")
    assert demo.main(["--output", str(tmp_path / "demo")]) == 0
    out = capsys.readouterr().out
    assert "heapq.merge" in out.partition("how do I merge two sorted lists?")[2].splitlines()[1]
    assert "bytes per vector: 52, floats would take 1536: compression 29.5 times" in out
    assert "float query (ADC): 0." in out and "coded query (SDC): 0." in out
    assert (tmp_path / "demo" / "tradeoff.png").read_bytes().startswith(b"\x89PNG")
    with bebr.open(tmp_path / "demo" / "data") as db:
        assert len(db.collection("docstrings")) == 1_600


def test_a_server_that_cannot_start_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RuntimeError, match="the server did not start"), demo.server(tmp_path / "file"):
        pass


def test_missing_documents_are_named(monkeypatch, tmp_path, capsys):
    def absent():
        raise sources.MissingSource("docstrings: torch is absent: pip install torch")

    monkeypatch.setattr(sources, "docstrings", absent)
    assert demo.main(["--output", str(tmp_path)]) == 1
    assert "pip install torch" in capsys.readouterr().out
