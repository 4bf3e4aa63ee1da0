"""GraphIndex(inline=...): nodes hold bytes of their neighbours' codes, and answers are those of any graph."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import bebr
from bebr import GraphIndex
from tests.conftest import clustered, recall

ROWS, VERSION = 2000, slice(8, 12)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return clustered(ROWS, 64)


@pytest.fixture(scope="module")
def bz() -> bebr.Binarizer:
    return bebr.untrained(64, 64)  # codes of 62 bytes and a factor


@pytest.fixture(scope="module")
def index(bz: bebr.Binarizer, x: np.ndarray) -> GraphIndex:
    made = GraphIndex(bz, inline=32)
    made.add(x)
    return made


def scores_of_all(index: GraphIndex, queries: np.ndarray) -> np.ndarray:
    """float32[queries, ROWS] by id, each row scored by itself: no walk finds so many."""
    hits = index.search(queries, ROWS)
    assert (np.sort(hits.ids) == np.arange(ROWS)).all()
    return np.take_along_axis(hits.scores, np.argsort(hits.ids), axis=1)


def test_as_much_is_found_as_without_and_scores_are_the_same(index, bz, x, queries):
    plain, flat = GraphIndex(bz), bebr.FlatIndex(bz)
    plain.add(x)
    flat.add(x)
    np.testing.assert_array_equal(scores_of_all(index, queries), scores_of_all(plain, queries))
    want = flat.search(queries, 10, exact=True).ids
    for ef_search, least in ((16, 0.9), (100, 0.99)):
        hits = index.search(queries, 10, ef_search=ef_search)
        found = recall(hits.ids, want)
        assert found > max(least, recall(plain.search(queries, 10, ef_search=ef_search).ids, want) - 0.02)
        np.testing.assert_array_equal(hits.scores, np.take_along_axis(scores_of_all(index, queries), hits.ids, axis=1))


def test_recall_survives_removing_and_adding_half(bz, x, queries):
    again, flat = GraphIndex(bz, inline=32), bebr.FlatIndex(bz)
    again.add(x)
    flat.add(x)
    gone = np.random.default_rng(5).permutation(ROWS)[: ROWS // 2]
    for part in np.array_split(gone, 4):
        again.remove(part)
    for part in np.array_split(gone, 3):
        again.add(x[part], part)
    assert recall(again.search(queries, 10, ef_search=60).ids, flat.search(queries, 10, exact=True).ids) > 0.97


def test_searches_beside_writers_give_each_row_its_own_score(bz, x, queries):
    """Slots are freed and used again by other rows all the time; a link that is read with another row's bytes must not
    show."""
    index = GraphIndex(bz, ef_construction=32, inline=32)
    index.add(x)
    want = scores_of_all(index, queries)
    done, wrong = threading.Event(), []

    def search() -> None:
        while not done.is_set():
            hits = index.search(queries, 10, ef_search=20)
            if (hits.ids < 0).any() or (hits.scores != np.take_along_axis(want, hits.ids, axis=1)).any():
                wrong.append(hits)

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    order = np.random.default_rng(6).permutation(ROWS // 2)
    try:
        for part in np.array_split(order, 5):
            index.remove(part)  # one in ten: links are repaired
            index.add(x[part], part)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong
    np.testing.assert_array_equal(scores_of_all(index, queries), want)


@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_keeps_the_bytes_and_older_software_is_told(index, bz, x, queries, tmp_path: Path, mmap):
    index.save(tmp_path / "inline.bebr")
    again = bebr.open_index(tmp_path / "inline.bebr", mmap=mmap)
    assert again.inline == 32 and again.bytes_per_vector == index.bytes_per_vector
    for opened, made in zip(again.search(queries, 10), index.search(queries, 10), strict=True):
        np.testing.assert_array_equal(opened, made)
    plain = GraphIndex(bz)
    plain.add(x[:50])
    plain.save(tmp_path / "plain.bebr")
    versions = [(tmp_path / name).read_bytes()[VERSION] for name in ("plain.bebr", "inline.bebr")]
    assert versions == [b"\2\0\0\0", b"\3\0\0\0"]
    newer = bytearray((tmp_path / "inline.bebr").read_bytes())
    newer[VERSION] = b"\4\0\0\0"
    (tmp_path / "newer.bebr").write_bytes(newer)
    with pytest.raises(bebr.CorruptFile, match=r"format version 4 is newer than this build reads \(3\): update bebr"):
        bebr.open_index(tmp_path / "newer.bebr")


def test_a_node_takes_what_is_said(bz):
    plain, index = GraphIndex(bz), GraphIndex(bz, inline=32)
    assert (plain.inline, plain.bytes_per_vector) == (0, 256)
    # Up to the links as before, 32 factors of 2 bytes, whole lines, and two blocks of 16 neighbours.
    assert (index.inline, index.bytes_per_vector) == (32, 256 + 2 * 16 * 32 + (4 + 64 + 4 * 32 + 2 * 32 > 256) * 64)
    assert GraphIndex(bebr.untrained(64, 10), inline=32).bytes_per_vector == 256 + 32 * 8  # no code has more bytes


@pytest.mark.parametrize(
    ("inline", "message"),
    [
        (6, "inline is 6: want a multiple of 4 from 0 to 64"),
        (68, "inline is 68: want an integer from 0 to 64"),
        (-4, "inline is -4"),
        (32.0, "inline is 32.0"),
        (True, "inline is True"),
    ],
)
def test_bad_numbers_are_named(bz, inline, message):
    with pytest.raises(ValueError, match=message):
        GraphIndex(bz, inline=inline)
