"""Whatever is asked, the front and the Python server behind it answer the same, byte for byte."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bebr
from bebr.serve.convert import vectors_to_message
from bebr.serve.keys import KeyFile, Role
from bebr.v1 import bebr_pb2 as pb
from tests.serve.fronted import Fronted

pytest.importorskip("bebr._front", reason="built without libnghttp2")

# BEBR_FRONT_EXAMPLES=1000 for many.
EXAMPLES = int(os.environ.get("BEBR_FRONT_EXAMPLES", "120"))
SEARCH = "/bebr.v1.Points/Search"


def payload_of(i: int) -> dict[str, object] | None:
    return None if i % 7 == 3 else {"n": i % 5, "tag": ["a", "ü", "x" * (i % 40)], "id": str(i)}


def allowed(seed: int, of: int) -> bytes:
    """Few or many ids, in any order, some of them twice or of no row; or what are no ids."""
    rng = np.random.default_rng(seed)
    count = [0, 1, 5, 40, 600, 3000][of % 6]
    ids = rng.integers(0, 3300, count)
    if of % 11 == 0 and count:
        ids[0] = rng.choice([-1, 2**62 - 1, 2**62, 2**63 - 1])
    return ids.astype("<i8").tobytes() + bytes(3 if of % 13 == 0 else 0)


class Both:
    """A server, reached by its front and past it. Every collection has rows in a file, in the tail, dead ones, and ones
    without a vector."""

    def __init__(self, folder, bz, vectors) -> None:
        self.vectors = vectors
        with bebr.open(folder) as db:
            kept = {"ints": None, "kept": "float16", "strings": None, "uuids": "int8"}
            for name, keep in kept.items():
                made = db.create_collection(name, bz, keep=keep, retrain=False)
                ids = {"strings": lambda i: f"row {i}" if i % 3 else i, "uuids": lambda i: uuid.UUID(int=i)}
                of = ids.get(name, lambda i: i)
                for begin in (0, 1500):
                    rows = range(begin, begin + 1500)
                    made.upsert([of(i) for i in rows], vectors[rows], [payload_of(i) for i in rows])
                    if not begin:
                        made.flush()
                made.delete([of(i) for i in range(0, 3000, 9)])
                made.upsert([of(i) for i in range(1000, 1020)], vectors[:20], [{"again": i} for i in range(20)])
            db.create_collection("empty", bz)
            db.create_collection("few", bz, keep="float16").upsert(
                range(200), vectors[:200], [payload_of(i) for i in range(200)]
            )
            db.set_alias("alias", "ints")
            self.digest = bz.digest
        file = KeyFile(folder)
        self.tokens = [None, "wrong", file.create("all", Role.READ), file.create("some", Role.WRITE, ["ints", "kept"])]
        self.served = Fronted(folder, keys=KeyFile(folder))
        self.channels = [grpc.insecure_channel(t) for t in (self.served.target, f"unix:{self.served.front.upstream}")]

    def outcomes(self, request: pb.SearchRequest, token: str | None) -> list[tuple[str, bytes | str]]:
        """By the front, and by Python."""
        metadata = [] if token is None else [("authorization", f"Bearer {token}")]
        found: list[tuple[str, bytes | str]] = []
        for channel in self.channels:
            try:
                data = channel.unary_unary(SEARCH)(request.SerializeToString(), metadata=metadata, timeout=20)
            except grpc.RpcError as error:
                found.append((error.code().name, error.details()))
                continue
            reply = pb.SearchResponse.FromString(data)
            assert reply.SerializeToString() == data  # the front writes it as protobuf does
            reply.elapsed_us = reply.batch_queries = 0
            found.append(("OK", reply.SerializeToString()))
        return found

    def close(self) -> None:
        for channel in self.channels:
            channel.close()
        self.served.stop()


@pytest.fixture(scope="module")
def both(tmp_path_factory, bz, vectors) -> Iterator[Both]:
    made = Both(tmp_path_factory.mktemp("both"), bz, vectors)
    yield made
    made.close()


FILTERS = [{"n": 3}, {"n": {"in": [1, 2]}}, {"tag": "ü"}, {"id": "17"}, {"n": {"exists": False}}, {"n": 99}]
NAMES = ["ints", "kept", "strings", "uuids", "empty", "few"]


@st.composite
def requests(draw, digest: str, vectors: np.ndarray) -> pb.SearchRequest:
    first, count = draw(st.integers(0, 2900)), draw(st.sampled_from([1, 1, 2, 5]))
    queries = vectors[first : first + count].astype(draw(st.sampled_from([np.float32, np.float16])))
    made = pb.SearchRequest(collection=draw(st.sampled_from(NAMES * 3 + ["alias", "nothing"])))
    made.queries.CopyFrom(vectors_to_message(queries))
    if draw(st.integers(0, 3)) == 0:  # by rows of a file, of the tail, dead ones, and ones that never were
        ids = np.random.default_rng(first).integers(0, draw(st.sampled_from([200, 1000, 3000])), count)
        made.by_ids = (ids - ids % 9 + 1 if draw(st.booleans()) else ids).astype("<i8").tobytes()
        made.ClearField("queries")
    made.k = draw(st.sampled_from([1, 3, 10, 300]))
    options = {
        "query": st.integers(0, 2),
        "oversampling": st.integers(1, 5),
        "exact": st.booleans(),
        "model": st.just(digest),
        "radius": st.sampled_from([0.3, 0.7, 0.99, -2.0]),
        "offset": st.sampled_from([1, 20, 290]),
        "rescore": st.sampled_from([0, 10, 400]),
        "with_payloads": st.booleans(),
        "allow": st.builds(allowed, *[st.integers(0, 2**32)] * 2),
        "filter": st.sampled_from([json.dumps(one) for one in FILTERS] + ["{}", "broken"]),
        "group_by": st.sampled_from(["n", "n", "tag", "id", "again", "none", "", "a..b"]),
    }
    for name in draw(st.sets(st.sampled_from(sorted(options)), max_size=4)):
        setattr(made, name, draw(options[name]))
    if made.HasField("group_by") or draw(st.integers(0, 20)) == 0:
        made.group_size = draw(st.sampled_from([0, 1, 2, 5]))
    return made


def test_answers_equal_those_of_python(both):
    seen = []

    @given(data=st.data())
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    def equal(data) -> None:
        request = data.draw(requests(both.digest, both.vectors))
        token = both.tokens[data.draw(st.sampled_from([2, 2, 2, 2, 2, 3, 0, 1]))]
        again = request.HasField("filter") or request.HasField("group_by")
        for _ in range(3 if again else 1):  # a filter or a field that came before is looked at by the front
            by_front, by_python = both.outcomes(request, token)
            assert by_front == by_python, request
        seen.append(by_front[0])

    equal()
    counts = both.served.counts()
    assert counts["answered"] > EXAMPLES / 10 and counts["denied"] > 0, counts
    assert set(seen) >= {"OK", "UNAUTHENTICATED"}
