"""What is asked of a server as a whole, as steps: the interface of a local database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.collection.checks import check_model, check_name
from bebr.collection.creation import check_creation, check_existing
from bebr.collection.protocol import TARGET_RECALL, AlreadyExists, IndexKind, Keep, Metric, ModelInfo, SnapshotInfo
from bebr.serve import convert
from bebr.serve.items import Item, embed_requests
from bebr.serve.messages import creation_message
from bebr.serve.remote import CollectionCalls
from bebr.serve.steps import Ask, Steps
from bebr.serve.wire import Wire
from bebr.v1 import bebr_pb2 as pb

_Made: TypeAlias = pb.CreateCollectionResponse | pb.GetCollectionResponse


class ClientCalls:
    """A server at ``target``; ``retries``: how often a call that finds it away is repeated. `connect` comes first: it
    learns ``limits``."""

    def __init__(self, target: str, retries: int) -> None:
        self._target = target
        self._retries = retries
        self.searches = "by gRPC"  # how they go
        self.limits = pb.Limits()

    def connect(self) -> Steps[None]:
        """``ConnectionError`` where there is no bebr.v1 server."""
        self.limits = (yield from self._info()).limits

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
    ) -> Steps[CollectionCalls]:
        """A new, empty collection, as locally: with a model ``bz``, which is registered on the way, or for vectors of
        ``dim`` dimensions. ``ValueError`` names the argument that is wrong, ``AlreadyExists`` (a ``ValueError``) a name
        that is taken.

        Where the connection breaks, an empty collection of this name and model is taken to be the one that was asked
        for; if there is none, the call is repeated once.
        """
        new = check_creation(name, bz, dim, metric, bytes_per_vector, keep, retrain, text, index, target_recall)
        if new.bz is not None:
            yield from self.register_model(new.bz)
        request = creation_message(new)
        try:
            try:
                made: _Made = yield Ask("Collections/Create", request)
            except ConnectionError:
                if not self._retries:
                    raise
                made = yield from self._created(request)
        except AlreadyExists:
            if not exist_ok:
                raise
            made = yield Ask("Collections/Get", pb.GetCollectionRequest(name=name))
            check_existing(convert.model_from_message(made.model), made.text, new)
        return self._held(name, made)

    def _created(self, request: pb.CreateCollectionRequest) -> Steps[_Made]:
        """What the server says of a collection that may have been created already."""
        try:
            found = yield Ask("Collections/Get", pb.GetCollectionRequest(name=request.name))
        except KeyError:
            again: _Made = yield Ask("Collections/Create", request)
            return again
        other = found.model.digest != request.model if request.model else found.model.input_dim != request.dim
        if found.rows or other:
            raise AlreadyExists(f"collection {request.name!r} already exists: it has {found.rows} rows")
        return found

    def collection(self, name: str) -> Steps[CollectionCalls]:
        """The collection ``name``, for which one of its shards has to answer where it has several. ``KeyError`` if
        there is none; ``CorruptFile`` if a file of it is damaged."""
        reply = yield Ask("Collections/Get", pb.GetCollectionRequest(name=_text(name), allow_partial=True))
        return self._held(name, reply)

    def collections(self) -> Steps[list[str]]:
        """The names of all collections, sorted, corrupt ones included."""
        return list((yield Ask("Collections/List", pb.ListCollectionsRequest())).names)

    def contains(self, name: object) -> Steps[bool]:
        """Whether there is a collection of this name, be it corrupt."""
        return name in (yield from self.collections())

    def drop_collection(self, name: str) -> Steps[None]:
        """Deletes a collection with its rows, payloads and files, corrupt or not. ``KeyError`` if there is none.

        Where the connection breaks, it is not repeated: the second call might find a collection that somebody else
        has created meanwhile. ``ConnectionError`` then means that a collection of this name is there.
        """
        try:
            yield Ask("Collections/Drop", pb.DropCollectionRequest(name=_text(name)))
        except ConnectionError:
            if not self._retries or name in (yield from self.collections()):
                raise

    def set_alias(self, alias: str, collection: str) -> Steps[None]:
        """Gives a collection another name, or moves that name to another collection. Collections that clients hold by
        the alias are the new one from their next call on; where it has another model, searches of them are refused
        with ``IncompatibleModel`` until they are got anew, since their queries may be another producer's. ``KeyError``
        if there is no such collection; ``AlreadyExists`` where ``alias`` is the name of one."""
        request = pb.SetAliasRequest(alias=check_name(alias), collection=_text(collection))
        yield Ask("Collections/SetAlias", request)

    def drop_alias(self, alias: str) -> Steps[None]:
        """Removes an alias and leaves its collection. ``KeyError`` if there is none."""
        yield Ask("Collections/DropAlias", pb.DropAliasRequest(alias=_text(alias, "alias")))

    def aliases(self) -> Steps[dict[str, str]]:
        """The collection of each alias, in the order of their names."""
        found = (yield Ask("Collections/ListAliases", pb.ListAliasesRequest())).aliases
        return dict(sorted(found.items()))

    def snapshot(self) -> Steps[SnapshotInfo]:
        """Copies all collections and models, as they are at one moment, to the place that the server was started with
        (``bebr serve --snapshots``); writes and searches go on. Give it a ``timeout`` of minutes for it.
        ``KeyError`` if the server has no such place."""
        made = yield Ask("Snapshots/Create", pb.CreateSnapshotRequest())
        return convert.snapshot_from_message(made.snapshot)

    def snapshots(self) -> Steps[list[SnapshotInfo]]:
        """The snapshots in that place, the oldest first."""
        found = (yield Ask("Snapshots/List", pb.ListSnapshotsRequest())).snapshots
        return [convert.snapshot_from_message(one) for one in found]

    def restore_collection(
        self, collection: str, name: str | None = None, *, snapshot: str | None = None
    ) -> Steps[SnapshotInfo]:
        """Brings a collection back as it was in a snapshot of that place, the newest one unless it is named, under
        ``name``, by default its own. ``KeyError`` if there is none, ``AlreadyExists`` for a name that is taken."""
        name = check_name(collection if name is None else name)
        request = pb.RestoreSnapshotRequest(collection=collection, name=name, snapshot=snapshot)
        made = yield Ask("Snapshots/Restore", request)
        return convert.snapshot_from_message(made.snapshot)

    def register_model(self, bz: Binarizer) -> Steps[str]:
        """Stores a binarizer on the server; returns its digest. Repeating it is harmless."""
        request = pb.RegisterModelRequest(data=check_model(bz).to_bytes())
        return str((yield Ask("Models/Register", request)).digest)

    def model(self, digest: str) -> Steps[Binarizer]:
        """The registered binarizer with this digest. ``KeyError`` if there is none."""
        return Binarizer.from_bytes((yield Ask("Models/Get", pb.GetModelRequest(digest=digest))).data)

    def models(self) -> Steps[list[ModelInfo]]:
        """Every registered binarizer, ordered by digest."""
        reply = yield Ask("Models/List", pb.ListModelsRequest())
        return [convert.model_from_message(model) for model in reply.models]

    def producer(self) -> Steps[dict[str, Any]]:
        """What the server embeds with: name, version, dim, metric, modality. ``KeyError`` if it has no producer."""
        reply = yield Ask("Producer/Describe", pb.DescribeProducerRequest())
        return {
            "name": reply.name,
            "version": reply.version,
            "dim": reply.dimension,
            "metric": convert.METRIC_NAMES[reply.metric],
            "modality": reply.modality,
        }

    def embed(self, items: Sequence[Item]) -> Steps[Floats]:
        """Vectors float32[n, dim] of texts (str), pictures (a Path to a file, or a file's bytes) or pairs (picture,
        text), made by the server's producer.

        Sent in pieces that the server takes. ``ValueError`` for items that the producer does not take; ``KeyError`` if
        the server has none; ``LimitExceeded`` for a picture that no message has room for.
        """
        parts = []
        for request in embed_requests(items, self.limits):
            reply = yield Ask("Producer/Embed", request)
            parts.append(convert.vectors_from_message(reply.vectors, "vectors"))
        return np.concatenate(parts)

    def info(self) -> Steps[dict[str, Any]]:
        """The server's version, kernels ("isa"), threads, uptime in seconds, limits, the address, and how this client's
        searches go there."""
        reply = yield from self._info()
        return {
            "version": reply.version,
            "isa": reply.isa,
            "threads": reply.threads,
            "uptime": reply.uptime_us / 1e6,
            "limits": {field.name: getattr(reply.limits, field.name) for field in pb.Limits.DESCRIPTOR.fields},
            "coalesce": reply.coalesce,
            "target": self._target,
            "searches": self.searches,
        }

    def _held(self, name: str, made: _Made) -> CollectionCalls:
        wire = Wire(self.limits, self._retries, self.register_model, self.model)
        return CollectionCalls(wire, name, convert.model_from_message(made.model), made.id)

    def _info(self) -> Steps[pb.InfoResponse]:
        reply: pb.InfoResponse = yield Ask("Admin/Info", pb.InfoRequest())
        return reply


def _text(name: str, what: str = "collection") -> str:
    """``KeyError``, as locally, for what is no name of anything: a message would take bytes for text, None for none."""
    if not isinstance(name, str):
        raise KeyError(f"no {what} {name!r}")
    return name
