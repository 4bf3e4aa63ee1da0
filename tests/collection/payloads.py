"""Payloads and filters for hypothesis: few paths and few values, so that they meet."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

from hypothesis import strategies as st

SCALARS = st.one_of(
    st.booleans(),
    st.sampled_from([0, 1, 2, -1, 3, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**80, 10**400]),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, 1.5, 2.0**53, 2.0**63, 1e300, -1e300]),
    st.sampled_from(["", "a", "ab", "b", "ü", "1", "a" * 300, "2024-05-01", "2024-05-01T12:00:00Z", "2024-05-02"]),
    st.sampled_from(["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "1850-01-01T00:00:00+00:19:32"]),
)
TIMES = st.sampled_from(
    [
        *(date(2024, 5, 1), datetime(2024, 5, 1, 12, tzinfo=timezone.utc), date(2023, 1, 1)),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=12))),
        datetime(1850, 1, 1, tzinfo=timezone(timedelta(minutes=19, seconds=32))),
    ]
)
PATHS = st.sampled_from(["a", "b", "c", "a.b", "b.a", "a.b.c"])

_VALUES = st.recursive(
    SCALARS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c", "a.b", ""]), inner),
    max_leaves=5,
)
PAYLOADS = st.none() | st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3)

_OPERANDS = SCALARS | TIMES
_ORDERED = st.dictionaries(
    st.sampled_from(["gt", "gte", "lt", "lte"]),
    _OPERANDS.filter(lambda value: not isinstance(value, bool)),
    min_size=1,
    max_size=2,
)
_CONDITIONS = st.one_of(
    _OPERANDS,
    st.none(),
    _ORDERED,
    st.builds(lambda name, value: {name: value}, st.sampled_from(["eq", "ne", "contains"]), _OPERANDS),
    st.builds(lambda name, values: {name: values}, st.sampled_from(["in", "nin"]), st.lists(_OPERANDS, max_size=3)),
    st.builds(lambda wanted: {"exists": wanted}, st.booleans()),
)
FIELDS = st.dictionaries(PATHS, _CONDITIONS, max_size=2)
FILTERS = st.recursive(
    FIELDS,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"$or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"$and": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"$not": part}, inner),
    ),
    max_leaves=4,
)
