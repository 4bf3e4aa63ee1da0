"""Pairs that share a row stay together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bebr.training.gradient.groups import joined, split


def test_captions_of_one_image_form_a_group() -> None:
    rng = np.random.default_rng(0)
    images = np.repeat(rng.standard_normal((40, 8)).astype(np.float32), 5, axis=0)
    groups = joined(images, rng.standard_normal((200, 8)).astype(np.float32))
    assert np.array_equal(groups, np.repeat(np.arange(40) * 5, 5))


def test_a_chain_of_shared_rows_is_one_group() -> None:
    """0 and 2 share a document, 1 and 2 a query; nothing joins 0 and 1 but 2."""
    assert joined(np.array([0, 1, 1]), np.array([0, 1, 0])).tolist() == [0, 0, 0]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_groups_are_the_connected_components(edges: list[tuple[int, int]]) -> None:
    queries, documents = np.array(edges).T
    groups = joined(queries, documents)
    expected = np.eye(len(edges), dtype=bool)
    for side in (queries, documents):
        expected |= side[:, None] == side[None, :]
    for _ in edges:
        expected = expected @ expected
    assert np.array_equal(groups[:, None] == groups[None, :], expected)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(0, 60), st.integers(0, 3))
def test_a_split_parts_no_group_and_takes_no_more_than_its_share(labels: list[int], share: int, seed: int) -> None:
    groups = joined(np.array(labels))
    held, kept = split(groups, share, seed)
    assert np.array_equal(np.sort(np.concatenate([held, kept])), np.arange(len(labels)))
    assert not np.intersect1d(groups[held], groups[kept]).size
    assert len(held) <= share
    if share < len(labels):  # whatever is kept would not have fitted
        assert all(np.sum(groups == group) > share - len(held) for group in np.unique(groups[kept]))
