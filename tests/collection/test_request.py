"""What a search is asked for: checks whose results are kept."""

from __future__ import annotations

from datetime import date, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from bebr.collection.filter import F
from bebr.collection.filter_form import as_filter
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


def test_options_with_a_filter_are_made_once() -> None:
    first = asked(filter={"a": {"gte": 1, "lt": 5}}).options
    assert asked(filter={"a": {"gte": 1, "lt": 5}}).options is first
    assert asked(filter={"a": {"gte": 1, "lt": 6}}).options.filter != first.filter
    assert asked(k=9, filter={"a": {"gte": 1, "lt": 5}}).options.k == 9


def test_filters_are_kept_apart_by_the_types_in_them() -> None:
    ones: list[Any] = [1, 1.0, True, "1", datetime(2026, 1, 1)]
    for _ in range(2):
        texts = [asked(filter={"a": one}).options.filter for one in ones]
        assert [repr(text) for text in texts] == [repr(as_filter({"a": one})) for one in ones]


# Some of these marshal takes for bytes, others not at all.
@pytest.mark.parametrize(
    "given",
    [
        {"a": np.int64(3)},
        {"a": np.float64(2.5)},
        {"a": np.bool_(True)},
        {"a": np.str_("x")},
        {"a": {"in": np.arange(3)}},
        {"a": {"exists": np.bool_(False)}},
        {np.str_("a"): 1},
        MappingProxyType({"a": 1}),
        {"$or": [F("a") == 1, {"b": 2}]},
        {"$not": {"a": date(2026, 1, 1)}},
    ],
    ids=repr,
)
def test_what_is_no_plain_value_is_read_as_ever(given: Any) -> None:
    for _ in range(2):
        assert asked(filter=given).options.filter == as_filter(given)


@pytest.mark.parametrize("given", [5, "a", [], {"a": b"x"}, {"$and": {}}, {"a": {"$gte": 1}}, {"a": float("nan")}])
def test_what_is_no_filter_is_refused_each_time(given: Any) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^filter"):
            asked(filter=given)


def test_more_filters_than_are_kept() -> None:
    for _ in range(2):
        for n in range(400):
            assert asked(filter={"a": n}).options.filter == (F("a") == n)


def test_a_filter_that_changes_later_is_the_one_that_was_asked() -> None:
    given: dict[str, Any] = {"a": {"in": [1, 2]}}
    first = asked(filter=given).options.filter
    given["a"]["in"].append(3)
    assert first == F("a").isin([1, 2])
    assert asked(filter=given).options.filter == F("a").isin([1, 2, 3])
