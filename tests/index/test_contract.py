"""What every index keeps, whatever its structure: rows come, go, are found, saved and opened alike."""

from __future__ import annotations

import copy
import os
import pickle
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import bebr
from tests.conftest import clustered, model_of
from tests.forked import fork

# Each kind, and the options of a search that leaves nothing to chance.
KINDS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "flat": (bebr.FlatIndex, {"exact": True}),
    "ivf": (lambda bz: bebr.IVFIndex(bz, nlist=5, seed=0), {"nprobe": 5, "margin": "exact"}),
    "graph": (lambda bz: bebr.GraphIndex(bz, max_degree=8, ef_construction=16), {"ef_search": 400}),
    "inline": (lambda bz: bebr.GraphIndex(bz, max_degree=8, ef_construction=16, inline=32), {"ef_search": 400}),
}
N, D = 400, 16


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return clustered(N, D, seed=5)


@pytest.fixture(scope="module", params=["cosine", "ip", "l2"])
def bz(request, x) -> bebr.Binarizer:
    return model_of(x, widths=[16, 8], metric=request.param, factor_bytes=1)


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def index(kind, bz, x):
    made = kind[0](bz)
    made.add(x, np.arange(N) + 7)
    return made


def test_fewer_rows_than_k_are_padded(kind, bz, x):
    index = kind[0](bz)
    assert len(index) == 0 and 3 not in index and index.remove([3]) == 0
    assert (index.search(x[:4], 3).ids == -1).all()
    index.add(x)
    index.remove(np.arange(2, N))
    hits = index.search(x[:4], 5)
    assert (np.sort(hits.ids[:, :2], axis=1) == [0, 1]).all() and (hits.ids[:, 2:] == -1).all()
    worst = np.inf if bz.metric == "l2" else -np.inf
    assert (hits.scores[:, 2:] == worst).all()


