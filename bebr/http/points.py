"""Routes of rows: writes and reads."""

from __future__ import annotations

from typing import Any

from bebr.collection.checks import (
    check_conflict,
    check_delete,
    check_ids,
    check_new_payloads,
    check_page,
    check_rows,
)
from bebr.collection.filter_form import as_filter
from bebr.collection.filter_tree import Filter
from bebr.http.fields import field
from bebr.http.routes import Asked, Route
from bebr.http.values import id_of, ids_of, rows_of, vectors_of
from bebr.serve import convert
from bebr.serve.messages import put_rows
from bebr.v1 import bebr_pb2 as pb

_PAGE = 1000


async def _upsert(asked: Asked) -> Any:
    dim = (await asked.served()).collection.binarizer.input_dim

    def request() -> pb.UpsertRequest:
        conflict = convert.CONFLICTS[check_conflict(asked["on_conflict"])]
        ids, x = ids_of(asked["ids"], "ids"), vectors_of(asked["x"], "x")
        named, vectors, texts = check_rows(ids, x, asked["payloads"], dim, asked["on_duplicate"])
        return put_rows(pb.UpsertRequest(collection=asked.name, conflict=conflict), named, vectors, texts)

    reply = await asked.call("Points/Upsert", request)
    return {"rows": reply.rows}


async def _set_payloads(asked: Asked) -> Any:
    def request() -> pb.SetPayloadsRequest:
        named, texts = check_new_payloads(ids_of(asked["ids"], "ids"), asked["payloads"])
        return pb.SetPayloadsRequest(
            collection=asked.name,
            ids=convert.ids_to_bytes(named.numbers),
            keys=named.keys,
            payloads=texts,
            merge=asked["merge"],
        )

    reply = await asked.call("Points/SetPayloads", request)
    return {"rows": reply.rows}


async def _delete(asked: Asked) -> Any:
    def request() -> pb.DeleteRequest:
        ids = asked["ids"]
        which = check_delete(None if ids is None else ids_of(ids, "ids"), asked["filter"])
        if isinstance(which, Filter):
            return pb.DeleteRequest(collection=asked.name, filter=which.text)
        return pb.DeleteRequest(collection=asked.name, ids=convert.ids_to_bytes(which.numbers), keys=which.keys)

    reply = await asked.call("Points/Delete", request)
    return {"rows": reply.rows}


async def _count(asked: Asked) -> Any:
    filter = asked["filter"]
    text = None if filter is None else as_filter(filter).text
    reply = await asked.call("Points/Count", lambda: pb.CountRequest(collection=asked.name, filter=text))
    return {"rows": reply.rows}


async def _get(asked: Asked) -> Any:
    wanted = await asked.read(lambda: check_ids(ids_of(asked["ids"], "ids")))

    def request() -> pb.GetRequest:
        once = wanted.once()
        return pb.GetRequest(
            collection=asked.name,
            ids=convert.ids_to_bytes(once.numbers),
            keys=once.keys,
            with_payloads=asked["payloads"],
            with_vectors=asked["vectors"],
        )

    reply = await asked.call("Points/Get", request)

    def text() -> bytes:
        found = dict(zip(*rows_of(reply.rows, asked["payloads"]), strict=True))
        return f'{{"rows":[{",".join(found.get(id, "null") for id in wanted.ids())}]}}'.encode()

    return await asked.write(reply, text)


async def _scroll(asked: Asked) -> Any:
    def request() -> pb.ScrollRequest:
        after = check_page(asked["limit"], id_of(asked["after"], "after"))
        made = pb.ScrollRequest(
            collection=asked.name,
            limit=asked["limit"],
            with_payloads=asked["payloads"],
            with_vectors=asked["vectors"],
            behind=asked["behind"],
        )
        if asked["filter"] is not None:
            made.filter = as_filter(asked["filter"]).text
        if after is not None and after.key(0):
            made.after_key = after.key(0)
        elif after is not None:
            made.after = int(after.numbers[0])
        return made

    reply = await asked.call("Points/Scroll", request)

    def text() -> bytes:
        _, rows = rows_of(reply.rows, asked["payloads"])
        return f'{{"rows":[{",".join(rows)}],"full":{"true" if reply.full else "false"}}}'.encode()

    return await asked.write(reply, text)


_ONE = "/v1/collections/{name}"
_IDS = field("array", 'Numbers of 0 or greater, strings, or {"uuid": "…"}.', required=True)
FILTER = field("object", 'Only rows whose payload matches, as in {"lang": "de", "year": {"gte": 2000}}.')
_PAYLOADS = field("boolean", "Whether rows come with their payloads.", True)
_VECTORS = field("boolean", "Whether rows come with their vectors.", False)
_ROW = {"id": 1, "payload": {"title": "…"}}
ROUTES = (
    Route(
        *("POST", f"{_ONE}/upsert", "Points/Upsert"),
        *("Insert rows, replacing rows of the same id as a whole. All rows are written, or none.", _upsert),
        {"rows": 2},
        {
            "ids": _IDS,
            "x": field(
                "array",
                "A vector a row: numbers, base64 of float32, or null for a row without one.",
                required=True,
                null=True,
            ),
            "payloads": field("array", "A JSON object a row, null for none."),
            "on_duplicate": field("string", "Of an id twice in the call.", "last", choices=("last", "error")),
            "on_conflict": field("string", "Of an id that is there.", "replace", choices=("replace", "skip", "error")),
        },
    ),
    Route(
        *("POST", f"{_ONE}/set_payloads", "Points/SetPayloads"),
        *("Replace the payloads of rows, or set keys in them.", _set_payloads, {"rows": 2}),
        {
            "ids": _IDS,
            "payloads": field("array", "A JSON object an id, null for none.", required=True, null=True),
            "merge": field("boolean", "Set the keys of each in the payload that is there.", False),
        },
    ),
    Route(
        *("POST", f"{_ONE}/delete", "Points/Delete"),
        *("Remove rows by their ids, or all that match a filter.", _delete, {"rows": 2}),
        {"ids": field("array", _IDS.text), "filter": FILTER},
    ),
    Route(
        *("POST", f"{_ONE}/count", "Points/Count"),
        *("How many rows match a filter; without one, how many there are.", _count, {"rows": 2}),
        {"filter": FILTER},
    ),
    Route(
        *("POST", f"{_ONE}/get", "Points/Get"),
        *("The row of each id, null for one that is not there.", _get, {"rows": [_ROW, None]}),
        {"ids": _IDS, "payloads": _PAYLOADS, "vectors": _VECTORS},
    ),
    Route(
        *("POST", f"{_ONE}/scroll", "Points/Scroll"),
        *("The next rows by id. Go on after the last one, until no rows come.", _scroll),
        {"rows": [_ROW], "full": False},
        {
            "limit": field("integer", "Rows at most; fewer come where a reply is full.", _PAGE),
            "after": field("integer string object", "The id after which to begin."),
            "filter": FILTER,
            "payloads": _PAYLOADS,
            "vectors": _VECTORS,
            "behind": field("boolean", "Only rows that wait for the vectors of a migration.", False),
        },
    ),
)
