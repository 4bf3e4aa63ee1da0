from __future__ import annotations

import threading
import time

from bebr.store.locking import ReadWriteLock


def test_readers_share_and_a_writer_is_alone():
    lock, together = ReadWriteLock(), threading.Barrier(3)
    inside, seen = [0], []

    def read():
        with lock.read():
            inside[0] += 1
            together.wait(5)  # passes only if all three hold the lock at once
            inside[0] -= 1

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    with lock.write():
        seen.append(inside[0])
    for reader in readers:
        reader.join()
    assert seen == [0]


def test_a_stream_of_readers_does_not_starve_a_writer():
    lock, stop = ReadWriteLock(), threading.Event()

    def read():
        while not stop.is_set():
            with lock.read():
                time.sleep(0.002)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    writes = 0
    deadline = time.monotonic() + 5
    while writes < 20 and time.monotonic() < deadline:
        with lock.write():
            writes += 1
    stop.set()
    for reader in readers:
        reader.join()
    assert writes == 20


def test_an_error_inside_frees_the_lock():
    lock = ReadWriteLock()
    for side in (lock.read, lock.write):
        try:
            with side():
                raise OSError
        except OSError:
            pass
    with lock.write():
        pass
