"""Between messages of bebr.v1 and numpy. Columns are little-endian bytes, whatever the machine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.checks import check_effort, load_payload
from bebr.collection.filter_form import filter_of_text
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import Named, of_keys
from bebr.collection.options import SearchOptions
from bebr.collection.protocol import TARGET_RECALL, IndexKind, Keep, ModelInfo, OnConflict, Row, SnapshotInfo
from bebr.index import Hits
from bebr.index.raw import check_rescore
from bebr.v1 import bebr_pb2 as pb

_F2, _F4 = np.dtype("<f2"), np.dtype("<f4")
METRICS = {"cosine": pb.METRIC_COSINE, "ip": pb.METRIC_IP, "l2": pb.METRIC_L2}
QUERY_MODES = {"float": pb.QUERY_MODE_FLOAT, "code": pb.QUERY_MODE_CODE}
FUSIONS = {"rrf": pb.FUSION_RRF}
KEEP: dict[Keep, pb.Keep] = {
    "auto": pb.KEEP_UNSPECIFIED,
    None: pb.KEEP_NONE,
    "float16": pb.KEEP_FLOAT16,
    "int8": pb.KEEP_INT8,
}
CONFLICTS: dict[OnConflict, pb.Conflict] = {
    "replace": pb.CONFLICT_REPLACE,
    "skip": pb.CONFLICT_SKIP,
    "error": pb.CONFLICT_ERROR,
}
_CONFLICT_NAMES: dict[int, OnConflict] = {
    pb.CONFLICT_UNSPECIFIED: "replace",
    **{number: name for name, number in CONFLICTS.items()},
}
INDEXES: dict[IndexKind, pb.IndexKind] = {
    "auto": pb.INDEX_KIND_UNSPECIFIED,
    "flat": pb.INDEX_KIND_FLAT,
    "graph": pb.INDEX_KIND_GRAPH,
}
_INDEX_NAMES: dict[int, IndexKind] = {number: name for name, number in INDEXES.items()}
_KEEP_NAMES: dict[int, Keep] = {number: name for name, number in KEEP.items()}
METRIC_NAMES: dict[int, str] = {number: name for name, number in METRICS.items()}
_MODE_NAMES: dict[int, Query] = {
    pb.QUERY_MODE_UNSPECIFIED: "float",
    pb.QUERY_MODE_FLOAT: "float",
    pb.QUERY_MODE_CODE: "code",
}


def creation_from_message(request: pb.CreateCollectionRequest) -> dict[str, Any]:
    """The arguments of ``create_collection`` but its model. ``ValueError`` for a number this version does not know."""
    if request.keep not in _KEEP_NAMES:
        raise ValueError(f"keep is {request.keep}: want KEEP_FLOAT16 (1), KEEP_INT8 (2) or KEEP_NONE (3)")
    if request.metric and request.metric not in METRIC_NAMES:
        raise ValueError(f"metric is {request.metric}: want METRIC_COSINE (1), METRIC_IP (2) or METRIC_L2 (3)")
    if request.index not in _INDEX_NAMES:
        raise ValueError(f"index is {request.index}: want INDEX_KIND_FLAT (1), INDEX_KIND_GRAPH (2) or neither (0)")
    return {
        "dim": request.dim or None,
        "index": _INDEX_NAMES[request.index],
        "target_recall": request.target_recall or TARGET_RECALL,
        "metric": METRIC_NAMES.get(request.metric),
        "bytes_per_vector": request.bytes_per_vector or None,
        "keep": _KEEP_NAMES[request.keep],
        "retrain": request.retrain if request.HasField("retrain") else None,
        "text": list(request.text),
    }


def conflict_from_message(request: pb.UpsertRequest) -> OnConflict:
    """What happens to ids that are there. ``ValueError`` for a number this version does not know."""
    if request.conflict not in _CONFLICT_NAMES:
        raise ValueError(f"conflict is {request.conflict}: want CONFLICT_REPLACE (1), _SKIP (2) or _ERROR (3)")
    return _CONFLICT_NAMES[request.conflict]


def ids_to_bytes(ids: Ids) -> bytes:
    return ids.astype("<i8", copy=False).tobytes()


def ids_from_bytes(data: bytes, name: str) -> Ids:
    """int64[n]; ``ValueError`` unless whole numbers of 8 bytes."""
    if len(data) % 8:
        raise ValueError(f"{name} has {len(data)} bytes: want int64, a multiple of 8")
    return np.frombuffer(data, "<i8").astype(np.int64, copy=False)


def named_from_message(data: bytes, keys: Sequence[bytes], name: str) -> Named:
    """Ids; ``ValueError`` unless whole numbers of 8 bytes, and as many keys or none."""
    return of_keys(ids_from_bytes(data, name), keys, name)


def vector_columns(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """float32 or float16 [n, d] as a message has it, row by row; the type is kept."""
    return np.ascontiguousarray(vectors, _F2 if vectors.itemsize == 2 else _F4)


def vectors_to_message(vectors: NDArray[np.floating]) -> pb.Vectors:
    """A message from float32 or float16 [n, d]; the type is kept."""
    return put_vectors(pb.Vectors(), vectors)


def put_vectors(message: pb.Vectors, vectors: NDArray[np.floating]) -> pb.Vectors:
    """The same in place of what a message has. Returns it."""
    message.count, message.dimension = vectors.shape
    setattr(message, "f16" if vectors.dtype == np.float16 else "f32", vector_columns(vectors).tobytes())
    return message


def vectors_from_message(message: pb.Vectors, name: str) -> Floats:
    """float32[count, dimension]; ``ValueError`` if the sizes disagree. The values are not yet checked."""
    kind = message.WhichOneof("data")
    if kind is None:
        raise ValueError(f"{name} has neither f32 nor f16: want one of them")
    data, size = getattr(message, kind), 4 if kind == "f32" else 2
    if len(data) != message.count * message.dimension * size:
        raise ValueError(
            f"{name}.{kind} has {len(data)} bytes: want count * dimension * {size} = "
            f"{message.count} * {message.dimension} * {size}"
        )
    if message.count and not message.dimension:
        raise ValueError(f"{name}.dimension is 0: want the input_dim of the collection's model")
    flat = np.frombuffer(data, "<f4" if kind == "f32" else "<f2")
    return flat.reshape(message.count, message.dimension).astype(np.float32, copy=False)


def query_mode(number: int) -> Query:
    """ "float" or "code"; ``ValueError`` for a number this version does not know."""
    if number not in _MODE_NAMES:
        raise ValueError(f"query is {number}: want QUERY_MODE_FLOAT (1) or QUERY_MODE_CODE (2)")
    return _MODE_NAMES[number]


def texts_from_message(request: pb.SearchRequest) -> list[str] | None:
    """The words to be searched for, one text a query; None for none. ``ValueError`` for a way to fuse rankings that
    this version does not know."""
    if request.fusion not in (pb.FUSION_UNSPECIFIED, pb.FUSION_RRF):
        raise ValueError(f"fusion is {request.fusion}: want FUSION_RRF (1)")
    return list(request.text) or None


def options_from_message(
    request: pb.SearchRequest, depth: int, model: Binarizer | None, filter: Filter | None
) -> SearchOptions:
    """What a search is asked for. ``depth``: how far into the ranking it reaches."""
    oversampling = int(request.oversampling) if request.WhichOneof("effort") == "oversampling" else None
    radius = request.radius if request.HasField("radius") else None
    rescore = check_rescore(request.rescore, depth) if request.HasField("rescore") else None
    query = query_mode(request.query)
    nprobe = request.nprobe if request.HasField("nprobe") else None
    ef_search = request.ef_search if request.HasField("ef_search") else None
    check_effort(nprobe, ef_search, request.exact)
    about = depth, query, oversampling, request.exact, radius, rescore, model, filter
    return SearchOptions(*about, nprobe=nprobe, ef_search=ef_search)


def filter_from_message(
    request: pb.SearchRequest | pb.DeleteRequest | pb.CountRequest | pb.ScrollRequest,
) -> Filter | None:
    """None where there is none; ``ValueError`` for one that cannot be read."""
    return filter_of_text(request.filter) if request.HasField("filter") else None


def hits_to_message(
    hits: Hits, payloads: Sequence[str] | None, keys: Sequence[bytes] | None = None
) -> pb.SearchResponse:
    """Drops the missing answers (id -1). ``payloads`` and ``keys``: one for each of the n * k answers, missing ones
    included."""
    there = hits.ids >= 0
    reply = pb.SearchResponse(
        ids=ids_to_bytes(hits.ids[there]),
        scores=hits.scores[there].astype("<f4", copy=False).tobytes(),
        counts=there.sum(axis=1).tolist(),
    )
    real = there.ravel().tolist()
    if payloads is not None:
        reply.payloads.extend(itertools.compress(payloads, real))
    if keys is not None:
        reply.keys.extend(itertools.compress(keys, real))
    return reply


def rows_from_message(message: pb.Rows) -> list[Row]:
    """Rows as they were sent."""
    ids = Named(ids_from_bytes(message.ids, "ids"), list(message.keys) or None).ids()
    vectors = vectors_from_message(message.vectors, "vectors") if message.HasField("vectors") else None
    texts = message.payloads or [""] * len(ids)
    bare = set(message.without_vector)
    given = iter(() if vectors is None else vectors)
    return [
        Row(id, load_payload(text), None if vectors is None or i in bare else next(given))
        for i, (id, text) in enumerate(zip(ids, texts, strict=True))
    ]


def snapshot_to_message(info: SnapshotInfo) -> pb.Snapshot:
    return pb.Snapshot(**vars(info))


def snapshot_from_message(message: pb.Snapshot) -> SnapshotInfo:
    return SnapshotInfo(
        *(message.name, message.created, dict(message.collections), message.files, message.bytes),
        *(message.new_files, message.new_bytes),
    )


def model_to_message(model: ModelInfo) -> pb.ModelInfo:
    return pb.ModelInfo(
        digest=model.digest,
        metric=METRICS[model.metric],
        input_dim=model.input_dim,
        widths=model.widths,
        bytes_per_vector=model.bytes_per_vector,
        architecture=model.architecture,
        query_dim=model.query_dim,
    )


def model_from_message(message: pb.ModelInfo) -> ModelInfo:
    return ModelInfo(
        message.digest,
        METRIC_NAMES[message.metric],
        message.input_dim,
        tuple(message.widths),
        message.bytes_per_vector,
        message.architecture,
        message.query_dim or message.input_dim,
    )
