"""What a user who makes a mistake is told, by a collection on disk or on a server."""

from __future__ import annotations

import numpy as np
import pytest

BAD = {
    "dimension of x": (lambda c, x: c.upsert([1, 2], x[:2, :-1]), "want (n, 64)"),
    "dimension of q": (lambda c, x: c.search(x[:2, :-1]), "want (n, 64)"),
    "rows of different lengths": (lambda c, x: c.upsert([1, 2], [[0.5] * 64, [0.5] * 63]), "x has rows of"),
    "None and a short row": (lambda c, x: c.upsert([1, 2], [None, [0.5] * 63]), "x has rows of"),
    "too large for float32": (lambda c, x: c.upsert([1], [[1e39] * 64]), "x[0, 0] is inf"),
    "three axes": (lambda c, x: c.search(x[None, :2]), "want (n, 64)"),
    "no query": (lambda c, x: c.search(x[:0]), "at least one"),
    "text": (lambda c, x: c.search([["a"] * 64]), "want float32"),
    "nan": (lambda c, x: c.search(np.full((1, 64), np.nan)), "finite"),
    "infinity": (lambda c, x: c.upsert([1], np.full((1, 64), np.inf)), "finite"),
    "k": (lambda c, x: c.search(x[:1], 0), "k is 0"),
    "k is no number": (lambda c, x: c.search(x[:1], 1.5), "k is 1.5"),
    "text to search for": (lambda c, x: c.search(None, text=5), "text is 5"),
    "query": (lambda c, x: c.search(x[:1], query="exact"), "query is 'exact'"),
    "oversampling": (lambda c, x: c.search(x[:1], oversampling=0), "oversampling is 0"),
    "rescore": (lambda c, x: c.search(x[:1], rescore=20), "keeps no vectors"),
    "rescore is no number": (lambda c, x: c.search(x[:1], rescore=-1), "rescore is -1"),
    "rescore below k": (lambda c, x: c.search(x[:1], 10, rescore=5), "rescore is 5, fewer than k (10)"),
    "both": (lambda c, x: c.search(x[:1], oversampling=2, exact=True), "oversampling is 2 and exact is True"),
    "nprobe": (lambda c, x: c.search(x[:1], nprobe=0), "nprobe is 0"),
    "too many lists": (lambda c, x: c.search(x[:1], nprobe=1 << 21), "nprobe is 2097152: want an integer from 1"),
    "nprobe beside exact": (lambda c, x: c.search(x[:1], nprobe=2, exact=True), "nprobe is 2 and exact is True"),
    "ef_search": (lambda c, x: c.search_ids([1], ef_search=-3), "ef_search is -3"),
    "allow": (lambda c, x: c.search(x[:1], allow=[-1]), "allow holds -1"),
    "negative id": (lambda c, x: c.upsert([-1], x[:1]), "ids holds -1"),
    "id twice": (lambda c, x: c.upsert([5, 5], x[:2], on_duplicate="error"), "5 more than once"),
    "on_duplicate": (lambda c, x: c.upsert([5, 5], x[:2], on_duplicate="first"), "on_duplicate is 'first'"),
    "id of a payload twice": (lambda c, x: c.set_payloads([5, 5], [{}, {}]), "5 more than once"),
    "no payloads": (lambda c, x: c.set_payloads([5], None), "payloads is None"),
    "fewer payloads than ids": (lambda c, x: c.set_payloads([5, 6], [{}]), "one per row"),
    "radius": (lambda c, x: c.search(x[:1], radius=float("nan")), "radius is nan"),
    "offset": (lambda c, x: c.search(x[:1], offset=-1), "offset is -1"),
    "group size": (lambda c, x: c.search(x[:1], group_by="a", group_size=0), "group_size is 0"),
    "group size without a field": (lambda c, x: c.search(x[:1], group_size=2), "group_by is None"),
    "field of groups": (lambda c, x: c.search(x[:1], group_by="a..b"), "group_by: 'a..b' is no field"),
    "no query by id": (lambda c, x: c.search_ids([]), "at least one"),
    "id too large": (lambda c, x: c.upsert(np.array([2**63], np.uint64), x[:1]), "2^63"),
    "bool among ids": (lambda c, x: c.upsert([5, True], x[:2]), "ids[1] is a bool"),
    "delete of a bool": (lambda c, x: c.delete([True, 5]), "ids[0] is a bool"),
    "ids of float": (lambda c, x: c.upsert([0.5], x[:1]), "ids[0] is a float"),
    "fewer ids than rows": (lambda c, x: c.upsert([1], x[:2]), "one id per row"),
    "fewer payloads than rows": (lambda c, x: c.upsert([1, 2], x[:2], [{}]), "one per row"),
    "payload with nan": (lambda c, x: c.upsert([1], x[:1], [{"a": float("nan")}]), "payloads[0]"),
    "payload with infinity": (lambda c, x: c.upsert([1], x[:1], [{"a": [-float("inf")]}]), "payloads[0]"),
    "payload with a lone surrogate": (lambda c, x: c.upsert([1], x[:1], [{"a": "\ud800"}]), "payloads[0]"),
    "payload of another kind": (lambda c, x: c.upsert([1], x[:1], ["text"]), r"payloads[0]"),
    "get of a negative id": (lambda c, x: c.get([-5]), "ids holds -5"),
    "scroll of nothing": (lambda c, x: c.scroll(limit=0), "limit is 0"),
    "scroll after what is no id": (lambda c, x: c.scroll(after=-1), "after is -1"),
    "empty id": (lambda c, x: c.upsert(["a", ""], x[:2]), "ids[1] has 0 bytes"),
    "id of another kind": (lambda c, x: c.get(["a", 1.5]), "ids[1] is a float"),
    "string twice": (lambda c, x: c.upsert(["a", "a"], x[:2], on_duplicate="error"), "'a' more than once"),
    "delete of float": (lambda c, x: c.delete([0.5]), "ids[0] is a float"),
    "delete of nothing": (lambda c, x: c.delete(), "neither ids nor filter"),
    "delete of both": (lambda c, x: c.delete([1], filter={"a": 1}), "both ids and filter"),
    "filter": (
        lambda c, x: c.search(x[:1], filter={"a": {"above": 1}}),
        "filter.a has the operator 'above': want one of",
    ),
    "filter of a count": (lambda c, x: c.count("a > 1"), "filter is 'a > 1': want a dict"),
    "filter of a delete": (lambda c, x: c.delete(filter={"a": float("inf")}), "filter.a.eq is inf"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_words(db, name, bz, vectors, case):
    call, words = BAD[case]
    collection = db.create_collection(name, bz)
    with pytest.raises(ValueError) as error:
        call(collection, vectors)
    assert words in str(error.value)
    assert len(collection) == 0
