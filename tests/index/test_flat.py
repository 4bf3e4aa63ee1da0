"""FlatIndex against a naive model: every score reckoned in numpy from the decoded code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bebr
from tests.conftest import model_of


@pytest.fixture(
    scope="module",
    params=[("cosine", 2), ("cosine", 1), ("ip", 1), ("ip", 4), ("l2", 2), ("l2", 1), ("l2", 4)],
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def trained(request, vectors):
    metric, factor_bytes = request.param
    scale = 1 if metric == "cosine" else np.linspace(0.5, 3, len(vectors), dtype=np.float32)[:, None]
    x = vectors * scale
    return model_of(x, widths=[48, 24, 8], metric=metric, factor_bytes=factor_bytes), x


def naive_scores(bz: bebr.Binarizer, codes: bebr.Codes, q: np.ndarray) -> np.ndarray:
    """The score of every pair from docs/method.md, larger is better."""
    xhat, f = bz.decode(codes).astype(np.float64), bz.factor_values(codes)[:, 0].astype(np.float64)
    if bz.metric == "l2":
        squared = f / bz.config["factor_scale"] + bz.config["factor_offset"]
        return -((q**2).sum(1)[:, None] - 2 * q @ xhat.T + squared)
    if bz.metric == "cosine":
        q = q / np.linalg.norm(q, axis=1, keepdims=True)
    return (q @ xhat.T) * f


def close(hits: bebr.Hits, scores: np.ndarray, ids: np.ndarray, metric: str) -> None:
    """The hits' scores are those of their ids, and no row outside the hits beats them by more than rounding."""
    sign = -1 if metric == "l2" else 1
    row = {int(i): n for n, i in enumerate(ids)}
    tolerance = 2e-3 * np.abs(scores).max()
    for q in range(len(scores)):
        mine = np.array([scores[q, row[int(i)]] for i in hits.ids[q]])
        np.testing.assert_allclose(sign * hits.scores[q], mine, atol=tolerance)
        assert mine.min() >= np.sort(scores[q])[-len(mine)] - tolerance


@pytest.mark.parametrize("query", ["float", "code"])
@pytest.mark.parametrize("effort", [{"exact": True}, {"oversampling": 300}], ids=str)
def test_search_equals_the_naive_model(trained, queries, query, effort):
    bz, x = trained
    ids = np.random.default_rng(0).permutation(10 * len(x))[: len(x)]
    index = bebr.FlatIndex(bz)
    index.add(x, ids)
    q = queries if query == "float" else bz.decode(bz.encode(queries))
    close(
        index.search(queries, 10, query=query, **effort),
        naive_scores(bz, bz.encode(x), q.astype(np.float64)),
        ids,
        bz.metric,
    )


def test_exact_equals_completing_every_row(trained, queries):
    bz, x = trained
    index = bebr.FlatIndex(bz)
    index.add(x)
    exact, all_rows = index.search(queries, 10, exact=True), index.search(queries, 10, oversampling=len(x))
    np.testing.assert_array_equal(exact.ids, all_rows.ids)
    np.testing.assert_array_equal(exact.scores, all_rows.scores)


def test_default_search_loses_little_against_exact(trained, queries):
    bz, x = trained
    index = bebr.FlatIndex(bz)
    index.add(x)
    same = index.search(queries, 10).ids == index.search(queries, 10, exact=True).ids
    assert same.mean() > 0.97


def test_a_batch_over_no_more_rows_than_the_first_stage_keeps_is_exact(trained, queries):
    bz, x = trained
    index = bebr.FlatIndex(bz)
    index.add(x[:500])
    index.remove(np.arange(0, 500, 7))
    wanted = index.search(queries, 10, exact=True)
    for few in (1, len(queries)):  # one by one, and by whole codes where the machine has a fast way
        hits = index.search(queries[:few], 10, oversampling=50)
        np.testing.assert_array_equal(hits.ids, wanted.ids[:few])
        np.testing.assert_array_equal(hits.scores, wanted.scores[:few])


def test_threads_do_not_change_the_answer(trained, queries):
    bz, x = trained
    index = bebr.FlatIndex(bz)
    index.add(np.tile(x, (6, 1)))
    before = bebr.get_num_threads()
    try:
        bebr.set_num_threads(1)
        one = index.search(queries, 10, exact=True)
        bebr.set_num_threads(3)
        three = index.search(queries, 10, exact=True)
    finally:
        bebr.set_num_threads(before)
    np.testing.assert_array_equal(one.ids, three.ids)
    np.testing.assert_array_equal(one.scores, three.scores)


@pytest.mark.parametrize("effort", [{}, {"exact": True}, {"oversampling": 5}], ids=str)
@pytest.mark.parametrize("share", [0.5, 0.1, 0.004, 0.0])
def test_allow_gives_the_best_of_the_allowed(trained, queries, effort, share):
    bz, x = trained
    index = bebr.FlatIndex(bz)
    index.add(x)
    allowed = np.random.default_rng(3).permutation(len(x))[: int(share * len(x))]
    hits = index.search(queries, 10, allow=np.append(allowed, [10**9]), **effort)
    found = min(10, len(allowed))
    assert np.isin(hits.ids[:, :found], allowed).all() and (hits.ids[:, found:] == -1).all()
    if "exact" in effort and found:
        scores = naive_scores(bz, bz.encode(x)[allowed], queries.astype(np.float64))
        close(bebr.Hits(hits.scores[:, :found], hits.ids[:, :found]), scores, allowed, bz.metric)


