"""How many threads a product takes: small ones stay on their caller's, and the BLAS is left as it was found."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import threadpoolctl

import bebr
from bebr import threads
from tests.conftest import clustered

LARGE, SMALL = threads.WORTH_THREADS, threads.WORTH_THREADS - 1


def now() -> list[int]:
    """Threads of every BLAS of this process."""
    return [one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]


@pytest.fixture
def three():
    """bebr and the BLAS with three threads each; skips where the BLAS takes no orders."""
    before = bebr.get_num_threads()
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        if set(now()) != {3}:
            pytest.skip("this BLAS does not take three threads")
        bebr.set_num_threads(3)
        yield
        bebr.set_num_threads(before)


def test_only_a_large_product_takes_threads(three):
    with threads.blas(SMALL):
        assert set(now()) == {1}
    with threads.blas(LARGE):
        assert set(now()) == {3}
    bebr.set_num_threads(2)
    with threads.blas(LARGE):
        assert set(now()) == {2}
    bebr.set_num_threads(8)
    with threads.blas(LARGE):
        assert set(now()) == {3}  # never more than there were
    assert set(now()) == {3}


def test_what_fails_leaves_the_threads_as_they_were(three):
    with pytest.raises(np.linalg.LinAlgError):
        threads.solve(np.zeros((4, 4)), np.ones((4, 2)))
    assert set(now()) == {3}


def test_blocks_at_once_share_the_smallest_limit(three):
    if any(one.get("threading_layer") == "openmp" for one in threadpoolctl.threadpool_info()):
        pytest.skip("with OpenMP every thread has a number of its own")
    inside, leave = threading.Event(), threading.Event()

    def small() -> None:
        with threads.blas(SMALL):
            inside.set()
            leave.wait(60)

    other = threading.Thread(target=small)
    with threads.blas(LARGE):
        other.start()
        assert inside.wait(60) and set(now()) == {1}
    assert set(now()) == {1}  # the other is not done
    leave.set()
    other.join()
    assert set(now()) == {3}


def test_products_are_numpys(three):
    random = np.random.default_rng(0)
    a, b = random.standard_normal((20, 30)), random.standard_normal((30, 30))
    for right in (b, b[0]):
        np.testing.assert_allclose(threads.product(a, right), a @ right)
    np.testing.assert_allclose(threads.product(a[0], b), a[0] @ b)
    symmetric = b + b.T
    np.testing.assert_allclose(threads.eigh(symmetric)[0], np.linalg.eigvalsh(symmetric))
    np.testing.assert_allclose(symmetric @ threads.solve(symmetric, b), b)
    q, r = threads.qr(b)
    np.testing.assert_allclose(q @ r, b)


def test_training_few_vectors_gives_the_blas_no_threads(three, monkeypatch):
    x = clustered(100, 64)
    seen: list[set[int]] = []

    def watched(function):
        def call(*arguments):
            seen.append(set(now()))
            return function(*arguments)

        return call

    for name in ("eigh", "solve", "qr"):
        monkeypatch.setattr(np.linalg, name, watched(getattr(np.linalg, name)))
    bebr.train(x, bytes_per_vector=12)
    assert seen and all(one == {1} for one in seen) and set(now()) == {3}


def test_steps_of_a_small_network_take_one_thread_of_torch():
    torch = pytest.importorskip("torch", reason="torch is absent: pip install 'bebr[train]'")
    from bebr.training.gradient.loop import Loop

    network = torch.nn.Linear(32, 32, bias=False)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    loop = Loop(network, optimizer, 1, lambda: 0.0, torch.Generator())
    before, ours = torch.get_num_threads(), bebr.get_num_threads()
    torch.set_num_threads(2)
    bebr.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="stopped"), loop.threads(100):
            assert torch.get_num_threads() == 1
            raise RuntimeError("stopped")
        assert torch.get_num_threads() == 2
        with loop.threads(LARGE // 1024):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
        bebr.set_num_threads(ours)
