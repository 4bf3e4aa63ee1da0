"""Files are replaced as a whole, whoever else writes them."""

from __future__ import annotations

import os
import stat
import threading

import pytest

import bebr
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


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    """A rename puts a file in the place of a device: of /dev/null, where the program may."""
    bz = bebr.untrained(8, 4)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for save in (bz.save, bebr.FlatIndex(bz).save):
        with pytest.raises(ValueError, match="pipe is no regular file: want another path"):
            save(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("path", [None, 3, "a\0b"])
def test_what_is_no_path_is_not_taken_for_a_name(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    index = bebr.FlatIndex(bebr.untrained(8, 4))
    said = "zero byte" if isinstance(path, str) else "expected str, bytes"
    for call in (index.save, bebr.open_index):
        with pytest.raises((TypeError, ValueError), match=said):
            call(path)
    index.save(b"x.bebr")
    assert [one.name for one in tmp_path.iterdir()] == ["x.bebr"] and len(bebr.open_index(b"x.bebr")) == 0
