"""The hits of a search from what a server answered: a bebr.v1.SearchResponse, or several, as bytes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import DecodeError

from bebr import core
from bebr.arrays import Floats, Ids
from bebr.collection.checks import load_payload
from bebr.collection.keys import named_array
from bebr.collection.protocol import CollectionHits, GroupValue, Payload
from bebr.collection.request import SearchRequest
from bebr.serve.steps import Search
from bebr.v1 import bebr_pb2 as pb


@dataclass(slots=True)
class Answer:
    """Of some queries of a search: scores float32 and ids int64 [n, width], as a local search gives them, a row for
    each query, or for each group of one; ``message``: all that was answered, where that is more."""

    scores: Floats
    ids: Ids
    message: pb.SearchResponse | None


def read_answer(reply: bytes, asked: Search) -> Answer:
    """``ConnectionError`` for bytes that are no answer."""
    try:
        scores, ids, more = core.read_hits(reply, asked.width, asked.ascending)
        return Answer(scores, ids, message_of(reply) if more or asked.whole else None)
    except ValueError as error:
        raise _no_answer(error) from None


def message_of(reply: bytes) -> pb.SearchResponse:
    """All of it. ``ConnectionError`` for bytes that are no answer."""
    try:
        return pb.SearchResponse.FromString(reply)
    except DecodeError as error:
        raise _no_answer(error) from None


def _no_answer(error: Exception) -> ConnectionError:
    return ConnectionError(f"a search was answered by bytes that are no answer: {error}")


def width_of(request: SearchRequest) -> int:
    """Hits of each query, or of each group of one, in an answer."""
    return request.groups.size if request.groups else request.k


def joined(answers: Sequence[Answer], request: SearchRequest) -> CollectionHits:
    """The hits of all queries of a search, in the order of its answers."""
    first = answers[0]
    scores, ids, message = first.scores, first.ids, first.message
    if len(answers) > 1:
        scores, ids = (np.concatenate([getattr(answer, name) for answer in answers]) for name in ("scores", "ids"))
        message = next((answer.message for answer in answers if answer.message is not None), None)
    if message is None:
        return CollectionHits(scores, ids)
    named = named_array(ids, _keys(answers))
    missing = set[int]()
    for answer in answers:
        if answer.message is not None:
            missing |= set(range(answer.message.shards)) - set(answer.message.answered)
    payloads = _payloads(answers, width_of(request)) if request.with_payloads else None
    if not request.groups:
        return CollectionHits(scores, named, payloads, missing=missing)
    k, n = request.k, len(request)
    if payloads is not None:
        payloads = [list(itertools.chain(*payloads[i : i + k])) for i in range(0, n * k, k)]
    groups = _groups(answers)
    of_queries = [groups[i : i + k] for i in range(0, n * k, k)]
    return CollectionHits(scores.reshape(n, -1), named.reshape(n, -1), payloads, of_queries, missing)


def _keys(answers: Sequence[Answer]) -> list[bytes] | None:
    """A key for each id, b"" for none; None where there is none at all."""
    if not any(answer.message is not None and answer.message.keys for answer in answers):
        return None
    every: list[bytes] = []
    for answer in answers:  # a row may have got the first one meanwhile
        there = (answer.ids >= 0).ravel().tolist()
        keys = iter(answer.message.keys if answer.message is not None else ())
        every += [next(keys, b"") if real else b"" for real in there]
    return every


def _payloads(answers: Sequence[Answer], width: int) -> list[list[Payload | None]]:
    """Of each row of hits."""
    rows: list[list[Payload | None]] = []
    for answer in answers:
        assert answer.message is not None
        texts = iter(answer.message.payloads)
        for count in answer.message.counts:
            rows.append([load_payload(next(texts)) for _ in range(count)] + [None] * (width - count))
    return rows


def _groups(answers: Sequence[Answer]) -> list[GroupValue | None]:
    """The value of each group."""
    texts = itertools.chain.from_iterable(answer.message.groups for answer in answers if answer.message is not None)
    return [json.loads(text) if text else None for text in texts]
