"""Groups of hits of several shards made one: which groups are shown, and what their rows are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bebr.cluster.merging import put_texts
from bebr.collection.protocol import GroupValue
from bebr.serve import convert
from bebr.v1 import bebr_pb2 as pb


class Hit(NamedTuple):
    """In the order of a ranking. `place`: among the answers of all replies, one after the other."""

    worth: float
    id: int
    place: int


@dataclass
class Group:
    """The hits that have `value` in the field, whose JSON is `text`; `shards`: of which they are."""

    value: GroupValue
    text: str
    hits: list[Hit] = field(default_factory=list)
    shards: set[int] = field(default_factory=set)


class Groups:
    """From the `depth` best groups of each shard, of up to `size` rows each. Any group that is among the best of all is
    so where its best row is; but another shard may have rows of it, and `depth` groups that are better there: these
    rows are `lacking`."""

    def __init__(self, replies: Sequence[pb.SearchResponse], depth: int, size: int, ascending: bool) -> None:
        self._depth, self._size, self._sign = depth, size, 1 if ascending else -1
        self._replies: list[pb.SearchResponse] = []
        self._places = 0
        queries = len(replies[0].groups) // depth
        found: list[dict[Any, Group]] = [{} for _ in range(queries)]
        self._full = np.zeros((len(replies), queries), np.bool_)
        for shard, reply in enumerate(replies):
            hits = iter(self._hits(reply))
            for at, (text, count) in enumerate(zip(reply.groups, reply.counts, strict=True)):
                if text:
                    value = json.loads(text)
                    group = found[at // depth].setdefault((isinstance(value, bool), value), Group(value, text))
                    group.hits += [next(hits) for _ in range(count)]
                    group.shards.add(shard)
                    self._full[shard, at // depth] = at % depth == depth - 1
        self._best = [sorted(of.values(), key=lambda group: min(group.hits))[:depth] for of in found]

    def _hits(self, reply: pb.SearchResponse) -> list[Hit]:
        """Of a reply, which is one of all from now on."""
        scores = (np.frombuffer(reply.scores, "<f4") * np.float32(self._sign)).tolist()
        ids = np.frombuffer(reply.ids, "<i8").tolist()
        hits = [Hit(score, id, self._places + at) for at, (score, id) in enumerate(zip(scores, ids, strict=True))]
        self._replies.append(reply)
        self._places += len(hits)
        return hits

    def lacking(self, offset: int) -> Iterator[tuple[int, int, Group]]:
        """Shards, each with a query and a group after the first `offset`, that may have rows of it which are missing
        here."""
        if self._size == 1:
            return
        for query, groups in enumerate(self._best):
            for group in groups[offset:]:
                for shard in np.flatnonzero(self._full[:, query]).tolist():
                    if shard not in group.shards:
                        yield shard, query, group

    def add(self, group: Group, reply: pb.SearchResponse) -> None:
        """What a shard answered of those: its best rows of the group, for one query."""
        group.hits += self._hits(reply)

    def reply(self, offset: int) -> pb.SearchResponse:
        """The groups of each query after the first `offset`, each with its best rows, equal scores by the smaller
        number."""
        k = self._depth - offset
        reply, shown = pb.SearchResponse(), list[int]()
        for groups in self._best:
            some = groups[offset:]
            rows = [sorted(group.hits)[: self._size] for group in some]
            shown += [hit.place for hits in rows for hit in hits]
            reply.groups.extend([group.text for group in some] + [""] * (k - len(some)))
            reply.counts.extend([*map(len, rows), *[0] * (k - len(some))])
        places = np.array(shown, np.int64)
        ids = np.concatenate([np.frombuffer(one.ids, "<i8") for one in self._replies])
        scores = np.concatenate([np.frombuffer(one.scores, "<f4") for one in self._replies])
        reply.ids, reply.scores = convert.ids_to_bytes(ids[places]), scores[places].tobytes()
        put_texts(reply, self._replies, places)
        return reply
