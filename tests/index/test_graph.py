"""GraphIndex: recall against exact search over the same codes, and the contract that every index keeps."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest

import bebr
from bebr import GraphIndex
from tests.conftest import clustered, model_of, recall


@pytest.fixture(
    scope="module",
    params=[("cosine", 2), ("cosine", 1), ("ip", 2), ("l2", 4), ("l2", 1)],
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def trained(request, vectors):
    metric, factor_bytes = request.param
    scale = 1 if metric == "cosine" else np.linspace(0.5, 3, len(vectors), dtype=np.float32)[:, None]
    x = vectors * scale
    return model_of(x, widths=[48, 24, 8], metric=metric, factor_bytes=factor_bytes), x


@pytest.fixture(scope="module")
def built(trained):
    bz, x = trained
    index, flat = GraphIndex(bz), bebr.FlatIndex(bz)
    ids = np.random.default_rng(0).permutation(10 * len(x))[: len(x)]
    index.add(x, ids)
    flat.add(x, ids)
    return index, flat, x, ids


@pytest.mark.parametrize("query", ["float", "code"])
def test_search_finds_what_exact_search_over_codes_finds(built, queries, query):
    index, flat, _, _ = built
    want = flat.search(queries, 10, query=query, exact=True)
    hits = index.search(queries, 10, query=query, ef_search=100)
    assert recall(hits.ids, want.ids) > 0.98
    # The scores are those of FlatIndex, id by id, and stand in order.
    for q in range(len(queries)):
        same = {int(i): s for i, s in zip(want.ids[q], want.scores[q], strict=True)}
        for i, s in zip(hits.ids[q], hits.scores[q], strict=True):
            if int(i) in same:
                assert s == pytest.approx(same[int(i)], abs=1e-3 * float(np.abs(want.scores).max()))
    falling = -hits.scores if index.binarizer.metric == "l2" else hits.scores
    assert (np.diff(falling, axis=1) <= 0).all()


def test_a_larger_ef_finds_more(built, queries):
    index, flat, _, _ = built
    want = flat.search(queries, 10, exact=True).ids
    found = [recall(index.search(queries, 10, ef_search=ef_search).ids, want) for ef_search in (10, 30, 200)]
    assert found[0] <= found[1] + 0.01 and found[1] <= found[2] + 0.01
    assert found[2] > 0.99


def test_models_without_a_decoder_are_searched_in_code_space(vectors, queries):
    rng = np.random.default_rng(0)
    bz = bebr.Binarizer.from_tensors(
        {
            "encoder.0.weight": rng.standard_normal((48, 64)).astype(np.float32),
            "encoder.0.bias": np.zeros(48, np.float32),
        },
        {"architecture": "linear", "widths": [48, 48], "metric": "cosine", "input_dim": 64},
    )
    index, flat = GraphIndex(bz), bebr.FlatIndex(bz)
    index.add(vectors)
    flat.add(vectors)
    want = flat.search(queries, 10, query="code", exact=True)
    hits = index.search(queries, 10, query="code", ef_search=100)
    # Many codes score the same: what is found must score as high.
    assert (hits.scores >= want.scores - 1e-6).mean() > 0.98


def test_threads_change_neither_the_graph_nor_the_answer(trained, queries):
    bz, x = trained
    before, found = bebr.get_num_threads(), []
    try:
        for threads in (1, 3):
            bebr.set_num_threads(threads)
            index = GraphIndex(bz)
            index.add(x[:1500])
            found.append(index.search(queries, 10, ef_search=12))
    finally:
        bebr.set_num_threads(before)
    np.testing.assert_array_equal(found[0].ids, found[1].ids)
    np.testing.assert_array_equal(found[0].scores, found[1].scores)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01, 0.002, 0.0])
def test_allow_gives_the_best_of_the_allowed(built, queries, share):
    index, flat, x, ids = built
    allowed = ids[np.random.default_rng(3).permutation(len(x))[: int(share * len(x))]]
    hits = index.search(queries, 10, allow=np.append(allowed, [10**9]))
    found = min(10, len(allowed))
    assert np.isin(hits.ids[:, :found], allowed).all() and (hits.ids[:, found:] == -1).all()
    if found:
        want = flat.search(queries, 10, allow=allowed, exact=True)
        assert recall(hits.ids[:, :found], want.ids[:, :found]) > 0.95


def test_rows_that_no_walk_reaches_are_found_when_k_asks_for_them(trained, queries):
    bz, x = trained
    index = GraphIndex(bz, max_degree=2, ef_construction=1)  # a graph of shreds
    index.add(x[:800])
    hits = index.search(queries[:5], 800, ef_search=10)
    assert all(len(np.unique(row)) == 800 and row.min() == 0 for row in hits.ids)


def test_equal_vectors_are_all_found(trained):
    bz, x = trained
    index = GraphIndex(bz, max_degree=8)
    index.add(np.repeat(x[:3], 200, axis=0))
    for row, hits in enumerate(index.search(x[:3], 20).ids):
        assert len(np.unique(hits)) == 20
        if bz.metric != "ip":  # where a longer vector may beat the vector itself
            assert (hits // 200 == row).all()


@pytest.mark.parametrize("inline", [0, 8])
def test_rows_of_one_code_among_others_are_all_found(trained, inline):
    """Groups of equal rows that come together, as texts from one template do, and some of which come again later."""
    bz, x = trained
    if bz.metric == "ip":
        pytest.skip("a longer vector may beat the vector itself")
    times = np.ones(len(x), int)
    times[::25] = 6
    again = np.arange(0, len(x), 50)
    group = np.concatenate([np.repeat(np.arange(len(x)), times), again, again])  # of each row
    index = GraphIndex(bz, inline=inline)
    index.add(x[group[: -2 * len(again)]])
    index.add(x[group[-2 * len(again) :]])
    gone = np.flatnonzero(group % 75 == 0)[::3]
    index.remove(gone)
    group[gone] = -1
    wanted = np.arange(0, len(x), 25)
    found = index.search(x[wanted], 10, ef_search=64).ids
    lost = [row for row, ids in zip(wanted, found, strict=True) if not np.isin(np.flatnonzero(group == row), ids).all()]
    assert len(lost) <= len(wanted) // 50, lost


def half_replaced(bz: bebr.Binarizer, x: np.ndarray, seed: int) -> tuple[GraphIndex, np.ndarray]:
    """An index of the second half of x and all of the first, the first half removed and added again in pieces."""
    index = GraphIndex(bz)
    index.add(x)
    gone = np.random.default_rng(seed).permutation(len(x))[: len(x) // 2]
    for part in np.array_split(gone, 7):
        assert index.remove(part) == len(part)
    assert len(index) == len(x) - len(gone)
    for part in np.array_split(gone, 3):
        index.add(x[part], part)
    return index, gone


def test_recall_survives_removing_and_adding_half(vectors):
    x, q = vectors, clustered(200, 64, seed=4)
    bz = bebr.untrained(64, 17)
    fresh, flat = GraphIndex(bz), bebr.FlatIndex(bz)
    fresh.add(x)
    flat.add(x)
    again, gone = half_replaced(bz, x, seed=5)
    want = flat.search(q, 10, exact=True).ids
    for ef_search in (20, 60):
        assert (
            recall(again.search(q, 10, ef_search=ef_search).ids, want)
            > recall(fresh.search(q, 10, ef_search=ef_search).ids, want) - 0.01
        )
    # And with half of it gone.
    again.remove(gone)
    flat.remove(gone)
    assert recall(again.search(q, 10, ef_search=60).ids, flat.search(q, 10, exact=True).ids) > 0.97


def test_a_graph_that_was_nearly_emptied_fills_again(trained, queries):
    bz, x = trained[0], trained[1][:1500]
    index, flat = GraphIndex(bz), bebr.FlatIndex(bz)
    index.add(x)
    flat.add(x)
    gone = np.random.default_rng(6).permutation(len(x))[: len(x) - 3]
    index.remove(gone)
    assert (np.sort(index.search(queries, 4).ids, axis=1)[:, 0] == -1).all()
    index.add(x[gone], gone)
    want = flat.search(queries, 10, exact=True).ids
    assert recall(index.search(queries, 10, ef_search=100).ids, want) > 0.98


def test_removed_rows_are_gone_and_their_space_is_used_again(trained, queries, tmp_path):
    bz, x = trained
    index = GraphIndex(bz)
    index.add(x[:1000])
    index.save(tmp_path / "before.bebr")
    for turn in range(4):
        assert index.remove(np.arange(1000)[turn::4]) == 250
        assert index.remove(np.arange(1000)[turn::4]) == 0
        assert not np.isin(index.search(queries, 30).ids, np.arange(1000)[turn::4]).any()
        index.add(x[:1000][turn::4], np.arange(1000)[turn::4])
    assert len(index) == 1000
    index.save(tmp_path / "after.bebr")
    assert (tmp_path / "after.bebr").stat().st_size == (tmp_path / "before.bebr").stat().st_size
    assert index.remove(np.arange(2000)) == 1000 and len(index) == 0
    assert (index.search(queries, 3).ids == -1).all()
    index.add(x[:50])
    assert (index.search(x[:1], 50).ids[0] >= 1000).all()


def test_few_ascending_ids_find_what_the_same_ids_in_another_order_find(built, queries):
    index, _, x, ids = built
    some = np.sort(ids[np.random.default_rng(5).permutation(len(x))[: len(x) // 80]])
    assert len(some) > len(x) / 1024, "fewer would be sorted by row in any case"
    fewer = copy.copy(index)
    fewer.remove(some[3:4])
    for graph, left in ((index, some), (fewer, np.delete(some, 3))):
        for one in queries[:20]:
            hits, other = (graph.search(one[None], len(some), allow=order) for order in (some, some[::-1]))
            np.testing.assert_array_equal(hits.ids, other.ids)
            np.testing.assert_array_equal(hits.scores, other.scores)
            np.testing.assert_array_equal(np.sort(hits.ids[0, : len(left)]), left)


@pytest.mark.parametrize("mmap", [False, True])
def test_save_and_open(built, queries, tmp_path, mmap):
    index, _, x, ids = built
    path = tmp_path / "x.bebr"
    index.save(path)
    again = bebr.open_index(path, mmap=mmap)
    assert len(again) == len(x) and again.binarizer.digest == index.binarizer.digest
    for a, b in zip(index.search(queries, 10), again.search(queries, 10), strict=True):
        np.testing.assert_array_equal(a, b)
    if mmap:
        with pytest.raises(ValueError, match="mmap=False"):
            again.add(x[:1])
    else:
        again.add(x[:1])
        assert ids.max() + 1 in again
        assert again.remove([ids.max() + 1]) == 1
    assert again.remove(ids[:100]) == 100
    assert not np.isin(again.search(queries, 10).ids, ids[:100]).any()
    again.save(path)
    third = bebr.open_index(path, mmap=mmap)
    assert sorted(third.codes()[1]) == sorted(ids[100:])
    assert recall(third.search(queries, 10, ef_search=100).ids, again.search(queries, 10, ef_search=100).ids) > 0.98


def test_damaged_files_are_refused_or_searched_within_bounds(trained, queries, tmp_path):
    bz, x = trained
    index = GraphIndex(bz)
    index.add(x[:300])
    path = tmp_path / "x.bebr"
    index.save(path)
    whole = path.read_bytes()
    for cut in [0, 7, 47, 48, 200, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(bebr.CorruptFile, match=str(path)):
            bebr.open_index(path)
    rng = np.random.default_rng(0)
    for at in [*range(48), *rng.integers(0, len(whole), 100)]:
        broken = bytearray(whole)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            bebr.open_index(path, verify=True)
        except bebr.CorruptFile as e:
            assert str(path) in str(e)
        else:
            assert at > 48  # padding between sections is not covered, and holds nothing
    # A mapped file is not read when it is opened. Whatever its nodes hold, a search stays inside and gives k rows.
    model = whole.index(b"safetensors") if b"safetensors" in whole else len(whole)
    for _ in range(10):
        broken = bytearray(whole)
        for at in rng.integers(4096, min(len(whole), model), 3000):
            broken[at] = int(rng.integers(256))
        path.write_bytes(broken)
        try:
            again = bebr.open_index(path)
        except bebr.CorruptFile:
            continue
        assert again.search(queries, 10).ids.shape == (len(queries), 10)


def test_links_out_of_bounds_are_not_followed(trained, queries, tmp_path):
    bz, x = trained
    index = GraphIndex(bz)
    index.add(x[:300])
    path = tmp_path / "x.bebr"
    index.save(path)
    whole = path.read_bytes()
    at = whole.index(index.codes()[1].tobytes()[:64])  # ids stand after the nodes, in slot order
    nodes = at - 300 * index.bytes_per_vector
    links = np.frombuffer(whole, np.uint32, 300 * index.bytes_per_vector // 4, nodes).reshape(300, -1).copy()
    links[:, -index.max_degree :] = np.random.default_rng(1).integers(0, 2**32, (300, index.max_degree))
    path.write_bytes(whole[:nodes] + links.tobytes() + whole[at:])
    with pytest.raises(bebr.CorruptFile, match="nodes"):
        bebr.open_index(path, mmap=False)
    hits = bebr.open_index(path).search(queries, 300, ef_search=10)
    assert all(len(np.unique(row)) == 300 and row.min() == 0 for row in hits.ids)


def bad_calls():
    yield "ids below zero", lambda ix, x: ix.add(x[:1], [-5]), "-5"
    yield "repeated id", lambda ix, x: ix.add(x[:2], [3, 3]), "3 is already present"
    yield "present id", lambda ix, x: ix.add(x[:1], [0]), "0 is already present"
    yield "ids too short", lambda ix, x: ix.add(x[:2], [99]), "1 entries for 2 vectors"
    yield "wrong dimension", lambda ix, x: ix.add(x[:, :5]), r"\(10, 5\): want \(n, 64\)"
    yield "not a number", lambda ix, x: ix.add(np.full((2, 64), np.nan, np.float32)), r"x\[0, 0\] is nan"
    yield "k of zero", lambda ix, x: ix.search(x, 0), "k is 0"
    yield "no query", lambda ix, x: ix.search(x[:0], 1), "queries is empty"
    yield "query mode", lambda ix, x: ix.search(x, 1, query="bits"), "'float' or 'code'"
    yield "ef_search of zero", lambda ix, x: ix.search(x, 1, ef_search=0), "ef_search is 0"
    yield "ef_search not an integer", lambda ix, x: ix.search(x, 1, ef_search=1.5), "ef_search is 1.5"
    yield "allow of floats", lambda ix, x: ix.search(x, 1, allow=[0.5]), "allow has dtype"
    yield "no neighbours", lambda ix, x: GraphIndex(ix.binarizer, max_degree=0), "max_degree is 0"
    yield (
        "odd max_degree",
        lambda ix, x: GraphIndex(ix.binarizer, max_degree=15),
        "max_degree is 15: want an even integer",
    )
    yield "no candidates", lambda ix, x: GraphIndex(ix.binarizer, ef_construction=0), "ef_construction is 0"
    yield "seed below zero", lambda ix, x: GraphIndex(ix.binarizer, seed=-1), "seed is -1"


@pytest.mark.parametrize(("call", "message"), [pytest.param(c, m, id=n) for n, c, m in bad_calls()])
def test_bad_input_names_what_was_wrong(trained, call, message):
    bz, x = trained
    index = GraphIndex(bz)
    index.add(x[:10])
    with pytest.raises(ValueError, match=message):
        call(index, x[:10])
    assert len(index) == 10


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_searches_run_while_rows_come_and_go(vectors, queries, metric):
    index, x = GraphIndex(bebr.untrained(64, 12, metric=metric)), vectors
    index.add(x[:500])
    stop, wrong = threading.Event(), []

    def search() -> None:
        while not stop.is_set():
            hits = index.search(queries, 10)
            if (hits.ids < 0).any() or any(len(np.unique(row)) < 10 for row in hits.ids):
                wrong.append(hits)

    readers = [threading.Thread(target=search) for _ in range(3)]
    for reader in readers:
        reader.start()
    for first in range(500, 1700, 100):
        index.add(x[first : first + 100], np.arange(first, first + 100))
        index.remove(np.arange(first - 50, first + 20))
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
