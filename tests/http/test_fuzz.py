"""Whatever JSON comes, the server says what is wrong with it, and it is never the server's own fault."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bebr.http.app import routes
from tests.http_client import Http

ROUTES = [route for route in routes(dict) if route.verb in ("POST", "PUT") and "{alias}" not in route.path]
NAMES = sorted({name for route in ROUTES for name in route.fields})
SPECIAL = (
    0,
    -1,
    2**31,
    2**32,
    2**63,
    2**64,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "\ud800",
    "a.b",
    "$and",
    "AAAAAAAA",
)

plain = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(10**25), 10**25), st.floats(), st.text(max_size=5)),
    *(st.sampled_from(SPECIAL), st.just([1, 0, 0]), st.just([[1, 0, 0]]), st.just({"uuid": "x"}), st.just([1])),
)
anything = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=4), st.sampled_from(("$or", "$not", "eq", "in", "n"))), inner),
    ),
    max_leaves=8,
)


@st.composite
def requests(draw):
    """A route, and a body with fields that it mostly knows, of which most are as they should be."""
    route = draw(st.sampled_from(ROUTES))
    good = {
        "q": [1, 0, 0],
        "ids": [1],
        "x": [[1, 0, 0]],
        "k": 2,
        "payloads": [None],
        "sample": 2,
        "dim": 3,
        "items": ["a"],
    }
    body = {name: good.get(name) for name, one in route.fields.items() if one.required or name == "q"}
    for name in draw(st.lists(st.sampled_from([*route.fields] or NAMES), max_size=3)):
        body[name] = draw(anything)
    return route, draw(st.sampled_from([body, draw(anything)])) if draw(st.booleans()) else body


@pytest.fixture(scope="module", autouse=True)
def fuzzed(web):
    Http(web.http).create_collection("fuzzed", dim=3, text="n").upsert(
        [1, 2], [[1, 0, 0], [0, 1, 0]], [{"n": "a"}, None]
    )


@settings(max_examples=250, deadline=None)
@given(requests())
def test_every_body_is_answered(web, asked):
    route, body = asked
    path = route.path.format(name="fuzzed" if route.verb == "POST" else "fuzzed-made")
    status, headers, text = Http(web.http).ask(route.verb, path, json.dumps(body).encode())
    assert status < 500, (route.path, body, text)
    answer = json.loads(text)
    assert headers["content-type"] == "application/json" and (status == 200) == ("error" not in answer)
