"""Requests that are put together without protobuf are what protobuf makes of the same."""

from __future__ import annotations

import numpy as np
import pytest

from bebr.collection.keys import name_ids
from bebr.serve.messages import put_rows, rows_on_wire
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
