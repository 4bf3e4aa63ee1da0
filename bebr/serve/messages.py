"""Requests of bebr.v1 from checked arguments: what clients send over gRPC, and what is asked for others over HTTP."""

from __future__ import annotations

import numpy as np
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
    request.ids = convert.ids_to_bytes(named.numbers)
    request.keys.extend(named.keys or [])
    request.payloads.extend(texts)
    bare = bare_rows(vectors)
    if bare is not None:
        request.without_vector.extend(np.flatnonzero(bare).tolist())
        vectors = vectors[~bare]
    request.vectors.CopyFrom(convert.vectors_to_message(vectors))
    return request


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
