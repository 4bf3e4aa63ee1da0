"""Requests of bebr.v1 from checked arguments: what clients send over gRPC, and what is asked for others over HTTP."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from bebr.binarizer.codes import Query
from bebr.collection.bare import bare_rows
from bebr.collection.creation import Creation
from bebr.collection.keys import Named
from bebr.collection.options import Groups
from bebr.collection.protocol import Fusion
from bebr.collection.request import SearchRequest
from bebr.serve import convert
from bebr.v1 import bebr_pb2 as pb


def creation_message(new: Creation) -> pb.CreateCollectionRequest:
    """Of a model, which must be registered, or of dimensions."""
    how = {"keep": convert.KEEP[new.keep], "retrain": new.retrain, "text": new.text}
    how |= {"index": convert.INDEXES[new.index], "target_recall": new.target_recall}
    request = pb.CreateCollectionRequest(name=new.name, **how)
    if new.bz is not None:
        request.model = new.bz.digest
    else:
        request.dim, request.metric = new.dim, convert.METRICS[new.metric]
        request.bytes_per_vector = new.bytes_per_vector
    return request


def put_rows(
    request: pb.UpsertRequest, named: Named, vectors: NDArray[np.floating], texts: list[str]
) -> pb.UpsertRequest:
    """Puts rows into ``request``; those whose vector is NaN have none. Returns it."""
    request.vectors.CopyFrom(convert.vectors_to_message(_put_all_but_vectors(request, named, vectors, texts)))
    return request


def rows_on_wire(head: pb.UpsertRequest, named: Named, vectors: NDArray[np.floating], texts: list[str]) -> bytes:
    """What :func:`put_rows` makes of ``head``, as it is sent, without the copies of vectors that protobuf makes on the
    way: CPU of .18 us a row of 384 dimensions at best instead of 2.5 (``pytest benchmarks/micro.py -k make_upsert``, on
    a busy machine)."""
    request = pb.UpsertRequest()
    request.CopyFrom(head)
    columns = convert.vector_columns(_put_all_but_vectors(request, named, vectors, texts))
    before = _before_vectors(pb.UpsertRequest, "vectors", *columns.shape, columns.itemsize)
    return b"".join((request.SerializeToString(), before, columns.data))


def _put_all_but_vectors(
    request: pb.UpsertRequest, named: Named, vectors: NDArray[np.floating], texts: list[str]
) -> NDArray[np.floating]:
    """Returns the vectors of the rows that have one."""
    request.ids = convert.ids_to_bytes(named.numbers)
    request.keys.extend(named.keys or [])
    request.payloads.extend(texts)
    bare = bare_rows(vectors)
    if bare is None:
        return vectors
    request.without_vector.extend(np.flatnonzero(bare).tolist())
    return vectors[~bare]


@lru_cache(256)
def _before_vectors(kind: type[Message], name: str, count: int, dimension: int, itemsize: int) -> bytes:
    """What stands before the numbers of a field that is a `Vectors`, which end it."""
    before: bytes = pb.Vectors(dimension=dimension, count=count).SerializeToString()
    size = count * dimension * itemsize
    data = _head_of(pb.Vectors, "f16" if itemsize == 2 else "f32", size)
    return _head_of(kind, name, len(before) + len(data) + size) + before + data


def _head_of(kind: type[Message], name: str, size: int) -> bytes:
    """What stands before a field of so many bytes: its number, with 2 for "bytes follow", and their number, each 7 bits
    a byte (protobuf.dev, "Encoding")."""
    head = bytearray()
    for number in (kind.DESCRIPTOR.fields_by_name[name].number << 3 | 2, size):
        while number > 0x7F:
            head.append(number & 0x7F | 0x80)
            number >>= 7
        head.append(number)
    return bytes(head)


def search_message(collection: str, request: SearchRequest) -> pb.SearchRequest:
    """All of a search but its queries and what they are for."""
    return pb.SearchRequest.FromString(search_on_wire(collection, request))


def search_on_wire(
    collection: str, request: SearchRequest, model: str | None = None, allow_partial: bool = False
) -> bytes:
    """A search as it is sent, but its queries, which may follow: pieces of a message one after another are the message.
    ``model``: the digest of that of the queries."""
    options = request.options
    effort = options.query, options.oversampling, options.exact, options.rescore, options.nprobe, options.ef_search
    shown = request.k, request.offset, options.radius, request.groups, request.with_payloads
    head: bytes = _search_head(collection, model, allow_partial, *effort, *shown)
    if request.allow is None and options.filter is None:
        return head
    among = pb.SearchRequest(filter=None if options.filter is None else options.filter.text)
    if request.allow is not None:
        among.allow = convert.ids_to_bytes(request.allow.numbers)
        among.allow_keys.extend(request.allow.keys or [])
    return head + _bytes(among)


@lru_cache(256)
def _search_head(
    collection: str,
    model: str | None,
    allow_partial: bool,
    query: Query,
    oversampling: int | None,
    exact: bool,
    rescore: int | None,
    nprobe: int | None,
    ef_search: int | None,
    k: int,
    offset: int,
    radius: float | None,
    groups: Groups | None,
    with_payloads: bool,
) -> bytes:
    """What most searches have in common with those before them."""
    message = pb.SearchRequest(
        collection=collection,
        model=model,
        allow_partial=allow_partial,
        query=convert.QUERY_MODES[query],
        rescore=rescore,
        nprobe=nprobe,
        ef_search=ef_search,
        k=k,
        offset=offset,
        radius=radius,
        with_payloads=with_payloads,
    )
    if exact:
        message.exact = True
    elif oversampling is not None:
        message.oversampling = oversampling
    if groups is not None:
        message.group_by, message.group_size = groups.by, groups.size
    return _bytes(message)


def before_queries(vectors: NDArray[np.floating]) -> bytes:
    """What stands before the numbers of a search's queries, float32 or float16 [n, d], which end the request: their
    bytes in C order."""
    return _before_queries(vectors.shape, vectors.itemsize)


@lru_cache(256)
def _before_queries(shape: tuple[int, ...], itemsize: int) -> bytes:
    return _before_vectors(pb.SearchRequest, "queries", *shape, itemsize)


def texts_on_wire(texts: list[str], fusion: Fusion) -> bytes:
    """Words that a search asks for as they are sent, one text a query."""
    return _bytes(pb.SearchRequest(text=texts, fusion=convert.FUSIONS[fusion]))


def rows_asked_on_wire(rows: Named) -> bytes:
    """Rows that are the queries of a search as they are sent."""
    return _bytes(pb.SearchRequest(by_ids=convert.ids_to_bytes(rows.numbers), by_keys=rows.keys))


def _bytes(message: Message) -> bytes:
    sent: bytes = message.SerializeToString()
    return sent
