"""The client that :func:`bebr.connect` returns: the interface of a local database, over gRPC."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import grpc
import numpy as np

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.collection.checks import check_model, check_name
from bebr.collection.creation import check_creation, check_existing
from bebr.collection.handle import Handle
from bebr.collection.protocol import TARGET_RECALL, AlreadyExists, IndexKind, Keep, Metric, ModelInfo, SnapshotInfo
from bebr.serve import convert
from bebr.serve.channel import authorization, open_channel
from bebr.serve.items import Item, embed_requests
from bebr.serve.remote import RemoteCollection
from bebr.serve.status import error_of
from bebr.serve.target import parse_target
from bebr.serve.wire import Wire
from bebr.tls import TLS, as_tls
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc

TOKEN = "BEBR_TOKEN"
"""The variable that has the key."""

R = TypeVar("R")
_Made: TypeAlias = pb.CreateCollectionResponse | pb.GetCollectionResponse


class Client(Handle):
    """A connection to the server at ``target``: "host:port", or "host" for port 7777. Safe to use from many threads.

    Errors are those of the local database, and: ``ConnectionError`` when the server cannot be reached or stops,
    ``TimeoutError`` when a call takes longer than ``timeout`` seconds (None: no limit), its retries included. A call
    that finds the server away is repeated up to ``retries`` times (0 to 4), with a growing pause. A write that ended in
    an error may be repeated safely. ``token``: a key of the server (`bebr keys create`); ``PermissionError`` where it
    is missing or not enough. ``tls``: a `TLS`, the path of the certificate that signed the server's, or True where one
    of the authorities that gRPC knows did.

    Pickled, it is an address: where it is unpickled a new connection is made. The token is left out, for pickles are
    kept and sent; where there was one, the variable BEBR_TOKEN must have it there.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float | None = 60.0,
        retries: int = 4,
        token: str | None = None,
        tls: TLS | bool | str | os.PathLike[str] | None = None,
    ) -> None:
        self._target = parse_target(target)
        self._timeout = check_timeout(timeout)
        self._tls = as_tls(tls)
        self._retries = retries
        self._metadata = authorization(self._target, token, self._tls)
        self._channel = open_channel(self._target, retries, self._tls)
        self._collections = rpc.CollectionsStub(self._channel)
        self._models = rpc.ModelsStub(self._channel)
        self._admin = rpc.AdminStub(self._channel)
        self._points = rpc.PointsStub(self._channel)
        self._producer = rpc.ProducerStub(self._channel)
        self._snapshots = rpc.SnapshotsStub(self._channel)
        try:
            self._limits = self._info().limits
        except BaseException:
            self._channel.close()
            raise

    def within(self, timeout: float | None) -> Client:
        """This connection with another time limit for each call: ``db.within(2).collection("docs").search(q, 10)``."""
        other = object.__new__(Client)
        other.__dict__.update(self.__dict__, _timeout=check_timeout(timeout))
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return _connected, (self._target, self._timeout, self._retries, bool(self._metadata), self._tls)

    def _call(self, method: Callable[..., R], request: Any) -> R:
        """One RPC; its failure as a Python exception."""
        try:
            return method(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, self._target) from None
        except ValueError as error:
            if "closed channel" in str(error):
                raise ValueError(f"the connection to {self._target} is closed: connect again") from None
            raise

    def create_collection(
        self,
        name: str,
        bz: Binarizer | None = None,
        *,
        dim: int | None = None,
        metric: Metric | None = None,
        bytes_per_vector: int | None = None,
        keep: Keep = "auto",
        retrain: bool | None = None,
        text: str | Sequence[str] | None = None,
        index: IndexKind = "auto",
        target_recall: float = TARGET_RECALL,
        exist_ok: bool = False,
    ) -> RemoteCollection:
        """A new, empty collection, as locally: with a model ``bz``, which is registered on the way, or for vectors of
        ``dim`` dimensions. ``ValueError`` names the argument that is wrong, ``AlreadyExists`` (a ``ValueError``) a name
        that is taken.

        Where the connection breaks, an empty collection of this name and model is taken to be the one that was asked
        for; if there is none, the call is repeated once.
        """
        new = check_creation(name, bz, dim, metric, bytes_per_vector, keep, retrain, text, index, target_recall)
        how = {"keep": convert.KEEP[new.keep], "retrain": new.retrain, "text": new.text}
        how |= {"index": convert.INDEXES[new.index], "target_recall": new.target_recall}
        request = pb.CreateCollectionRequest(name=name, **how)
        if new.bz is not None:
            request.model = self.register_model(new.bz)
        else:
            request.dim, request.metric = new.dim, convert.METRICS[new.metric]
            request.bytes_per_vector = new.bytes_per_vector
        try:
            made: _Made = self._call(self._collections.Create, request)
        except ConnectionError:
            if not self._retries:
                raise
            made = self._created(request)
        except AlreadyExists:
            if not exist_ok:
                raise
            made = self._call(self._collections.Get, pb.GetCollectionRequest(name=name))
            check_existing(convert.model_from_message(made.model), made.text, new)
        return self._remote(name, made)

    def _created(self, request: pb.CreateCollectionRequest) -> _Made:
        """What the server says of a collection that may have been created already."""
        try:
            found = self._call(self._collections.Get, pb.GetCollectionRequest(name=request.name))
        except KeyError:
            again: _Made = self._call(self._collections.Create, request)
            return again
        other = found.model.digest != request.model if request.model else found.model.input_dim != request.dim
        if found.rows or other:
            raise AlreadyExists(f"collection {request.name!r} already exists: it has {found.rows} rows")
        return found

    def collection(self, name: str) -> RemoteCollection:
        """The collection ``name``. ``KeyError`` if there is none; ``CorruptFile`` if a file of it is damaged."""
        reply = self._call(self._collections.Get, pb.GetCollectionRequest(name=name))
        return self._remote(name, reply)

    def collections(self) -> list[str]:
        """The names of all collections, sorted, corrupt ones included."""
        return list(self._call(self._collections.List, pb.ListCollectionsRequest()).names)

    def __contains__(self, name: object) -> bool:
        """Whether there is a collection of this name, be it corrupt."""
        return name in self.collections()

    def drop_collection(self, name: str) -> None:
        """Deletes a collection with its rows, payloads and files, corrupt or not. ``KeyError`` if there is none.

        Where the connection breaks, it is not repeated: the second call might find a collection that somebody else
        has created meanwhile. ``ConnectionError`` then means that a collection of this name is there.
        """
        try:
            self._call(self._collections.Drop, pb.DropCollectionRequest(name=name))
        except ConnectionError:
            if not self._retries or name in self.collections():
                raise

    def set_alias(self, alias: str, collection: str) -> None:
        """Gives a collection another name, or moves that name to another collection. Collections that clients hold by
        the alias are the new one from their next call on; where it has another model, searches of them are refused
        with ``IncompatibleModel`` until they are got anew, since their queries may be another producer's. ``KeyError``
        if there is no such collection; ``AlreadyExists`` where ``alias`` is the name of one."""
        request = pb.SetAliasRequest(alias=check_name(alias), collection=collection)
        self._call(self._collections.SetAlias, request)

    def drop_alias(self, alias: str) -> None:
        """Removes an alias and leaves its collection. ``KeyError`` if there is none."""
        self._call(self._collections.DropAlias, pb.DropAliasRequest(alias=alias))

    def aliases(self) -> dict[str, str]:
        """The collection of each alias, in the order of their names."""
        found = self._call(self._collections.ListAliases, pb.ListAliasesRequest()).aliases
        return dict(sorted(found.items()))

    def snapshot(self) -> SnapshotInfo:
        """Copies all collections and models, as they are at one moment, to the place that the server was started with
        (``bebr serve --snapshots``); writes and searches go on. Give the client a ``timeout`` of minutes for it.
        ``KeyError`` if the server has no such place."""
        made = self._call(self._snapshots.Create, pb.CreateSnapshotRequest())
        return convert.snapshot_from_message(made.snapshot)

    def snapshots(self) -> list[SnapshotInfo]:
        """The snapshots in that place, the oldest first."""
        found = self._call(self._snapshots.List, pb.ListSnapshotsRequest()).snapshots
        return [convert.snapshot_from_message(one) for one in found]

    def restore_collection(
        self, collection: str, name: str | None = None, *, snapshot: str | None = None
    ) -> SnapshotInfo:
        """Brings a collection back as it was in a snapshot of that place, the newest one unless it is named, under
        ``name``, by default its own. ``KeyError`` if there is none, ``AlreadyExists`` for a name that is taken."""
        what = {"collection": collection, "name": check_name(name or collection), "snapshot": snapshot}
        made = self._call(self._snapshots.Restore, pb.RestoreSnapshotRequest(**what))
        return convert.snapshot_from_message(made.snapshot)

    def register_model(self, bz: Binarizer) -> str:
        """Stores a binarizer on the server; returns its digest. Repeating it is harmless."""
        return str(self._call(self._models.Register, pb.RegisterModelRequest(data=check_model(bz).to_bytes())).digest)

    def model(self, digest: str) -> Binarizer:
        """The registered binarizer with this digest. ``KeyError`` if there is none."""
        return Binarizer.from_bytes(self._call(self._models.Get, pb.GetModelRequest(digest=digest)).data)

    def models(self) -> list[ModelInfo]:
        """Every registered binarizer, ordered by digest."""
        reply = self._call(self._models.List, pb.ListModelsRequest())
        return [convert.model_from_message(model) for model in reply.models]

    def producer(self) -> dict[str, Any]:
        """What the server embeds with: name, version, dim, metric, modality. ``KeyError`` if it has no producer."""
        reply = self._call(self._producer.Describe, pb.DescribeProducerRequest())
        return {
            "name": reply.name,
            "version": reply.version,
            "dim": reply.dimension,
            "metric": convert.METRIC_NAMES[reply.metric],
            "modality": reply.modality,
        }

    def embed(self, items: Sequence[Item]) -> Floats:
        """Vectors float32[n, dim] of texts (str), pictures (a Path to a file, or a file's bytes) or pairs (picture,
        text), made by the server's producer.

        Sent in pieces that the server takes. ``ValueError`` for items that the producer does not take; ``KeyError`` if
        the server has none; ``LimitExceeded`` for a picture that no message has room for.
        """
        parts = []
        for request in embed_requests(items, self._limits):
            reply = self._call(self._producer.Embed, request)
            parts.append(convert.vectors_from_message(reply.vectors, "vectors"))
        return np.concatenate(parts)

    def info(self) -> dict[str, Any]:
        """The server's version, kernels ("isa"), threads, uptime in seconds, limits, and the address."""
        reply = self._info()
        return {
            "version": reply.version,
            "isa": reply.isa,
            "threads": reply.threads,
            "uptime": reply.uptime_us / 1e6,
            "limits": {field.name: getattr(reply.limits, field.name) for field in pb.Limits.DESCRIPTOR.fields},
            "coalesce": reply.coalesce,
            "target": self._target,
        }

    def close(self) -> None:
        """Closes the connection. Repeating it is harmless."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._target!r})"

    def _remote(self, name: str, made: _Made) -> RemoteCollection:
        services = self._collections, self._points, self._admin
        wire = Wire(self._call, *services, self._limits, self.register_model, self._retries, self)
        return RemoteCollection(wire, name, convert.model_from_message(made.model), made.id, self.model)

    def _info(self) -> pb.InfoResponse:
        reply: pb.InfoResponse = self._call(self._admin.Info, pb.InfoRequest())
        return reply


def check_timeout(timeout: float | None) -> float | None:
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is {timeout!r}: want seconds above 0, or None")
    return timeout


def _connected(target: str, timeout: float | None, retries: int, token: bool, tls: TLS | None) -> Client:
    """What a pickle of a client calls."""
    key = None
    if token:
        key = os.environ.get(TOKEN)
        if not key:
            raise ValueError(f"the client of {target} had a token, which pickles leave out: set {TOKEN} here")
    return Client(target, timeout=timeout, retries=retries, token=key, tls=tls)
