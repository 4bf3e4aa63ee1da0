"""Requests of bebr.v1 from checked arguments: what clients send over gRPC, and what is asked for others over HTTP."""

from __future__ import annotations

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from bebr.collection.bare import bare_rows
from bebr.collection.creation import Creation
from bebr.collection.keys import Named
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
    before = pb.Vectors(dimension=columns.shape[1], count=columns.shape[0]).SerializeToString()
    data = _head_of(pb.Vectors, "f16" if columns.dtype == np.float16 else "f32", columns.nbytes)
    field = _head_of(pb.UpsertRequest, "vectors", len(before) + len(data) + columns.nbytes)
    return b"".join((request.SerializeToString(), field, before, data, columns.data))


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
    options = request.options
    message = pb.SearchRequest(
        collection=collection,
        k=request.k,
        radius=options.radius,
        offset=request.offset,
        with_payloads=request.with_payloads,
        rescore=options.rescore,
        nprobe=options.nprobe,
        ef_search=options.ef_search,
    )
    if options.exact:
        message.exact = True
    elif options.oversampling is not None:
        message.oversampling = options.oversampling
    if request.allow is not None:
        message.allow = convert.ids_to_bytes(request.allow.numbers)
        message.allow_keys.extend(request.allow.keys or [])
    if options.filter is not None:
        message.filter = options.filter.text
    if request.groups is not None:
        message.group_by, message.group_size = request.groups.by, request.groups.size
    return message
