"""Filters by columns equal filters by payloads, however rows are cut into pieces, joined, taken and stored."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bebr import _core
from bebr.collection.checks import check_payload_texts, load_payload
from bebr.collection.filter_form import as_filter
from bebr.errors import CorruptFile
from bebr.store.columns import making
from bebr.store.columns.file import column_sections, read_columns
from bebr.store.columns.table import Columns
from bebr.store.files import bitmaps
from bebr.store.snapshots.growing import PIECE, GrowingColumns
from bebr.store.snapshots.matching import Answers, matching_rows
from tests.collection.payloads import FILTERS, PAYLOADS

EXAMPLES = settings(max_examples=120, deadline=None, derandomize=True)


def texts_of(payloads):
    texts = ["" if payload is None else json.dumps(payload) for payload in payloads]
    return lambda rows: [texts[row] for row in rows.tolist()]


def found(columns, payloads, filter):
    return bitmaps.members(matching_rows(as_filter(filter), columns, texts_of(payloads), Answers())).tolist()


def expected(payloads, filter):
    wanted = as_filter(filter)
    return [row for row, payload in enumerate(payloads) if wanted.matches(payload)]


def stored(columns, folder):
    with column_sections(columns, folder) as sections:
        arrays = {name: np.frombuffer(bytes(data), np.uint8) for name, data in sections.items()}
    return read_columns(arrays, columns.rows, "x.bebr")


@given(pieces=st.lists(st.lists(PAYLOADS, max_size=6), min_size=1, max_size=4), filter=FILTERS, data=st.data())
@EXAMPLES
def test_columns_answer_as_payloads_do(tmp_path_factory, pieces, filter, data):
    parts, payloads = [], []
    for piece in pieces:
        kept = sorted(data.draw(st.sets(st.integers(0, max(len(piece) - 1, 0)), max_size=len(piece))))
        ascii = data.draw(st.booleans())
        lines = [b"" if p is None else json.dumps(p, ensure_ascii=ascii, indent=1 - ascii).encode() for p in piece]
        for columns in (Columns.of(piece, len(piece)), Columns.of_texts(lines)):
            assert columns.complete and found(columns, piece, filter) == expected(piece, filter)
        parts.append(columns.take(np.array(kept, np.int64)))
        payloads += [piece[row] for row in kept]
    joined = Columns.joined(parts)
    assert joined.rows == len(payloads)
    assert found(joined, payloads, filter) == expected(payloads, filter)
    again = stored(joined, tmp_path_factory.getbasetemp())
    assert found(again, payloads, filter) == expected(payloads, filter)
    twice = Columns.joined([again, joined])
    assert found(twice, payloads + payloads, filter) == expected(payloads + payloads, filter)


@given(payloads=st.lists(PAYLOADS, max_size=20), filter=FILTERS)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_with_little_room_for_keywords_too(payloads, filter):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "MOST_DISTINCT", 2)
        half = len(payloads) // 2
        parts = [Columns.of(payloads[:half], half), Columns.of(payloads[half:], len(payloads) - half)]
        for columns in (Columns.joined(parts), Columns.of(payloads, len(payloads))):
            assert found(columns, payloads, filter) == expected(payloads, filter)


# What json.loads takes, and what of it the extension leaves to Python.
ODD = [
    '{"a": "\\u00fc\\ud83d\\ude00\\n\\"\\\\\\/", "b": "😀"}',
    ' {\t"a"\r\n: [ 1 ,2.5e0,-0, -0.0, 1E3 ] , "b" : { } , "c" : [ ] } ',
    '{"a": 1, "a": 2}',
    '{"a": {"b": 1}, "a": 2}',
    '{"a": 1, "a": null}',
    '{"a": [{"b": 1}, {"b": 2, "c": [[1], {"b": 3}]}, [{"b": 4}]]}',
    '{"a": 12345678901234567890123, "b": -9223372036854775808, "c": 9223372036854775808}',
    '{"a": 1e400}',
    '{"a": 1e-400}',
    '{"a": true, "b": false, "c": null}',
    '{"": 1, "a.b": 2, "a": {"": 3, ".": 4, "b": 5}}',
    '{"a": ""}',
    "{}",
]
BROKEN = ['{"a": 01}', '{"a": 1.}', '{"a": .5}', '{"a": +1}', '{"a": tru}', '{"a" 1}', '{"a": 1,}', '{"a": [1,]}']
BROKEN += [
    '{"a": 1} x',
    "[1]",
    "5",
    '{"a": "\x01"}',
    '{"a": "\\x"}',
    '{"a": "',
    "{",
    '{"a": NaN}',
    '{"a": -}',
    '{"a": "\\ud800"',
    "{'a': 1}",
]


def test_odd_texts_are_read_as_json_is():
    payloads = [load_payload(text) for text in ODD]
    values = [1, 2, 4, 5, 0, 2.5, 12345678901234567890123, True, "😀", ""]
    fields = itertools.product(["a", "b", "c", "a.b", "a.c"], values)
    columns = Columns.of_texts([text.encode() for text in ODD])
    for path, value in fields:
        for filter in ({path: value}, {path: {"exists": True}}, {path: {"gte": 1}}):
            assert found(columns, payloads, filter) == expected(payloads, filter)
    for text, payload in zip(ODD, payloads, strict=True):
        ours, theirs = Columns.of_texts([text.encode()]), Columns.of([payload], 1)
        assert ours.by_path.keys() == theirs.by_path.keys()
        for path, column in ours.by_path.items():
            assert column.kind == theirs.by_path[path].kind and column.in_list == theirs.by_path[path].in_list


@pytest.mark.parametrize("text", BROKEN)
def test_broken_texts_are_refused_as_json_is(text):
    with pytest.raises(ValueError):
        Columns.of_texts([b"{}", text.encode()])


@pytest.mark.parametrize("text", [*ODD, *BROKEN, "", '{"a": "\\udc00"}', "{" * 300, f'{{"a": {"1" * 5000}}}'])
def test_the_quick_check_of_payloads_lets_nothing_else_through(text):
    """What it does not let through is Python's to judge."""
    if _core.plain_payloads(["{}", text]):
        assert check_payload_texts(["{}", text], 2) == ["{}", text]
    else:
        assert text not in ODD[:1]