def test_every_row_and_every_allowed_row_is_found(index, kind, x):
    assert (np.sort(index.search(x[:2], N, **kind[1]).ids) == np.arange(N) + 7).all()
    some = np.arange(N, step=3) + 7
    hits = index.search(x[:2], len(some) + 1, allow=some, **kind[1])
    assert (np.sort(hits.ids)[:, 1:] == some).all() and (hits.ids[:, -1] == -1).all()


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("more", [[], [10**12, -(2**63), 2**63 - 1]], ids=["near", "far"])
@pytest.mark.parametrize("count", [N, N // 2, N // 8, N // 8 - 1, 1])
def test_many_allowed_ids_are_found_as_few_are(index, kind, x, tmp_path, count, more, opened):
    """Of many ids every row is asked whether it is one; of few, and of those that lie far apart, each is looked up."""
    index.remove(np.arange(0, N, 10) + 7)
    if opened:
        index.save(tmp_path / "made.bebr")
        index = bebr.open_index(tmp_path / "made.bebr")
        index.remove([11])
    some = np.random.default_rng(count).permutation(N)[:count] + 7
    hits = index.search(x[:2], N, allow=np.array([*some, *some[:9], 0, 3, N + 300, *more]), **kind[1])
    gone = [*np.arange(0, N, 10) + 7, *([11] if opened else [])]
    for ids in hits.ids:
        assert sorted(ids[ids >= 0]) == sorted(set(some) - set(gone))


def test_the_best_are_those_of_the_flat_index(index, kind, bz, x):
    flat = bebr.FlatIndex(bz)
    flat.add(x, np.arange(N) + 7)
    got, want = index.search(x[:20], 10, **kind[1]), flat.search(x[:20], 10, exact=True)
    assert (got.ids == want.ids).mean() > 0.99
    np.testing.assert_allclose(got.scores, want.scores, rtol=1e-3, atol=1e-4)  # a graph rounds its queries otherwise


@pytest.mark.parametrize("query", ["float", "code"])
@pytest.mark.parametrize("count", [1, 60])
def test_a_search_finds_what_one_of_prepared_queries_finds(index, bz, query, count):
    """To the bit: the extension prepares the queries of a search itself."""
    q = clustered(count, D, seed=8)
    for options in ({}, {"allow": np.arange(N, step=3) + 7}, {"radius": 1e9 if bz.metric == "l2" else -1e9}):
        got = index.search(q, 6, query=query, **options)
        want = index.search_prepared(bz.prepare(q, query), 6, **options)
        assert (got.ids == want.ids).all() and (got.scores == want.scores).all()


def test_a_row_does_not_find_itself_by_its_id(index):
    ids = np.array([12, 24, 12])
    hits = index.search_ids(ids, 10)
    assert hits.ids.shape == (3, 10) and not (hits.ids == ids[:, None]).any()
    np.testing.assert_array_equal(hits.ids[0], hits.ids[2])
    with pytest.raises(KeyError, match="id 99999"):
        index.search_ids([99999])


def test_codes_come_back_and_fill_another(index, kind, bz, x):
    codes, ids = index.codes([14, 10])
    np.testing.assert_array_equal(codes.planes, bz.encode(x[[7, 3]]).planes)
    assert ids.tolist() == [14, 10]
    again = kind[0](bz)
    every, numbers = index.codes()
    again.add_codes(every, numbers)
    assert sorted(again.codes()[1]) == sorted(numbers) == (np.arange(N) + 7).tolist()


def test_rows_come_in_the_order_of_their_ids(kind, bz, x, tmp_path):
    index = kind[0](bz)
    numbers = np.random.default_rng(0).permutation(N) * 3
    index.add(x, numbers)
    index.save(tmp_path / "i.bebr")
    for rows in (index, bebr.open_index(tmp_path / "i.bebr"), bebr.open_index(tmp_path / "i.bebr", mmap=False)):
        np.testing.assert_array_equal(rows.ids[rows.following(-1, N + 5)], np.sort(numbers))
        assert rows.ids[rows.following(30, 3)].tolist() == [33, 36, 39]
        assert rows.ids[rows.following(31, 3, skip=2)].tolist() == [39, 42, 45]
        assert rows.following(3 * N, 3).size == rows.following(30, 3, skip=N).size == rows.following(5, 0).size == 0


def test_a_row_is_there_once(index, x):
    with pytest.raises(ValueError, match="id 9"):
        index.add(x[:1], [9])
    assert len(index) == N and index.remove([9, 9, 5000]) == 1
    index.add(x[:1], [9])
    assert len(index) == N and 9 in index


def test_a_file_that_only_names_its_model_opens_with_it(index, bz, x, tmp_path):
    own = {name: data for name, data in getattr(index, "_sections", dict)().items() if name != "model"}
    index._save(tmp_path / "i.bebr", own | {"model_digest": bz.digest.encode()})
    opened = bebr.open_index(tmp_path / "i.bebr", model=bz)
    assert opened.binarizer is bz
    np.testing.assert_array_equal(opened.codes()[1], index.codes()[1])
    other = model_of(x, widths=[16], metric=bz.metric)
    with pytest.raises(bebr.IncompatibleModel, match=f"{bz.digest}: got {other.digest}"):
        bebr.open_index(tmp_path / "i.bebr", model=other)
    with pytest.raises(ValueError, match=f"names its model, {bz.digest}"):
        bebr.open_index(tmp_path / "i.bebr")


@pytest.mark.parametrize("mmap", [True, False])
def test_what_is_saved_is_opened(index, kind, x, tmp_path, mmap):
    index.remove([8, 9])
    index.save(tmp_path / "x.bebr")
    again = bebr.open_index(tmp_path / "x.bebr", mmap=mmap)
    assert type(again) is type(index) and len(again) == N - 2
    for got, want in zip(again.search(x[:20], 10, **kind[1]), index.search(x[:20], 10, **kind[1]), strict=True):
        np.testing.assert_array_equal(got, want)
    assert again.remove([10]) == 1 and 10 not in again.search(x[3:4], 10).ids


def test_a_forked_process_searches_and_ends(index, x):
    """The child has no threads of its parent's, and does not wait for them."""
    want = index.search(x, 5).ids
    child = fork()
    if child == 0:
        signal.alarm(60)
        try:
            same = (index.search(x, 5).ids == want).all()
            os._exit(0 if same else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_an_unknown_attribute_is_refused(index):
    name = type(index).__name__
    with pytest.raises(AttributeError, match=rf"{name} has no attribute 'nprob': it has binarizer, bytes_per_vector, "):
        index.nprob = 8
    with pytest.raises(AttributeError, match=rf"attribute 'binarizer' of {name} cannot be set"):
        index.binarizer = None
    with pytest.raises(AttributeError, match="attribute 'search'"):
        index.search = None
    assert not hasattr(index, "nprob")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))])
def test_a_copy_is_an_index_of_its_own(index, kind, x, copied):
    index.remove([9])
    again = copied(index)
    assert type(again) is type(index) and again.binarizer.digest == index.binarizer.digest
    for got, want in zip(again.search(x[:20], 10, **kind[1]), index.search(x[:20], 10, **kind[1]), strict=True):
        np.testing.assert_array_equal(got, want)
    again.add(x[:1])
    assert again.remove([10]) == 1 and 10 in index and len(index) == N - 1 == len(again)


