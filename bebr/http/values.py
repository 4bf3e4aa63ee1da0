"""Between JSON and what collections take and give. Ids are numbers, strings, or {"uuid": "…"}; a vector is a list of
numbers, or base64 of little-endian float32."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import numpy as np

from bebr.arrays import Floats
from bebr.collection.keys import Id, Named
from bebr.collection.protocol import ModelInfo, SnapshotInfo
from bebr.serve import convert
from bebr.v1 import bebr_pb2 as pb

_MOST_SHOWN = 80


def load_body(data: bytes) -> object:
    """What a body says; {} for none. ``ValueError`` where it is not JSON. NaN is left to the checks of the field that
    has it: they can name the place."""
    if not data:
        return {}
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from error


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_uuid).encode()


def ids_of(values: Sequence[Any], name: str) -> list[Any]:
    """Ids of a request; what is neither an id nor looks like one is left to their checks."""
    if not any(isinstance(value, dict) for value in values):
        return list(values)
    return [id_of(value, f"{name}[{row}]") for row, value in enumerate(values)]


def id_of(value: Any, name: str) -> Any:
    """``ValueError`` for an object that is no UUID."""
    if not isinstance(value, dict):
        return value
    text = value.get("uuid")
    if set(value) == {"uuid"} and isinstance(text, str):
        try:
            return UUID(text)
        except ValueError:
            pass
    raise ValueError(f'{name} is {repr(value)[:_MOST_SHOWN]}: want a number, a string or {{"uuid": "…"}}')


def vectors_of(value: Any, name: str) -> Any:
    """Vectors of a request, for `as_vectors` or `as_rows`: one or a list of them, with None for a row without one.
    ``ValueError`` for rows of different lengths and for what is no base64."""
    if value is None:
        return None
    if isinstance(value, str):
        return _binary(value, name)
    rows = [_binary(row, f"{name}[{i}]") if isinstance(row, str) else row for i, row in enumerate(value)]
    sizes = {len(row) for row in rows if isinstance(row, list | np.ndarray)}
    if len(sizes) > 1:
        raise ValueError(f"{name} has rows of {min(sizes)} and of {max(sizes)} numbers: want all of one length")
    for i, row in enumerate(rows):
        if sizes and row is not None and not isinstance(row, list | np.ndarray):
            raise ValueError(f"{name}[{i}] is {repr(row)[:_MOST_SHOWN]}: want a vector, as in other rows")
    return rows


def _binary(text: str, name: str) -> Floats:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{name} is text, but no base64 of float32: {error}") from error
    if len(data) % 4:
        raise ValueError(f"{name} has {len(data)} bytes in base64: want float32, a multiple of 4")
    return np.frombuffer(data, "<f4")


def search_text(reply: pb.SearchResponse, k: int, group_size: int | None, with_payloads: bool) -> bytes:
    """The answer of a search. Payloads go from reply to reply as the text they are."""
    ids = Named(convert.ids_from_bytes(reply.ids, "ids"), list(reply.keys) or None).ids()
    scores = np.frombuffer(reply.scores, "<f4").tolist()
    texts = reply.payloads if with_payloads else None
    hits = (
        f'{{"id":{_id(id)},"score":{score:.9g}' + ("}" if texts is None else f',"payload":{texts[row] or "null"}}}')
        for row, (id, score) in enumerate(zip(ids, scores, strict=True))
    )
    runs = [f'"hits":[{",".join(next(hits) for _ in range(count))}]' for count in reply.counts]
    if group_size is not None:
        groups = [f'{{"value":{value},{run}}}' if value else "" for value, run in zip(reply.groups, runs, strict=True)]
        runs = [f'"groups":[{",".join(filter(None, groups[i : i + k]))}]' for i in range(0, len(groups), k)]
    results = ",".join(f"{{{run}}}" for run in runs)
    figures = f'"elapsed_us":{reply.elapsed_us},"batch_queries":{reply.batch_queries}'
    return f'{{"results":[{results}],{figures}}}'.encode()


def rows_of(message: pb.Rows, with_payloads: bool) -> tuple[list[Id], list[str]]:
    """The ids of rows that were read, and the JSON of each."""
    ids = Named(convert.ids_from_bytes(message.ids, "ids"), list(message.keys) or None).ids()
    vectors: Iterable[Floats] | None = None
    if message.HasField("vectors"):
        vectors = iter(convert.vectors_from_message(message.vectors, "vectors"))
    bare = set(message.without_vector)
    made = []
    for row, id in enumerate(ids):
        parts = [f'"id":{_id(id)}']
        if with_payloads:
            parts.append(f'"payload":{message.payloads[row] or "null"}')
        if vectors is not None:
            parts.append(f'"vector":{"null" if row in bare else _vector(next(vectors))}')  # type: ignore[call-overload]
        made.append("{" + ",".join(parts) + "}")
    return ids, made


def vectors_text(vectors: Floats) -> str:
    """Nine digits tell a float32 from its neighbours."""
    return f"[{','.join(map(_vector, vectors))}]"


def _vector(vector: Floats) -> str:
    return f"[{','.join(map('%.9g'.__mod__, vector.tolist()))}]"


def _id(id: Id) -> str:
    return str(id) if isinstance(id, int) else json.dumps(id, ensure_ascii=False, default=_uuid)


def _uuid(value: object) -> dict[str, str]:
    if isinstance(value, UUID):
        return {"uuid": str(value)}
    raise TypeError(f"{value!r} is no JSON")


def model_of(message: pb.ModelInfo) -> dict[str, Any]:
    """A model, with `bits_per_dimension`: the mean over its dimensions, factors left out."""
    model: ModelInfo = convert.model_from_message(message)
    return {**vars(model), "bits_per_dimension": round(sum(model.widths) / model.input_dim, 4)}


def snapshot_of(message: pb.Snapshot) -> dict[str, Any]:
    snapshot: SnapshotInfo = convert.snapshot_from_message(message)
    return vars(snapshot)
