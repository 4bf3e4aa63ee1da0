"""Payloads on their way in: what is written of them, and what is refused."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bebr.collection import checks
from bebr.collection.filter_form import as_filter
from tests.collection.payloads import PAYLOADS

STRANGE: list[Any] = [{"a": '"\\\n\x00', "ü": "\U0001f600\u2028"}, {1: 2, None: True, 0.5: [(), {}]}, {}, None]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PAYLOADS) | st.just(STRANGE))
def test_payloads_are_written_as_json_writes_each(payloads: list[Any]) -> None:
    alone = ["" if one is None else json.dumps(one, ensure_ascii=False) for one in payloads]
    assert checks.dump_payloads(payloads, len(payloads)) == alone


def test_payloads_are_written_the_same_by_a_python_without_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    written = checks.dump_payloads(STRANGE, len(STRANGE))
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    assert checks.dump_payloads(STRANGE, len(STRANGE)) == written


NONE_IN_JSON = [
    *(float("nan"), float("inf"), {1, 2}, b"bytes", "\ud800"),
    *(np.longdouble(1.5), np.array([np.longdouble(1.5)])),
    *(np.datetime64("NaT"), np.array(["2020-01-01", "NaT"], "M8[ns]")),
    *(np.timedelta64(5, "ns"), np.array([5], "m8[ns]")),
]


@pytest.mark.parametrize("value", NONE_IN_JSON, ids=repr)
def test_what_json_does_not_have_is_refused_with_its_row(value: object) -> None:
    with pytest.raises(ValueError, match=r"payloads\[1\] cannot be written as JSON: "):
        checks.dump_payloads([{"a": 1}, {"a": value}], 2)


def test_dates_uuids_and_values_of_numpy_are_written_as_json_has_them() -> None:
    at = datetime(2026, 11, 28, 12, 30, tzinfo=timezone.utc)
    one = {"at": at, "day": date(2020, 1, 2), "then": np.datetime64("2020-01-02T03:04"), "by": UUID(int=7)}
    two = {
        "n": np.int64(3),
        "f": np.float32(0.5),
        "yes": np.bool_(True),
        "tags": np.array(["a", "b"]),
        "in": [{"at": at}],
        "days": np.array(["2020-01-02", "2020-01-03"], "M8[ns]"),
    }
    days = ["2020-01-02T00:00:00.000000000", "2020-01-03T00:00:00.000000000"]
    assert [json.loads(text) for text in checks.dump_payloads([one, two], 2)] == [
        {"at": at.isoformat(), "day": "2020-01-02", "then": "2020-01-02T03:04", "by": str(UUID(int=7))},
        {"n": 3, "f": 0.5, "yes": True, "tags": ["a", "b"], "in": [{"at": at.isoformat()}], "days": days},
    ]
    with pytest.raises(ValueError, match=r"payloads\[0\] .*: it holds a complex: want None, bools, numbers"):
        checks.dump_payloads([{"a": 1j}], 1)
    with pytest.raises(ValueError, match=r"payloads\[0\] cannot be written as JSON"):
        checks.dump_payloads([{"a": np.float32("nan")}], 1)


class NoTime(datetime):
    """Like pandas' NaT: a datetime that equals nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return False


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"payloads\[0\] cannot be written as JSON: it holds a NoTime"):
        checks.dump_payloads([{"at": NoTime(2020, 1, 1)}], 1)
    with pytest.raises(ValueError, match=r"filter\.at\.gt is .*NoTime.*: want a bool, a finite number"):
        as_filter({"at": {"gt": NoTime(2020, 1, 1)}})


def test_one_payload_is_no_list_of_them() -> None:
    with pytest.raises(ValueError, match="payloads is a dict: want a list with a dict or None per row"):
        checks.dump_payloads({"lang": "de"}, 1)  # type: ignore[arg-type]


def test_a_payload_inside_itself_is_refused_and_one_that_comes_twice_is_not() -> None:
    inner: dict[str, Any] = {"b": 1}
    assert checks.dump_payloads([{"a": inner}, {"a": inner, "c": inner}], 2)[0] == '{"a": {"b": 1}}'
    inner["b"] = {"a": inner}
    with pytest.raises(ValueError, match=r"payloads\[0\] cannot be written as JSON: Circular"):
        checks.dump_payloads([inner], 1)
