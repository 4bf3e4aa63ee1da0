"""What filters mean, and the forms they are written in."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings

from bebr import F
from bebr.collection.filter_form import MOST_BYTES, MOST_DEPTH, as_filter, filter_of_text
from tests.collection.payloads import FILTERS, PAYLOADS

BOOK = {
    "lang": "de",
    "year": 2004,
    "price": 9.5,
    "draft": False,
    "tags": ["red", "infra"],
    "none": None,
    "empty": [],
    "meta": {"author": {"name": "Ada"}, "pages": [10, 20]},
    "parts": [{"title": "One", "at": 1}, {"title": "Two"}, None],
    "grid": [[1, 2], [3]],
    "seen": "2024-05-01T12:00:00Z",
    "by": "00000000-0000-0000-0000-000000000007",
    "built": "1850-01-01T00:00:00+00:19:32",
    "until": "9999-12-31T23:59:59.999999-12:00",
    "since": "0001-01-01T00:00:00+14:00",
}

HOLDS = [
    {},
    {"lang": "de"},
    {"lang": {"eq": "de"}, "year": {"gte": 2004, "lt": 2005}},
    {"lang": {"in": ["en", "de"]}},
    {"lang": {"nin": ["en", "fr"]}},
    {"lang": {"ne": "en"}},
    {"price": {"gt": 9}},
    {"price": {"lte": 9.5}},
    {"year": 2004.0},
    {"draft": False},
    {"$or": [{"lang": "en"}, {"year": 2004}]},
    {"$and": [{"lang": "de"}, {"year": 2004}], "draft": False},
    {"$not": {"lang": "en"}},
    # a list has its elements as values
    {"tags": "red"},
    {"tags": {"contains": "red"}},
    {"meta.pages": {"gt": 15}},
    {"parts.title": "Two"},
    {"parts.at": {"exists": True}},
    # text inside text
    {"lang": {"contains": "d"}},
    # inside another object
    {"meta.author.name": "Ada"},
    {"meta": {"exists": True}},
    {"grid": {"exists": True}},
    # no value
    {"missing": {"exists": False}},
    {"none": {"exists": False}},
    {"empty": {"exists": False}},
    {"missing": None},
    {"lang": {"ne": None}},
    {"missing": {"ne": 1}},
    {"missing": {"nin": [1]}},
    {"$not": {"missing": {"gt": 0}}},
    # text that is a time
    {"seen": {"gt": datetime(2024, 5, 1, 11, tzinfo=timezone.utc)}},
    {"seen": datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))},
    {"seen": {"lt": date(2024, 5, 2)}},
    {"seen": {"gte": {"$date": "2024-05-01"}}},
    {"seen": {"gt": "2024-05-01"}},
    {"seen": {"gt": np.datetime64("2024-05")}},
    {"seen": np.datetime64("2024-05-01T12:00:00.000000000")},
    # a zone of old has seconds
    {"built": datetime(1849, 12, 31, 23, 40, 28)},
    {"built": datetime(1850, 1, 1, tzinfo=timezone(timedelta(minutes=19, seconds=32)))},
    # in UTC it is no time that a datetime has
    {"until": {"gt": datetime.max}},
    {"until": datetime.max.replace(tzinfo=timezone(-timedelta(hours=12)))},
    {"until": {"lt": {"$date": "9999-12-31T23:59:59.999999-13:00"}}},
    {"since": {"lt": datetime.min}},
    {"since": {"eq": {"$date": "0001-01-01T00:00:00+14:00"}}},
    # text that is a UUID
    {"by": UUID(int=7)},
    {"by": {"in": [UUID(int=6), UUID(int=7)]}},
]

FAILS = [
    {"lang": "DE"},
    {"lang": {"in": []}},
    {"missing": {"in": ["a"]}},
    {"missing": {"lt": 0}},
    {"missing": {"contains": "a"}},
    # types do not mix
    {"year": "2004"},
    {"draft": 0},
    {"year": True},
    {"lang": {"gt": 0}},
    {"year": {"contains": 2004}},
    # no element, or not all
    {"tags": {"ne": "red"}},
    {"tags": {"contains": "inf"}},
    {"grid": 1},
    {"meta": "author"},
    {"lang.x": {"exists": True}},
    {"seen": {"lt": date(2024, 5, 1)}},
    {"lang": {"lt": date(2024, 5, 1)}},
    {"by": {"ne": UUID(int=7)}},
    {"since": {"gt": {"$date": "0001-01-01T00:00:00+14:00"}}},
]


@pytest.mark.parametrize("filter", HOLDS, ids=str)
def test_holds(filter):
    assert as_filter(filter).matches(BOOK)
    assert filter_of_text(as_filter(filter).text).matches(BOOK)
    assert not (~as_filter(filter)).matches(BOOK)


@pytest.mark.parametrize("filter", FAILS, ids=str)
def test_fails(filter):
    assert not as_filter(filter).matches(BOOK)


def test_a_row_without_a_payload_has_no_values():
    assert as_filter({}).matches(None) and as_filter({"a": None}).matches(None)
    assert not as_filter({"a": {"exists": True}}).matches(None)


def test_conditions_by_operators_are_those_of_dicts():
    pairs = [
        (F("year") >= 2000, {"year": {"gte": 2000}}),
        (F("year") > 2000, {"year": {"gt": 2000}}),
        (F("year") <= np.int64(3), {"year": {"lte": 3}}),
        (F("year") < np.float32(0.5), {"year": {"lt": 0.5}}),
        (F("lang") == "de", {"lang": "de"}),
        (F("lang") != "de", {"lang": {"ne": "de"}}),
        (F("lang") == None, {"lang": {"exists": False}}),  # noqa: E711  a field, which has its own ==
        (F("lang").isin(["de", "en"]), {"lang": {"in": ["de", "en"]}}),
        (~F("lang").isin(["de"]), {"lang": {"nin": ["de"]}}),
        (F("a.b").exists(), {"a.b": {"exists": True}}),
        (F("tags").contains("x"), {"tags": {"contains": "x"}}),
        ((F("a") == 1) & (F("b") == 2) & (F("c") == 3), {"$and": [{"a": 1}, {"b": 2}, {"c": 3}]}),
        ((F("a") == 1) | (F("b") == 2), {"$or": [{"a": 1}, {"b": 2}]}),
        (~((F("a") == 1) | (F("b") == 2)), {"$not": {"$or": [{"a": 1}, {"b": 2}]}}),
        (F("at") < date(2024, 1, 2), {"at": {"lt": {"$date": "2024-01-02T00:00:00Z"}}}),
    ]
    for made, written in pairs:
        assert (made == as_filter(written)) is True, made
        assert hash(made) == hash(as_filter(written))
    assert repr(F("year") >= 2000) == "Filter({'year': {'gte': 2000}})"


def test_a_filter_has_no_truth():
    with pytest.raises(TypeError, match="join filters by &"):
        F("a") > 1 and F("a") < 3
    with pytest.raises(TypeError, match="neither true nor false"):
        1 < F("a") < 3  # noqa: B015
    with pytest.raises(TypeError, match="compare it with something"):
        not F("a")


@given(filter=FILTERS, payload=PAYLOADS)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_wire_form_means_the_same(filter, payload):
    made = as_filter(filter)
    sent = filter_of_text(made.text)
    assert sent.text == made.text and (sent == made) is True
    assert sent.matches(payload) == made.matches(payload)


def nested(depth: int) -> dict:
    filter: dict = {"a": 1}
    for _ in range(depth - 1):
        filter = {"$or": [filter]}
    return filter


BAD = [
    (5, "filter is 5: want a dict"),
    ("lang = 'de'", "filter is .*: want a dict"),
    ({"a": {"gte": None}}, r"filter\.a\.gte is None: want a bool, a finite number, text, a datetime or a date"),
    ({"a": {"eq": float("nan")}}, r"filter\.a\.eq is nan"),
    ({"a": {"lt": np.datetime64("NaT")}}, r"filter\.a\.lt is .*NaT"),
    ({"a": {"gt": True}}, r"filter\.a\.gt is True: want a number, text"),
    ({"a": [1, 2]}, r'filter\.a is a list: want \{"in": '),
    ({"a": {}}, r"filter\.a is \{\}: want at least one of exists, eq"),
    ({"a": {"$gte": 1}}, r"filter\.a has the operator '\$gte': want one of exists, eq, in, gt, gte"),
    ({"a": {"in": "de"}}, r"filter\.a\.in is 'de': want a list"),
    ({"a": {"in": ["de", None]}}, r"filter\.a\.in\[1\] is None"),
    ({"a": {"exists": 1}}, r"filter\.a\.exists is 1: want True or False"),
    ({"a": {"contains": {"b": 1}}}, r"filter\.a\.contains is \{'b': 1\}"),
    ({"a": {"gt": {"$date": "yesterday"}}}, r"filter\.a\.gt is .*: want an ISO date"),
    ({"$or": []}, r"filter\.\$or is \[\]: want a list of at least one"),
    ({"$or": {"a": 1}}, r"filter\.\$or is .*: want a list"),
    ({"$or": [{"a": 1}, {"b": {"x": 1}}]}, r"filter\.\$or\[1\]\.b has the operator 'x'"),
    ({"$not": 1}, r"filter\.\$not is 1: want a dict"),
    ({"$nor": [{"a": 1}]}, r"filter\.\$nor: want the name of a field, or \$and, \$or, \$not"),
    ({"": 1}, "filter: '' is no field"),
    ({"a..b": 1}, r"filter: 'a\.\.b' is no field"),
    ({1: 1}, "filter: 1 is no field"),
    ({"a": "\ud800"}, "cannot be written as UTF-8"),
    (nested(MOST_DEPTH + 1), f"nested more than {MOST_DEPTH} levels"),
    ({"a": "x" * MOST_BYTES}, f"want at most {MOST_BYTES}"),
]


@pytest.mark.parametrize("filter, words", BAD, ids=[words[:40] for _, words in BAD])
def test_what_cannot_be_read_is_refused_with_its_place(filter, words):
    with pytest.raises(ValueError, match=words):
        as_filter(filter)


def test_bounds():
    assert as_filter(nested(MOST_DEPTH)).matches({"a": 1})
    deep = F("a") == 1
    for _ in range(2000):
        deep = ~(deep | (F("b") == 1))
    with pytest.raises(ValueError, match="nested more than"):
        as_filter(deep)
    for text in ("[" * 10_000, "5", "{", json.dumps({"a": "x" * MOST_BYTES})):
        with pytest.raises(ValueError, match=r"^filter "):
            filter_of_text(text)


def test_a_filter_moves_under_a_key():
    over = (F("lang") == "de") & ~(F("year") < 2000) | F("a.b").exists()
    assert over.under("metadata") == (
        (F("metadata.lang") == "de") & ~(F("metadata.year") < 2000) | F("metadata.a.b").exists()
    )
