"""Which shard an id is in, and replies of shards made one, against naive models."""

from __future__ import annotations

import json
import uuid

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bebr.cluster.dividing import divided, shard_numbers
from bebr.cluster.grouping import Groups
from bebr.cluster.merging import merged_hits, merged_rows
from bebr.cluster.names import Shard, Taken, parsed, shards_of
from bebr.collection.keys import name_ids
from bebr.v1 import bebr_pb2 as pb

# A busy machine takes its time.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_where_rows_are_is_part_of_how_they_are_stored():
    """A change would lose every row of every collection that is split."""
    ids = [0, 1, 2, 3, 10**6, 2**63 - 1, "a", "über", uuid.UUID(int=7)]
    assert shard_numbers(name_ids(ids, "ids"), 4).tolist() == [0, 1, 2, 0, 2, 1, 0, 3, 1]
    assert shard_numbers(name_ids(ids, "ids"), 1).tolist() == [0] * 9


def test_ids_in_steps_are_spread_evenly():
    for step in (1, 2, 4, 1000, 1 << 32):
        counts = np.bincount(shard_numbers(name_ids(np.arange(8000) * step, "ids"), 8), minlength=8)
        assert counts.min() > 850 and counts.max() < 1150


@PATIENT
@given(st.lists(st.one_of(st.integers(0, 50), st.text(min_size=1, max_size=2))), st.integers(1, 5))
def test_each_id_is_in_one_shard(ids, shards):
    named = name_ids(ids, "ids")
    where: dict[object, int] = {}
    for shard, rows in divided(named, shards):
        assert 0 <= shard < shards and len(rows)
        for row in rows.tolist():
            assert where.setdefault(ids[row], shard) == shard
    assert set(where) == set(ids)


def test_names_of_shards():
    shards = shards_of("docs", 3)
    assert list(map(str, shards)) == ["docs.0of3", "docs.1of3", "docs.2of3"] and shards_of("docs", 1) == [
        Shard("docs", 0, 1)
    ]
    assert [parsed(str(shard)) for shard in shards] == shards and str(Shard("docs", 0, 1)) == "docs"
    for plain in ("docs", "docs.3of3", "docs.00of3", "docs.0of1", ".0of2", "docs.0of99999"):
        assert parsed(plain) == Shard(plain, 0, 1)
    some = Taken(["1", "other:0"])
    assert [some(name) for name in ("docs.1of3", "docs.0of3", "docs", "other", "other.0of2", "x.1of2")] == [
        *(True, False, False, True, True, True)
    ]
    assert Taken()("docs")


# Few scores, so that many are equal.
SCORES = st.sampled_from([-1.5, -0.0, 0.0, 0.25, 2.0])
HITS = st.dictionaries(st.integers(0, 40), st.tuples(SCORES, st.booleans()), max_size=12)


def reply_of(queries: list[list[tuple[int, float]]], keyed: bool) -> pb.SearchResponse:
    rows = [row for query in queries for row in query]
    return pb.SearchResponse(
        ids=np.array([id for id, _ in rows], "<i8").tobytes(),
        scores=np.array([score for _, score in rows], "<f4").tobytes(),
        counts=list(map(len, queries)),
        payloads=[f'{{"id": {id}}}' for id, _ in rows],
        keys=[f"s{id}".encode() for id, _ in rows] if keyed else [],
    )


