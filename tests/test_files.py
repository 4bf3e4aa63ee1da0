"""Files are replaced as a whole, whoever else writes them."""

from __future__ import annotations

import threading

from bebr.files import write_atomically


def test_threads_that_write_one_path_do_not_mix_their_bytes(tmp_path):
    path = tmp_path / "x.bin"

    def write(letter: bytes) -> None:
        for _ in range(20):
            write_atomically(path, letter * 200_000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    data = path.read_bytes()
    assert len(data) == 200_000 and len(set(data)) == 1
    assert list(tmp_path.iterdir()) == [path]
