"""A thin client of the HTTP API with the methods of a collection, so that the tests of the contract run over it: it
turns arguments into JSON and answers back into arrays, and checks nothing."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote
from uuid import UUID

import numpy as np

import bebr
from bebr.collection.checks import check_model, check_timeout
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import FIRST_PLACE
from bebr.collection.protocol import (
    AlreadyExists,
    BatchingStats,
    CollectionHits,
    CollectionStats,
    ModelInfo,
    RecallEstimate,
    Row,
)

ERRORS = {
    "INVALID_ARGUMENT": ValueError,
    "NOT_FOUND": KeyError,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": bebr.IncompatibleModel,
    "RESOURCE_EXHAUSTED": bebr.LimitExceeded,
    "TOO_LARGE": bebr.LimitExceeded,
    "DATA_LOSS": bebr.CorruptFile,
    "UNAUTHENTICATED": PermissionError,
    "PERMISSION_DENIED": PermissionError,
}


class Http:
    """A database at an address such as http://127.0.0.1:8080."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address, self._token = address.rstrip("/"), token

    def ask(
        self, verb: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a reply, whatever they are."""
        request = urllib.request.Request(self.address + path, data=body, method=verb, headers=headers or {})
        if body is not None and not request.has_header("Content-type"):
            request.add_header("content-type", "application/json")
        if self._token:
            request.add_header("authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, dict(reply.headers), reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def call(self, verb: str, path: str, **values: Any) -> dict[str, Any]:
        body = json.dumps(values, default=_plain).encode() if verb in ("POST", "PUT") else None
        status, _, text = self.ask(verb, path, body)
        found = json.loads(text)
        if status != 200:
            error = found["error"]
            raise ERRORS.get(error["code"], RuntimeError)(error["message"])
        return found

    def create_collection(self, name: str, bz: Any = None, **how: Any) -> HttpCollection:
        if bz is not None:
            how["bz"] = self.register_model(bz)
        self.call("PUT", _path(name), **how)
        return HttpCollection(self, name)

    def collection(self, name: str) -> HttpCollection:
        self.call("GET", _path(name))
        return HttpCollection(self, name)

    def collections(self) -> list[str]:
        return self.call("GET", "/v1/collections")["collections"]

    def __contains__(self, name: object) -> bool:
        return name in self.collections()

    def drop_collection(self, name: str) -> None:
        self.call("DELETE", _path(name))

    def set_alias(self, alias: str, collection: str) -> None:
        self.call("PUT", f"/v1/aliases/{quote(alias)}", collection=collection)

    def drop_alias(self, alias: str) -> None:
        self.call("DELETE", f"/v1/aliases/{quote(alias)}")

    def aliases(self) -> dict[str, str]:
        return self.call("GET", "/v1/aliases")["aliases"]

    def register_model(self, bz: Any) -> str:
        if not isinstance(bz, bebr.Binarizer):
            raise ValueError(f"bz is {bz!r}: want a bebr.Binarizer, as bebr.train makes it")
        return self.call("POST", "/v1/models", data=base64.b64encode(bz.to_bytes()).decode())["digest"]

    def model(self, digest: str) -> bebr.Binarizer:
        return bebr.Binarizer.from_bytes(base64.b64decode(self.call("GET", f"/v1/models/{digest}")["data"]))

    def models(self) -> list[ModelInfo]:
        return [_model(one) for one in self.call("GET", "/v1/models")["models"]]

    def info(self) -> dict[str, Any]:
        return self.call("GET", "/v1/info")


class HttpCollection:
    def __init__(self, db: Http, name: str) -> None:
        self._db, self.name = db, name

    def _call(self, method: str, **values: Any) -> dict[str, Any]:
        return self._db.call("POST", f"{_path(self.name)}/{method}", **values)

    @property
    def binarizer(self) -> bebr.Binarizer:
        return self._db.model(self.stats().model.digest)

    def __len__(self) -> int:
        return self.count()

    def upsert(self, ids: Any, x: Any, payloads: Any = None, **how: Any) -> int:
        return self._call("upsert", ids=_ids(ids), x=_vectors(x), payloads=payloads, **how)["rows"]

    def set_payloads(self, ids: Any, payloads: Any, **how: Any) -> int:
        return self._call("set_payloads", ids=_ids(ids), payloads=payloads, **how)["rows"]

    def delete(self, ids: Any = None, *, filter: Any = None) -> int:
        return self._call("delete", ids=_ids(ids), filter=filter)["rows"]

    def count(self, filter: Any = None) -> int:
        return self._call("count", filter=filter)["rows"]

    def truncate(self) -> int:
        return self._call("truncate")["rows"]

    def search(self, q: Any, k: Any = 10, *, binarizer: Any = None, **how: Any) -> CollectionHits:
        if binarizer is not None:
            how["binarizer"] = check_model(binarizer).digest
        return self._hits(self._call("search", q=_vectors(q), k=k, **_named(how)), k, how)

    def search_ids(self, ids: Any, k: Any = 10, **how: Any) -> CollectionHits:
        return self._hits(self._call("search_ids", ids=_ids(ids), k=k, **_named(how)), k, how)

    def _hits(self, found: dict[str, Any], k: int, how: dict[str, Any]) -> CollectionHits:
        size, grouped = how.get("group_size", 1), how.get("group_by") is not None
        l2 = self.stats().model.metric == "l2" and how.get("text") is None
        nothing = {"id": None, "score": np.inf if l2 else -np.inf, "payload": None}
        rows, groups = [], []
        for result in found["results"]:
            runs = [group["hits"] for group in result["groups"]] if grouped else [result["hits"]]
            width = size if grouped else k
            runs += [[]] * ((k if grouped else 1) - len(runs))
            rows.append([hit for run in runs for hit in run + [nothing] * (width - len(run))])
            if grouped:
                values = [group["value"] for group in result["groups"]]
                groups.append(values + [None] * (k - len(values)))
        scores = np.array([[hit["score"] for hit in row] for row in rows], np.float32)
        payloads = [[hit["payload"] for hit in row] for row in rows] if how.get("with_payloads") else None
        # JSON has no arrays whose kind would say that there are strings and UUIDs: they come last in a scroll.
        keyed = bool(self._call("scroll", limit=1, after=FIRST_PLACE - 1, payloads=False)["rows"])
        ids = _array([[_id(hit["id"]) for hit in row] for row in rows], keyed)
        return CollectionHits(scores, ids, payloads, groups or None)

    def get(self, ids: Any, **how: Any) -> list[Row | None]:
        return [row and _row(row) for row in self._call("get", ids=_ids(ids), **how)["rows"]]

    def scroll(self, *, limit: Any = 1000, after: Any = None, **how: Any) -> list[Row]:
        rows: list[Row] = []
        while True:
            page = self._call("scroll", limit=limit - len(rows), after=after, **how)
            rows += map(_row, page["rows"])
            if not page["full"] or len(rows) >= limit:
                return rows
            after = rows[-1].id

    def attach(self, path: Any) -> int:
        raise ValueError("a server takes no files")

    def migrate(self, bz: Any, *, vectors: Any = None, wait: bool = False) -> None:
        digest = self._db.register_model(bz)
        batches = [{"ids": _ids(ids), "x": _vectors(x)} for ids, x in vectors] if vectors is not None else [None]
        for batch in batches or [{"ids": [], "x": []}]:
            self._call("migrate", bz=digest, vectors=batch)
        self._wait(wait)

    def cutover(self, **how: Any) -> None:
        self._call("cutover", **how)

    def rollback(self, **how: Any) -> None:
        self._call("rollback", **how)

    def retrain(self, bytes_per_vector: Any = None, *, wait: bool = False) -> None:
        self._call("retrain", bytes_per_vector=bytes_per_vector)
        self._wait(wait)

    def _wait(self, wait: bool) -> None:
        while wait and self.stats().target:
            time.sleep(0.05)

    def measure_recall(self, sample: Any = 1000, k: Any = 10, **how: Any) -> RecallEstimate:
        sample = sample if isinstance(sample, int) else _vectors(sample)
        return RecallEstimate(**self._call("measure_recall", sample=sample, k=k, **how))

    def stats(self) -> CollectionStats:
        found = self._db.call("GET", _path(self.name))
        model, batching = _model(found["model"]), BatchingStats(**found["batching"])
        assert found["bytes_per_vector"] == model.bytes_per_vector + found["kept_bytes"]
        for name in ("name", "text", "bytes_per_vector"):
            del found[name]
        return CollectionStats(**{**found, "model": model, "batching": batching})

    def flush(self) -> None:
        self._call("flush")

    def settle(self, timeout: float | None = None) -> None:
        check_timeout(timeout)
        self.flush()
        while self.stats().merging:
            time.sleep(0.05)


def _path(name: str) -> str:
    return f"/v1/collections/{quote(name)}"


def _model(found: dict[str, Any]) -> ModelInfo:
    assert found.pop("bits_per_dimension") == round(sum(found["widths"]) / found["input_dim"], 4)
    return ModelInfo(**{**found, "widths": tuple(found["widths"])})


def _row(found: dict[str, Any]) -> Row:
    vector = found.get("vector")
    return Row(_id(found["id"]), found.get("payload"), None if vector is None else np.array(vector, np.float32))


def _id(found: Any) -> Any:
    return UUID(found["uuid"]) if isinstance(found, dict) else found


def _array(rows: list[list[Any]], keyed: bool) -> np.ndarray:
    """int64, with −1 for none, where there are no other ids."""
    if not keyed:
        return np.array([[-1 if id is None else id for id in row] for row in rows], np.int64)
    made = np.empty((len(rows), len(rows[0])), object)
    made[:] = rows
    return made


def _named(how: dict[str, Any]) -> dict[str, Any]:
    return {name: _ids(value) if name == "allow" else value for name, value in how.items()}


def _ids(ids: Any) -> Any:
    return ids if ids is None else list(ids)


def _vectors(x: Any) -> Any:
    """Arrays of one or two axes as base64, the rest as it is."""
    if isinstance(x, np.ndarray) and x.ndim <= 2 and x.dtype.kind == "f":
        rows = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in np.atleast_2d(x)]
        return rows if x.ndim == 2 else rows[0]
    if isinstance(x, list | tuple):
        return [_vectors(row) if isinstance(row, np.ndarray) else row for row in x]
    return x


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return {"uuid": str(value)}
    if isinstance(value, Filter):
        return value.to_dict()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{value!r} is no JSON")
