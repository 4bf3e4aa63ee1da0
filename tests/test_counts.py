"""How many of something, in words."""

from __future__ import annotations

import pytest

from bebr.cli.counts import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (2000, ("row",), "2,000 rows"),
        (1, ("query", "queries"), "1 query"),
        (3, ("query", "queries"), "3 queries"),
    ],
)
def test_one_is_singular(number, words, said):
    assert counted(number, *words) == said