@pytest.mark.parametrize("mmap", [False, True])
def test_save_and_open(trained, queries, tmp_path, mmap):
    bz, x = trained
    index = bebr.FlatIndex(bz)
    index.add(x)
    path = tmp_path / "x.bebr"
    index.save(path)
    again = bebr.open_index(path, mmap=mmap)
    assert len(again) == len(x) and again.binarizer.digest == bz.digest
    for a, b in zip(index.search(queries, 10), again.search(queries, 10), strict=True):
        np.testing.assert_array_equal(a, b)
    if mmap:
        with pytest.raises(ValueError, match="mmap=False"):
            again.add(x[:1])
    else:
        again.add(x[:1])
        assert len(x) in again
    assert again.remove(np.arange(100)) == 100
    assert not np.isin(again.search(queries, 10).ids, np.arange(100)).any()
    again.save(path)
    assert len(bebr.open_index(path)) == len(again)


def test_damaged_files_are_refused(trained, tmp_path):
    bz, x = trained
    index = bebr.FlatIndex(bz)
    index.add(x[:100])
    path = tmp_path / "x.bebr"
    index.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in [0, 7, 47, 48, 200, len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(bebr.CorruptFile, match=str(path)):
            bebr.open_index(path)
    for at in [*range(48), *rng.integers(0, len(whole), 100)]:
        broken = bytearray(whole)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            bebr.open_index(path, verify=True)
        except bebr.CorruptFile as e:
            assert str(path) in str(e)
        else:
            assert path.read_bytes() != whole  # padding between sections is not covered, and holds nothing
            assert at > 48
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(bebr.CorruptFile, match="not a bebr file"):
        bebr.open_index(path)
    with pytest.raises(FileNotFoundError):
        bebr.open_index(tmp_path / "absent.bebr")


def bad_calls():
    yield "ids below zero", lambda ix, x: ix.add(x[:1], [-5]), "-5"
    yield "repeated id", lambda ix, x: ix.add(x[:2], [3, 3]), "3 is already present"
    yield "present id", lambda ix, x: ix.add(x[:1], [0]), "0 is already present"
    yield "ids too short", lambda ix, x: ix.add(x[:2], [99]), "1 entries for 2 vectors"
    yield "wrong dimension", lambda ix, x: ix.add(x[:, :5]), r"\(10, 5\): want \(n, 64\)"
    yield "not a number", lambda ix, x: ix.add(np.full((2, 64), np.nan, np.float32)), r"x\[0, 0\] is nan"
    yield "infinity", lambda ix, x: ix.add(np.full((2, 64), np.inf, np.float32)), "inf"
    yield "wrong dtype", lambda ix, x: ix.add(np.array([["a"] * 64])), "dtype"
    yield "k of zero", lambda ix, x: ix.search(x, 0), "k is 0"
    yield "k not an integer", lambda ix, x: ix.search(x, 2.5), "k is 2.5"
    yield "no query", lambda ix, x: ix.search(x[:0], 1), "queries is empty"
    yield "query mode", lambda ix, x: ix.search(x, 1, query="bits"), "'float' or 'code'"
    yield "oversampling", lambda ix, x: ix.search(x, 1, oversampling="all"), "oversampling is 'all'"
    yield "exact", lambda ix, x: ix.search(x, 1, exact="all"), "exact is 'all'"
    yield "both", lambda ix, x: ix.search(x, 1, oversampling=2, exact=True), "oversampling is 2 and exact is True"
    yield "allow of floats", lambda ix, x: ix.search(x, 1, allow=[0.5]), "allow has dtype"


@pytest.mark.parametrize(("call", "message"), [pytest.param(c, m, id=n) for n, c, m in bad_calls()])
def test_bad_input_names_what_was_wrong(trained, call, message):
    bz, x = trained
    index = bebr.FlatIndex(bz)
    index.add(x[:10])
    with pytest.raises(ValueError, match=message):
        call(index, x[:10])
    assert len(index) == 10


@settings(max_examples=25, deadline=None)
@given(
    widths=st.lists(st.integers(1, 12), min_size=1, max_size=8).map(lambda w: [8 * v for v in sorted(w, reverse=True)]),
    n=st.integers(1, 200),
    k=st.integers(1, 30),
    seed=st.integers(0, 10),
)
def test_any_shape_of_code_is_searched_exactly(widths, n, k, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n + 2, widths[0])).astype(np.float32)
    drawn = rng.standard_normal((widths[0], widths[0])).astype(
        np.float32
    )  # any weights do, and training takes a second
    decoder = rng.standard_normal((widths[0], widths[0])).astype(np.float32)
    bz = bebr.Binarizer.from_tensors(
        {"encoder.0.weight": drawn, "decoder.weight": decoder, "decoder.bias": x[0]},
        {"architecture": "linear", "widths": widths, "metric": "ip", "input_dim": widths[0], "factor": "mul"},
    )
    index = bebr.FlatIndex(bz)
    index.add(x)
    exact, everything = index.search(x[:3], k, exact=True), index.search(x[:3], k, oversampling=len(x))
    np.testing.assert_array_equal(exact.ids, everything.ids)