def test_a_mapped_index_is_pickled_by_its_path(index, kind, x, tmp_path):
    index.save(tmp_path / "x.bebr")
    mapped = bebr.open_index(tmp_path / "x.bebr")
    data = pickle.dumps(mapped)
    assert len(data) < 1000
    again = pickle.loads(data)
    np.testing.assert_array_equal(again.search(x, 10, **kind[1]).ids, mapped.search(x, 10, **kind[1]).ids)
    with pytest.raises(ValueError, match="mapped"):
        again.add(x[:1])
    # The file does not know of rows that are removed while it is mapped: the bytes do.
    mapped.remove([9])
    assert 9 not in pickle.loads(pickle.dumps(mapped))
    index.remove([9])
    index.save(tmp_path / "x.bebr")
    with pytest.raises(ValueError, match=r"x\.bebr: holds another index than the one that was pickled"):
        pickle.loads(data)
    (tmp_path / "x.bebr").unlink()
    with pytest.raises(FileNotFoundError, match=r"x\.bebr"):
        pickle.loads(data)


def test_ids_end(kind, bz, x):
    index = kind[0](bz)
    index.add(x, np.arange(2**63 - N - 1, 2**63 - 1))
    index.add(x[:1])
    assert 2**63 - 1 in index
    with pytest.raises(ValueError, match=r"no automatic ids are left: the largest id is 9223372036854775807: give ids"):
        index.add(x[:1])
    index.add(x[:1], [3])
    assert len(index) == N + 2


class Machine(RuleBasedStateMachine):
    """Adds and removes in any order, with a dict as the model."""

    kind = "flat"

    @initialize()
    def start(self):
        self.x = clustered(300, 16, seed=5)
        self.bz = model_of(self.x, widths=[16, 8], factor_bytes=1)
        self.index = KINDS[self.kind][0](self.bz)
        if self.kind == "ivf":
            self.index.train(self.x)
        self.model: dict[int, int] = {}

    @rule(rows=st.lists(st.integers(0, 299), unique=True, max_size=60))
    def add(self, rows):
        new = [r for r in rows if r + 7 not in self.model]
        self.index.add(self.x[new], [r + 7 for r in new])
        self.model |= {r + 7: r for r in new}

    @rule(ids=st.lists(st.integers(0, 310), max_size=60))
    def remove(self, ids):
        gone = {i for i in ids if i in self.model}
        assert self.index.remove(ids) == len(gone)
        for i in gone:
            del self.model[i]

    @invariant()
    def same_rows(self):
        codes, ids = self.index.codes()
        assert sorted(ids) == sorted(self.model)
        if len(ids):
            want = self.bz.encode(self.x[[self.model[int(i)] for i in ids]])
            np.testing.assert_array_equal(codes.planes, want.planes)
            np.testing.assert_array_equal(codes.factors, want.factors)

    @invariant()
    def finds_everything(self):
        hits = self.index.search(self.x[:1], len(self.model) + 1)
        assert sorted(hits.ids[0]) == sorted([*self.model, -1])

    @invariant()
    def finds_k_in_a_batch(self):
        k = min(3, len(self.model))
        assert (self.index.search(self.x[:30], 3).ids[:, :k] >= 0).all()


class IVFMachine(Machine):
    kind = "ivf"


class GraphMachine(Machine):
    kind = "graph"


class InlineMachine(Machine):
    kind = "inline"


for machine in (Machine, IVFMachine, GraphMachine, InlineMachine):
    machine.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestFlat, TestIVF, TestGraph = Machine.TestCase, IVFMachine.TestCase, GraphMachine.TestCase
TestInline = InlineMachine.TestCase


def test_only_integers_are_ids(index):
    assert 7 in index and np.int32(7) in index and True not in index
    for other in (6, -1, 1 << 63, 1 << 70, "7", None, 7.5):
        assert other not in index


@pytest.mark.parametrize("radius", [np.nan, np.inf, "0.5", True, [0.5]])
def test_a_radius_that_is_no_number_is_named(kind, bz, x, radius):
    plain = kind[0](bz)
    plain.add(x)
    kept = bebr.FlatIndex(bz, rescore="float16")  # exact scores are held against it, not those of the engine
    kept.add(x)
    for one in (plain, kept):
        with pytest.raises(ValueError, match=r"radius is .*: want a finite number"):
            one.search(x[:2], 3, radius=radius)
    assert (plain.search(x[:2], 3, radius=1e300 if bz.metric == "l2" else -1e300).ids >= 0).all()
    assert (plain.search(x[:2], 3, radius=-1e300 if bz.metric == "l2" else 1e300).ids < 0).all()


def test_rows_that_are_no_codes_are_named(index, bz, x):
    with pytest.raises(ValueError, match="codes is of type ndarray: want Codes"):
        index.add_codes(x, np.arange(len(x)))


@pytest.mark.parametrize("model", [None, "m.safetensors", np.zeros(3)])
def test_what_is_no_binarizer_is_named(model):
    for make in (bebr.FlatIndex, bebr.IVFIndex, bebr.GraphIndex):
        with pytest.raises(ValueError, match=r"binarizer is of type \w+: want a Binarizer"):
            make(model)
