"""Routes of collections, aliases and models: what there is, and what it is made of."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from bebr.collection.checks import check_name, check_rows
from bebr.collection.creation import check_creation, check_existing
from bebr.collection.protocol import TARGET_RECALL, AlreadyExists
from bebr.http.fields import field
from bebr.http.routes import Asked, Route
from bebr.http.values import ids_of, model_of, vectors_of
from bebr.serve import convert
from bebr.serve.messages import creation_message, put_rows
from bebr.v1 import bebr_pb2 as pb

_MODEL = {"digest": "9f…", "metric": "cosine", "input_dim": 384, "bytes_per_vector": 98, "bits_per_dimension": 2.0}
_STATS = {
    "name": "docs",
    "rows": 1000,
    "segments": 1,
    "tail_rows": 0,
    "dead_rows": 0,
    "bytes_on_disk": 106_000,
    "bytes_per_vector": 866,
    "kept_bytes": 768,
    "target": "",
    "former": "",
    "rows_behind": 0,
    "rows_by_kind": {"flat": 1000},
    "rows_by_device": {},
    "merging": False,
    "batching": {"requests": 9, "queries": 9, "batches": 9, "largest": 1},
    "text": [],
    "model": _MODEL,
}


async def _list(asked: Asked) -> Any:
    reply = await asked.call("Collections/List", pb.ListCollectionsRequest)
    return {"collections": list(reply.names)}


async def _create(asked: Asked) -> Any:
    digest = asked["bz"]
    bz = None if digest is None else await asked.registry.read(lambda: asked.registry.db.model(digest))
    how = {name: asked[name] for name in ("dim", "metric", "bytes_per_vector", "keep", "retrain", "text", "index")}
    new = check_creation(asked.name, bz, **how, target_recall=asked["target_recall"])
    try:
        reply = await asked.call("Collections/Create", lambda: creation_message(new))
    except AlreadyExists:
        if not asked["exist_ok"]:
            raise
        reply = await asked.call("Collections/Get", lambda: pb.GetCollectionRequest(name=asked.name))
        check_existing(convert.model_from_message(reply.model), reply.text, new)
    return {"name": asked.name, "model": model_of(reply.model)}


async def _stats(asked: Asked) -> Any:
    reply = await asked.call("Admin/Stats", lambda: pb.StatsRequest(collection=asked.name))
    about = await asked.call("Collections/Get", lambda: pb.GetCollectionRequest(name=asked.name))
    batching = reply.batching
    return {
        "name": asked.name,
        **{name: getattr(reply, name) for name in ("rows", "segments", "tail_rows", "dead_rows", "bytes_on_disk")},
        "bytes_per_vector": reply.model.bytes_per_vector + reply.kept_bytes,
        "kept_bytes": reply.kept_bytes,
        "target": reply.target,
        "former": reply.former,
        "rows_behind": reply.rows_behind,
        "rows_by_kind": dict(reply.rows_by_kind),
        "rows_by_device": dict(reply.rows_by_device),
        "merging": reply.merging,
        "batching": {name: getattr(batching, name) for name in ("requests", "queries", "batches", "largest")},
        "text": list(about.text),
        "model": model_of(reply.model),
    }


async def _drop(asked: Asked) -> Any:
    await asked.call("Collections/Drop", lambda: pb.DropCollectionRequest(name=asked.name))
    return {}


async def _truncate(asked: Asked) -> Any:
    reply = await asked.call("Collections/Truncate", lambda: pb.TruncateRequest(name=asked.name))
    return {"rows": reply.rows}


async def _retrain(asked: Asked) -> Any:
    size = asked["bytes_per_vector"]
    await asked.call("Collections/Retrain", lambda: pb.RetrainCollectionRequest(name=asked.name, bytes_per_vector=size))
    return {}


async def _migrate(asked: Asked) -> Any:
    digest, batch = asked["bz"], asked["vectors"]
    request = pb.MigrateCollectionRequest(name=asked.name, model=digest, streamed=batch is not None)
    await asked.call("Collections/Migrate", lambda: request)
    if batch is None:
        return {"rows": 0}
    dim = (await asked.registry.read(lambda: asked.registry.db.model(digest))).input_dim

    def rows() -> pb.UpsertRequest:
        if not isinstance(batch, dict) or set(batch) != {"ids", "x"} or not isinstance(batch["ids"], list):
            raise ValueError('vectors is no batch: want {"ids": […], "x": [[…], …]}')
        given = vectors_of(batch["x"], "vectors.x")
        named, vectors, _ = check_rows(ids_of(batch["ids"], "vectors.ids"), given, None, dim)
        return put_rows(pb.UpsertRequest(collection=asked.name, stream_model=digest), named, vectors, [])

    reply = await asked.call("Points/Upsert", rows)
    return {"rows": reply.rows}


async def _cutover(asked: Asked) -> Any:
    how = {"bare": asked["bare"], "keep_old": asked["keep_old"]}
    reply = await asked.call("Collections/Cutover", lambda: pb.CutoverRequest(name=asked.name, **how))
    return {"model": model_of(reply.model)}


async def _rollback(asked: Asked) -> Any:
    reply = await asked.call("Collections/Rollback", lambda: pb.RollbackRequest(name=asked.name, bare=asked["bare"]))
    return {"model": model_of(reply.model)}


async def _aliases(asked: Asked) -> Any:
    reply = await asked.call("Collections/ListAliases", pb.ListAliasesRequest)
    return {"aliases": dict(sorted(reply.aliases.items()))}


async def _set_alias(asked: Asked) -> Any:
    alias = check_name(asked.path["alias"])
    request = pb.SetAliasRequest(alias=alias, collection=asked["collection"])
    await asked.call("Collections/SetAlias", lambda: request)
    return {}


async def _drop_alias(asked: Asked) -> Any:
    await asked.call("Collections/DropAlias", lambda: pb.DropAliasRequest(alias=asked.path["alias"]))
    return {}


async def _models(asked: Asked) -> Any:
    reply = await asked.call("Models/List", pb.ListModelsRequest)
    return {"models": [model_of(model) for model in reply.models]}


async def _register(asked: Asked) -> Any:
    def request() -> pb.RegisterModelRequest:
        try:
            return pb.RegisterModelRequest(data=base64.b64decode(asked["data"], validate=True))
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"data is no base64: {error}") from error

    reply = await asked.call("Models/Register", request)
    return {"digest": reply.digest}


async def _model(asked: Asked) -> Any:
    reply = await asked.call("Models/Get", lambda: pb.GetModelRequest(digest=asked.path["digest"]))
    return await asked.write(reply, lambda: b'{"data":"' + base64.b64encode(reply.data) + b'"}')


_DIGEST = "Digest of a registered model"
_ONE = "/v1/collections/{name}"
ROUTES = (
    Route(
        *("GET", "/v1/collections", "Collections/List"),
        *("Names of all collections, sorted, corrupt ones included.", _list, {"collections": ["docs"]}),
    ),
    Route(
        *("PUT", _ONE, "Collections/Create"),
        *("Create an empty collection: of a model, or for vectors of so many dimensions.", _create),
        {"name": "docs", "model": _MODEL},
        {
            "dim": field("integer", "Dimensions of its vectors, where there is no model."),
            "metric": field("string", "How they are compared; without a model.", choices=("cosine", "ip", "l2")),
            "bytes_per_vector": field("integer", "Of a code, without a model; by default two bits a dimension."),
            "bz": field("string", f"{_DIGEST}."),
            "keep": field(
                "string", "What vectors are kept as.", "auto", null=True, choices=("auto", "float16", "int8")
            ),
            "retrain": field("boolean", "Whether it trains itself as rows come."),
            "text": field("string array", "Payload fields that are searched by their words."),
            "index": field("string", "What files of many rows are.", "auto", choices=("auto", "flat", "graph")),
            "target_recall": field("number", "How much of a scan's answers searches of these find.", TARGET_RECALL),
            "exist_ok": field("boolean", "One that is there already, of this model, is no error.", False),
        },
    ),
    Route("GET", _ONE, "Admin/Stats", "Figures of a collection.", _stats, _STATS),
    Route("DELETE", _ONE, "Collections/Drop", "Remove a collection with its rows and files.", _drop, {}),
    Route("POST", f"{_ONE}/truncate", "Collections/Truncate", "Remove all rows.", _truncate, {"rows": 1000}),
    Route(
        *("POST", f"{_ONE}/retrain", "Collections/Retrain"),
        *("Train a model on kept vectors and have every row coded by it.", _retrain, {}),
        {"bytes_per_vector": field("integer", "Of the new codes; by default as many as now.")},
    ),
    Route(
        *("POST", f"{_ONE}/migrate", "Collections/Migrate"),
        *("Have every row coded by another model: from kept vectors, or from those that come here.", _migrate),
        {"rows": 2},
        {
            "bz": field("string", f"{_DIGEST}.", required=True),
            "vectors": field("object", 'A batch of another producer\'s vectors: {"ids": […], "x": [[…], …]}.'),
        },
    ),
    Route(
        *("POST", f"{_ONE}/cutover", "Collections/Cutover"),
        *("End a migration by vectors that came: from now on they are the collection's.", _cutover, {"model": _MODEL}),
        {
            "bare": field("boolean", "Rows that have no new vector yet stand without one.", False),
            "keep_old": field("boolean", "The old vectors stay, so that a rollback leads back to them.", False),
        },
    ),
    Route(
        *("POST", f"{_ONE}/rollback", "Collections/Rollback"),
        *(
            "End a migration by vectors that came, and remove them; or take back a cutover that kept the old ones.",
            _rollback,
        ),
        {"model": _MODEL},
        {"bare": field("boolean", "After a cutover, rows that have no old vector stand without one.", False)},
    ),
    Route(
        *("GET", "/v1/aliases", "Collections/ListAliases"),
        *("The collection of each alias.", _aliases, {"aliases": {"live": "docs"}}),
    ),
    Route(
        *("PUT", "/v1/aliases/{alias}", "Collections/SetAlias"),
        *("Give a collection another name, or move that name to it.", _set_alias, {}),
        {"collection": field("string", "The collection's name.", required=True)},
    ),
    Route("DELETE", "/v1/aliases/{alias}", "Collections/DropAlias", "Remove an alias.", _drop_alias, {}),
    Route("GET", "/v1/models", "Models/List", "Every registered model.", _models, {"models": [_MODEL]}),
    Route(
        *("POST", "/v1/models", "Models/Register"),
        *("Register a model, as `bebr train` writes it.", _register, {"digest": "9f…"}),
        {"data": field("string", "The file in base64.", required=True)},
    ),
    Route("GET", "/v1/models/{digest}", "Models/Get", "The file of a model in base64.", _model, {"data": "…"}),
)
