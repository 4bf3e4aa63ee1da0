"""A property that is worked out once holds nobody up."""

from __future__ import annotations

import threading

import bebr.store.snapshots.snapshot as snapshots
from bebr.lazy import lazy_property
from tests.store.test_fork import in_fork


class Slow:
    """Whose property takes until it may go on."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.ended = False

    @lazy_property
    def made(self) -> list[int]:
        """A new list."""
        self.asked.set()
        self.go_on.wait(10)
        self.ended = True
        return []


def in_thread(slow: Slow) -> tuple[threading.Thread, list[list[int]]]:
    found: list[list[int]] = []
    thread = threading.Thread(target=lambda: found.append(slow.made))
    thread.start()
    assert slow.asked.wait(30)
    return thread, found


def test_another_object_does_not_wait():
    slow, other = Slow(), Slow()
    thread, _ = in_thread(slow)
    other.go_on.set()
    assert other.made == [] and not slow.ended  # with a lock of the class it would wait for the thread
    slow.go_on.set()
    thread.join()


def test_a_fork_in_the_meantime_does_not_wait():
    slow, other = Slow(), Slow()
    thread, _ = in_thread(slow)
    other.go_on.set()
    assert in_fork(lambda: other.made == [])
    slow.go_on.set()
    thread.join()


def test_all_get_the_first_that_is_there():
    slow = Slow()
    thread, found = in_thread(slow)
    slow.go_on.set()
    mine = slow.made
    thread.join()
    assert found[0] is mine and slow.made is mine


def test_the_class_has_the_property_itself():
    assert isinstance(Slow.made, lazy_property) and Slow.made.__doc__ == "A new list."
    assert isinstance(snapshots.Snapshot.engine, lazy_property)