def kinds(payloads):
    ours, theirs = Columns.of_texts([json.dumps(p).encode() for p in payloads]), Columns.of(payloads, len(payloads))
    assert [(p, c.kind) for p, c in ours.by_path.items()] == [(p, c.kind) for p, c in theirs.by_path.items()]
    return {path: column.kind for path, column in ours.by_path.items()}


@pytest.fixture
def few_distinct(monkeypatch):
    monkeypatch.setattr(making, "MOST_DISTINCT", 200)


def test_kinds(few_distinct):
    many = range(300)
    assert kinds([{"a": i} for i in many]) == {"a": "int"}
    assert kinds([{"a": i / 2} for i in many]) == {"a": "float"}
    assert kinds([{"a": str(i % 100), "b": i % 2 == 0} for i in many]) == {"a": "keyword", "b": "keyword"}
    assert kinds([{"a": i if i % 2 else "x"} for i in range(100)]) == {"a": "keyword"}
    assert kinds([{"a": str(i)} for i in many]) == {"a": "text"}
    assert kinds([{"a": i if i % 2 else str(i)} for i in many]) == {"a": "unknown"}
    assert kinds([{"a": "x" * 100 + str(i)} for i in range(100)]) == {"a": "text"}


def test_text_that_is_a_time_has_its_moments(few_distinct):
    days = [
        {"at": f"2024-{1 + i % 12:02}-{1 + i % 28:02}T{i % 24:02}:{i // 60 % 60:02}:{i % 60:02}.{i:06}Z"}
        for i in range(500)
    ]
    columns = Columns.of(days, len(days))
    assert columns.by_path["at"].kind == "text" and columns.by_path["at"].moments is not None
    filter = {"at": {"gte": {"$date": "2024-06-01"}, "lt": {"$date": "2024-07-01T00:00:00+02:00"}}}
    assert columns.find(as_filter({"at": {"gte": {"$date": "2024-06-01"}}}))[1]
    assert found(columns, days, filter) == expected(days, filter) != []
    assert found(columns, days, days[17]) == [17]


