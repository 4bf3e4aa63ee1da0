"""What a search is asked for: checks whose results are kept."""

from __future__ import annotations

from typing import Any

import pytest

from bebr.collection.request import SearchRequest, check_search_ids


def asked(**given: Any) -> SearchRequest:
    return check_search_ids(
        [1],
        **{
            **{"k": 10, "oversampling": None, "exact": False, "nprobe": None, "ef_search": None, "allow": None},
            **{"filter": None, "radius": None, "offset": 0, "group_by": None, "group_size": 1},
            **{"with_payloads": False, "rescore": None, **given},
        },
    )


def test_the_same_is_checked_once() -> None:
    assert asked(k=7, offset=3).options is asked(k=7, offset=3).options


@pytest.mark.parametrize(("right", "wrong"), [(1, True), (1, 1.0)])
def test_what_equals_a_number_is_none(right: int, wrong: Any) -> None:
    assert asked(k=right).k == right
    with pytest.raises(ValueError, match=f"k is {wrong!r}: want an integer"):
        asked(k=wrong)


def test_what_cannot_be_kept_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"k is \[1\]: want an integer"):
        asked(k=[1])


def test_a_filter_is_of_its_search_alone() -> None:
    assert asked(filter={"a": 1}).options.filter is not None
    assert asked().options.filter is None
