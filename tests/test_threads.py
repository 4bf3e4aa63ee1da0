"""How many threads numpy's BLAS and torch have: one for little work, and afterwards as many as they were found with."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
import threadpoolctl

import bebr
from bebr import _core, exact, threads
from bebr.training.compat.compatible import make_compatible
from tests.conftest import clustered

MUCH, LITTLE = threads.WORTH_THREADS, threads.WORTH_THREADS - 1


def now() -> set[int]:
    """Threads of numpy's BLAS, and of others that were there when it was first looked at."""
    return {library.get_num_threads() for library in threads._libraries()}


@pytest.fixture
def three():
    """bebr and the BLAS with three threads each; skips where the BLAS takes no orders."""
    before = bebr.get_num_threads()
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        if now() != {3}:
            pytest.skip("this BLAS does not take three threads")
        bebr.set_num_threads(3)
        yield
        bebr.set_num_threads(before)


def test_only_much_work_takes_threads(three):
    with threads.blas_threads(LITTLE):
        assert now() == {1}
        with threads.blas_threads(MUCH):
            assert now() == {1}
    with threads.blas_threads(MUCH):
        assert now() == {3}
    bebr.set_num_threads(2)
    with threads.blas_threads(MUCH):
        assert now() == {2}
    bebr.set_num_threads(8)
    with threads.blas_threads(MUCH):
        assert now() == {3}  # never more than there were
    assert now() == {3}


@pytest.mark.parametrize("n", [1.5, "2", None, True])
def test_a_number_of_threads_is_an_integer(n):
    with pytest.raises(ValueError, match=r"num_threads is .*: want an integer"):
        bebr.set_num_threads(n)


def test_what_fails_leaves_the_threads_as_they_were(three):
    with pytest.raises(ValueError, match="stopped"), threads.blas_threads(LITTLE):
        raise ValueError("stopped")
    assert now() == {3}


def test_blocks_at_once_share_the_smallest_limit(three):
    inside, leave = threading.Event(), threading.Event()

    def small() -> None:
        with threads.blas_threads(LITTLE):
            inside.set()
            leave.wait(60)

    other = threading.Thread(target=small)
    with threads.blas_threads(MUCH):
        other.start()
        assert inside.wait(60) and now() == {1}
    assert now() == {1}  # the other is not done
    leave.set()
    other.join()
    assert now() == {3}


X = clustered(300, 64)


@pytest.mark.parametrize(
    "work",
    [
        lambda: bebr.train(X, bytes_per_vector=12),
        lambda: bebr.plan(X, bytes_per_vector=12),
        lambda: exact.exact(X, X[:3], 5, "l2"),
        lambda: make_compatible(*[bebr.train(X, widths=[16], rounds=0)] * 2, X, X, epochs=0),
    ],
    ids=["train", "plan", "exact", "compatible"],
)
def test_few_vectors_leave_the_blas_one_thread(work, three, monkeypatch):
    seen: list[set[int]] = []

    def watched(function):
        def call(*arguments, **options):
            seen.append(now())
            return function(*arguments, **options)

        return call

    for name in ("eigh", "solve", "qr"):
        monkeypatch.setattr(np.linalg, name, watched(getattr(np.linalg, name)))
    monkeypatch.setattr(exact, "similarity", watched(exact.similarity))
    work()
    assert seen and all(one == {1} for one in seen) and now() == {3}


@pytest.mark.parametrize(("rows", "wanted"), [(100, 1), (MUCH // 3072 + 1, 2)])
def test_steps_of_a_small_network_take_one_thread_of_torch(rows, wanted):
    torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[train]'")
    from bebr.training.gradient.loop import Loop

    network = torch.nn.Linear(32, 32, bias=False)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    loop = Loop(network, optimizer, 1, rows, lambda: 0.0, torch.Generator())
    before, ours = torch.get_num_threads(), bebr.get_num_threads()
    torch.set_num_threads(2)
    bebr.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="stopped"):
            for _ in loop.epochs(1, "steps", lambda stage, done, total: None):
                assert torch.get_num_threads() == wanted
                raise RuntimeError("stopped")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
        bebr.set_num_threads(ours)


def test_calls_of_the_foreground_are_counted():
    bz = bebr.untrained(16, 4)
    x = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    index = bebr.FlatIndex(bz)
    index.add(x)
    before = _core.foreground_calls()
    index.search(x[0], 3)
    searched = _core.foreground_calls()
    assert searched > before

    def background() -> None:
        _core.enter_background()
        bz.encode(x)

    thread = threading.Thread(target=background)
    thread.start()
    thread.join()
    assert _core.foreground_calls() == searched


@pytest.mark.parametrize("work", ["index.search(x[:50], 10)", "model.encode(x[:200])", "len(index)"])
def test_a_program_ends_while_daemon_threads_work(work):
    """They want Python's lock back when there is none any more."""
    code = f"""
import sys, threading, time
import numpy as np
import bebr
x = np.random.default_rng(0).standard_normal((20000, 64)).astype(np.float32)
model = bebr.untrained(64, 34)
index = bebr.FlatIndex(model)
index.add(x)
def forever():
    while True:
        {work}
for _ in range(3):
    threading.Thread(target=forever, daemon=True).start()
time.sleep(0.2)
sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (3, "")