def test_names_that_are_data_make_no_column_each():
    payloads = [{f"user-{i}": i, "all": 1} for i in range(1000)]
    columns = Columns.of_texts([json.dumps(p).encode() for p in payloads])
    assert columns.by_path.keys() == Columns.of(payloads, 1000).by_path.keys()
    assert not columns.complete and len(columns.by_path) <= 256
    for filter in (
        {"user-3": 3},
        {"user-900": 900},
        {"user-900": {"exists": False}},
        {"all": 1, "user-999": {"gt": 0}},
    ):
        assert found(columns, payloads, filter) == expected(payloads, filter)
    halves = Columns.joined([Columns.of(payloads[:100], 100), Columns.of(payloads[100:], 900)])
    assert found(halves, payloads, {"user-900": 900}) == [900]


def test_deep_payloads():
    deep = inner = {}
    for _ in range(200):
        inner["a"] = {}
        inner = inner["a"]
    inner["a"] = 5
    payloads = [deep, {"a": 1}]
    path = ".".join("a" * 201)
    for columns in (Columns.of(payloads, 2), Columns.of_texts([json.dumps(p).encode() for p in payloads])):
        assert not columns.complete
        assert found(columns, payloads, {path: 5}) == [0]
        assert found(columns, payloads, {"a": 1}) == [1]


@given(data=st.data())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_growing_rows(data):
    payloads = [{"n": i % 7, "tag": f"t{i % 50}", "id": str(i)} if i % 5 else None for i in range(3 * PIECE)]
    lines, grown = _core.GrowingTexts(), 0
    columns = GrowingColumns(lines)
    filters = [{"n": 3}, {"tag": {"in": ["t1", "t2"]}}, {"id": "17"}, {"n": {"exists": False}}]
    for _ in range(data.draw(st.integers(1, 6))):
        grown = min(grown + data.draw(st.sampled_from([1, 63, 700, PIECE - 1, PIECE, 2 * PIECE])), len(payloads))
        lines.append([b"" if p is None else json.dumps(p).encode() for p in payloads[len(lines) : grown]])
        rows = data.draw(st.integers(0, grown))
        filter = data.draw(st.sampled_from(filters))
        matching = bitmaps.members(columns.matching(as_filter(filter), rows)).tolist()
        assert matching == expected(payloads[:rows], filter)
        if data.draw(st.booleans()):
            assert found(columns.columns(rows), payloads[:rows], filter) == expected(payloads[:rows], filter)


@pytest.mark.parametrize(
    "schema, words",
    [
        (b"{", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"rows": 3, "complete": true, "columns": []}', "it is of 3 rows, the file of 2"),
        (b'{"rows": 2, "complete": true, "columns": [{"path": "a", "kind": "secret"}]}', "cannot be read"),
    ],
)
def test_a_damaged_schema_is_named(schema, words):
    with pytest.raises(CorruptFile, match=f"x.bebr: section 'columns'.*{words}"):
        read_columns({"columns": np.frombuffer(schema, np.uint8)}, 2, "x.bebr")


def test_arrays_outside_of_the_section_are_refused(tmp_path):
    with column_sections(Columns.of([{"a": 1}, {"a": 2}], 2), tmp_path) as sections:
        arrays = {name: np.frombuffer(bytes(data), np.uint8) for name, data in sections.items()}
    arrays["column_data"] = arrays["column_data"][:-1]
    with pytest.raises(CorruptFile, match="an array at bytes 0 to 16 of 15"):
        read_columns(arrays, 2, "x.bebr")
