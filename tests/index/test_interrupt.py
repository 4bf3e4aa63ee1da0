"""Ctrl-C ends long work of the extension, and leaves an index as it was."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest

import bebr

DIM, ROWS = 64, 60_000
SOON = 5.0  # seconds, of work that takes far longer; on a quiet machine it is a tenth of one


@pytest.fixture(autouse=True)
def ctrl_c():
    """As in a terminal: who is started in the background by a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def two_threads():
    before = bebr.get_num_threads()
    bebr.set_num_threads(2)  # so that it takes long everywhere
    yield
    bebr.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return bebr.untrained(DIM, 34)


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)


def interrupted(work) -> float:
    """Seconds from Ctrl-C until ``work`` had ended by it."""
    sent: list[float] = []

    def send() -> None:
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(0.3, send)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
            timer.join()  # it ended by itself, before the signal
            time.sleep(1)
            raise AssertionError("too short to be interrupted")
        return time.monotonic() - sent[0]
    finally:
        timer.join()


@pytest.mark.parametrize("kind", ["flat", "ivf", "graph"])
def test_a_search_ends(model, vectors, kind):
    made = {"flat": bebr.FlatIndex, "ivf": lambda bz: bebr.IVFIndex(bz, 16), "graph": bebr.GraphIndex}[kind](model)
    rows = vectors if kind != "graph" else vectors[:5000]
    made.add_codes(model.encode(rows, optimize=False), np.arange(len(rows)))
    many = np.tile(vectors, (4, 1))
    options = {"flat": {"exact": True}, "ivf": {"nprobe": 16, "margin": "exact"}, "graph": {"ef_search": 500}}[kind]
    before = made.search(vectors[:20], 5, **options)

    assert interrupted(lambda: made.search(many, 50, **options)) < SOON
    after = made.search(vectors[:20], 5, **options)
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_array_equal(after.scores, before.scores)


def test_encoding_ends(model, vectors):
    assert interrupted(lambda: model.encode(np.tile(vectors, (20, 1)))) < SOON


def test_rows_of_a_graph_are_all_linked_or_none_is_there(model, vectors):
    index = bebr.GraphIndex(model, rescore="float16")
    index.add(vectors[:2000])
    before = index.search(vectors[:200], 5).ids
    more = np.tile(vectors, (4, 1))
    codes = model.encode(more, optimize=False)
    plain = bebr.GraphIndex(model)
    plain.add_codes(codes[:2000], np.arange(2000))

    assert interrupted(lambda: plain.add_codes(codes[2000:], np.arange(2000, len(codes)))) < SOON
    assert len(plain) == 2000 and 2000 not in plain
    assert interrupted(lambda: index.add(more[2000:])) < SOON
    assert len(index) == 2000 and 2000 not in index
    assert (index.search(vectors[:200], 5).ids == before).mean() > 0.95
    index.add(vectors[2000:3000])
    assert (index.search(vectors[2000:2100], 1).ids[:, 0] == np.arange(2000, 2100)).mean() > 0.95
