"""Requests that are put together without protobuf are what protobuf makes of the same; replies that are read without
it have what it finds in them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from bebr import F, _core
from bebr.collection.keys import name_ids
from bebr.collection.request import check_search
from bebr.serve import convert
from bebr.serve.messages import (
    before_queries,
    put_rows,
    rows_asked_on_wire,
    rows_on_wire,
    search_message,
    search_on_wire,
    texts_on_wire,
)
from bebr.v1 import bebr_pb2 as pb

HEAD = {"collection": "docs", "model": "a model", "collection_id": 3, "conflict": pb.CONFLICT_SKIP}


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("rows", [0, 1, 7, 300])  # lengths of one byte, of two, of three
@pytest.mark.parametrize("bare", [False, True], ids=["", "bare"])
def test_rows_on_the_wire_are_the_message_that_protobuf_makes(kind, rows, bare):
    vectors = np.random.default_rng(0).standard_normal((rows, 12)).astype(kind)
    vectors[: rows if bare else 0 : 2] = np.nan
    named = name_ids([f"row {i}" if i % 2 else i for i in range(rows)], "ids")
    texts = [f'{{"n": {i}}}' for i in range(rows)]
    whole = put_rows(pb.UpsertRequest(**HEAD), named, vectors, texts)
    sent = rows_on_wire(pb.UpsertRequest(**HEAD), named, vectors, texts)
    assert pb.UpsertRequest.FromString(sent) == whole
    assert len(sent) == whole.ByteSize()


def test_rows_of_a_piece_of_a_larger_array_are_those_that_are_sent():
    vectors = np.asfortranarray(np.arange(60, dtype=np.float32).reshape(10, 6))
    sent = rows_on_wire(pb.UpsertRequest(), name_ids(range(3), "ids"), vectors[2:5], [])
    found = np.frombuffer(pb.UpsertRequest.FromString(sent).vectors.f32, "<f4").reshape(3, 6)
    assert found.tolist() == vectors[2:5].tolist()


ASKED = {
    **dict.fromkeys(("oversampling", "nprobe", "ef_search", "allow", "filter", "radius", "group_by", "rescore")),
    **{"query": "float", "exact": False, "offset": 0, "group_size": 1, "with_payloads": False, "binarizer": None},
    **{"text": None, "fusion": "rrf"},
}
FEW = F("n") < 3
SEARCHES = [
    ({}, {}),
    ({"query": "code", "exact": True, "offset": 3}, {"query": pb.QUERY_MODE_CODE, "exact": True, "offset": 3}),
    ({"oversampling": 4, "rescore": 0}, {"oversampling": 4, "rescore": 0}),
    ({"nprobe": 5, "ef_search": 90, "radius": 0.0}, {"nprobe": 5, "ef_search": 90, "radius": 0.0}),
    ({"group_by": "a.b", "group_size": 2, "with_payloads": True}, {"group_by": "a.b", "group_size": 2}),
    (
        {"allow": [4, "Käse"], "filter": F("n") < 3},
        {"allow_keys": [b"", "sKäse".encode()], "filter": (F("n") < 3).text},
    ),
]


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize(("asked", "wanted"), SEARCHES)
def test_a_search_on_the_wire_is_the_message_that_protobuf_makes(asked, wanted, rows, kind):
    q = np.random.default_rng(0).standard_normal((rows, 12)).astype(kind)
    request = check_search(q.astype(np.float32), 10, 12, **ASKED | asked)
    message = pb.SearchRequest(collection="docs", model="a model", k=10, **{"query": pb.QUERY_MODE_FLOAT} | wanted)
    message.with_payloads = asked.get("with_payloads", False)
    if request.allow is not None:
        message.allow = request.allow.numbers.tobytes()
    for _ in range(2):  # what a search has in common with the one before it is kept
        head = search_on_wire("docs", request, "a model")
        assert pb.SearchRequest.FromString(head) == message
    message.queries.CopyFrom(convert.vectors_to_message(q))
    assert pb.SearchRequest.FromString(head + before_queries(q) + q.tobytes()) == message
    message.ClearField("queries")
    message.ClearField("model")
    assert search_message("docs", request) == message


def test_words_and_rows_that_are_asked_for_on_the_wire():
    sent = texts_on_wire(["a", "Käse"], "rrf")
    assert pb.SearchRequest.FromString(sent) == pb.SearchRequest(text=["a", "Käse"], fusion=pb.FUSION_RRF)
    named = name_ids([3, "x"], "ids")
    wanted = pb.SearchRequest(by_ids=named.numbers.tobytes(), by_keys=[b"", b"sx"])
    assert pb.SearchRequest.FromString(rows_asked_on_wire(named)) == wanted


@given(st.lists(st.integers(0, 5), max_size=4), st.booleans(), st.dictionaries(st.sampled_from(["x", "y"]), st.just(1)))
def test_hits_that_are_read_are_those_that_protobuf_reads(counts, ascending, beside):
    total = sum(counts)
    scores = np.arange(total, dtype=np.float32) - 2
    reply = pb.SearchResponse(ids=np.arange(total).tobytes(), scores=scores.tobytes(), counts=counts, elapsed_us=7)
    reply.batch_queries = 3
    reply.keys.extend(key.encode() for key in beside)
    got, ids, more = _core.read_hits(reply.SerializeToString(), 5, ascending)
    there = np.arange(5) < np.array(counts, np.int64)[:, None]
    assert got.shape == ids.shape == there.shape and more == bool(beside)
    assert got[there].tolist() == scores.tolist() and ids[there].tolist() == list(range(total))
    assert (ids[~there] == -1).all() and (got[~there] == (np.inf if ascending else -np.inf)).all()


def test_counts_may_come_one_by_one():
    """Protobuf packs them; readers have to take both."""
    reply = pb.SearchResponse(ids=np.arange(3).tobytes(), scores=bytes(12)).SerializeToString()
    _, ids, _ = _core.read_hits(reply + b"\x18\x01\x18\x82\x00", 2, False)
    assert ids.tolist() == [[0, -1], [1, 2]]


@pytest.mark.parametrize(
    "reply",
    [b"\x0a", b"\x0a\x05ab", b"\xff", bytes(4), pb.SearchResponse(counts=[1]).SerializeToString()],
    ids=["no length", "cut", "no field", "field 0", "no columns"],
)
def test_bytes_that_are_no_reply_are_refused(reply):
    with pytest.raises(ValueError, match="no SearchResponse of up to 10 hits"):
        _core.read_hits(reply, 10, False)
    more = pb.SearchResponse(ids=bytes(88), scores=bytes(44), counts=[11]).SerializeToString()
    with pytest.raises(ValueError, match="no SearchResponse of up to 10 hits"):
        _core.read_hits(more, 10, False)


def test_changed_replies_are_read_as_protobuf_reads_them_or_refused():
    whole = pb.SearchResponse(ids=bytes(range(16)), scores=bytes(8), counts=[2], payloads=["{}", ""], shards=1)
    chance, read = random.Random(0), 0
    for _ in range(3000):
        data = bytearray(whole.SerializeToString())
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            _, ids, _ = _core.read_hits(bytes(data), 2, False)
        except ValueError:
            continue
        try:
            message = pb.SearchResponse.FromString(bytes(data))
        except DecodeError:  # a text that is no UTF-8
            continue
        there = np.arange(2) < np.array(message.counts, np.int64)[:, None]
        assert ids.shape == there.shape and ids[there].tobytes() == message.ids
        read += 1
    assert read > 100