@PATIENT
@given(st.lists(HITS, min_size=1, max_size=3), st.integers(1, 4), st.integers(1, 6), st.integers(0, 4), st.booleans())
def test_the_best_of_the_best_are_the_best(queries, shards, k, offset, ascending):
    def ranked(rows):
        return sorted(rows, key=lambda row: (row[1] if ascending else -row[1], row[0]))

    every = [[(id, score) for id, (score, _) in query.items()] for query in queries]
    replies = []
    for shard in range(shards):
        own = [ranked(row for row in query if row[0] % shards == shard)[: offset + k] for query in every]
        replies.append(reply_of(own, keyed=shard == 1))
    merged = merged_hits(replies, k, offset, ascending)
    wanted = [ranked(query)[offset : offset + k] for query in every]
    assert list(merged.counts) == list(map(len, wanted))
    ids = [id for query in wanted for id, _ in query]
    assert np.frombuffer(merged.ids, "<i8").tolist() == ids
    assert np.frombuffer(merged.scores, "<f4").tolist() == [score for query in wanted for _, score in query]
    assert [json.loads(text)["id"] for text in merged.payloads] == ids
    if any(one.keys for one in replies):
        assert [key.decode() for key in merged.keys] == [f"s{id}" if id % shards == 1 else "" for id in ids]


VALUES = st.sampled_from(["a", "b", 1, True, "c"])


@PATIENT
@given(
    st.dictionaries(st.integers(0, 40), st.tuples(SCORES, VALUES), max_size=20),
    *(st.integers(1, 3), st.integers(0, 2), st.integers(1, 3), st.booleans()),
)
def test_the_best_groups_of_all_have_their_best_rows(rows, k, offset, size, ascending):
    shards, depth = 3, offset + k

    def ranked(some):
        return sorted(some, key=lambda row: (row[1] if ascending else -row[1], row[0]))

    def groups(some):
        by: dict[str, list[tuple[int, float]]] = {}
        for id, score in ranked((id, score) for id, (score, _) in some):
            by.setdefault(json.dumps(rows[id][1]), []).append((id, score))
        return list(by.items())

    replies = []
    for shard in range(shards):
        own = groups(row for row in rows.items() if row[0] % shards == shard)[:depth]
        reply = reply_of([best[:size] for _, best in own], keyed=False)
        reply.counts[:] = [len(best[:size]) for _, best in own] + [0] * (depth - len(own))
        reply.groups[:] = [text for text, _ in own] + [""] * (depth - len(own))
        replies.append(reply)
    found = Groups(replies, depth, size, ascending)
    for shard, query, group in list(found.lacking(offset)):
        assert query == 0
        wanted = ((id, rows[id][0]) for id in rows if id % shards == shard and json.dumps(rows[id][1]) == group.text)
        found.add(group, reply_of([ranked(wanted)[:size]], keyed=False))
    merged, wanted = found.reply(offset), groups(rows.items())[offset:depth]
    assert list(merged.groups) == [text for text, _ in wanted] + [""] * (k - len(wanted))
    assert list(merged.counts) == [len(best[:size]) for _, best in wanted] + [0] * (k - len(wanted))
    ids = [id for _, best in wanted for id, _ in best[:size]]
    assert np.frombuffer(merged.ids, "<i8").tolist() == ids
    assert np.frombuffer(merged.scores, "<f4").tolist() == [rows[id][0] for id in ids]
    assert [json.loads(text)["id"] for text in merged.payloads] == ids


def test_rows_come_in_the_order_of_their_numbers_with_what_is_theirs():
    def part(ids, bare):
        floats = np.array([[id, id] for id in ids if id not in bare], "<f4")
        vectors = pb.Vectors(f32=floats.tobytes(), dimension=2, count=len(floats))
        places = [place for place, id in enumerate(ids) if id in bare]
        texts = [f'{{"n": {id}}}' for id in ids]
        column = np.array(ids, "<i8").tobytes()
        return pb.Rows(ids=column, payloads=texts, vectors=vectors, without_vector=places)

    parts = [part([2, 5, 9], {5}), part([], set()), part([1, 3, 7], {7})]
    rows = merged_rows(parts, most=5, below=7)
    assert np.frombuffer(rows.ids, "<i8").tolist() == [1, 2, 3, 5, 7] and list(rows.without_vector) == [3, 4]
    assert np.frombuffer(rows.vectors.f32, "<f4").tolist() == [1, 1, 2, 2, 3, 3] and rows.payloads[3] == '{"n": 5}'
    assert merged_rows([part([], set())] * 2).vectors.count == 0
