"""The searches of a collection on a server, as steps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.checks import load_payload
from bebr.collection.filter_form import FilterLike
from bebr.collection.keys import IdsLike, Named, named_array
from bebr.collection.protocol import CollectionHits, Fusion, GroupValue, ModelInfo, Payload
from bebr.collection.request import SearchRequest, check_search, check_search_ids
from bebr.errors import IncompatibleModel
from bebr.index import Hits
from bebr.serve import convert
from bebr.serve.messages import search_message
from bebr.serve.steps import Ask, Steps
from bebr.serve.wire import OVERHEAD, Wire, as_sent, key_sizes
from bebr.v1 import bebr_pb2 as pb

# Bytes that a text takes in a request beside its own.
_TEXT_BYTES = 6


class SearchCalls:
    """A collection on a server that is searched: queries travel in as many calls as they need."""

    def __init__(self, wire: Wire, name: str, model: ModelInfo, id: int) -> None:
        self._wire = wire
        self._name = name
        self._model = model
        self._id = id

    @property
    def name(self) -> str:
        return self._name

    @property
    def model(self) -> ModelInfo:
        """As far as is known here."""
        return self._model

    def binarizer(self) -> Steps[Binarizer]:
        """The model that it has now, fetched from the server."""
        digest = (yield from self._get()).model.digest
        return Binarizer.held(digest) or (yield from self._wire.fetch(digest))

    def _get(self) -> Steps[pb.GetCollectionResponse]:
        found: pb.GetCollectionResponse = yield Ask("Collections/Get", pb.GetCollectionRequest(name=self._name))
        return found

    def search(
        self,
        q: ArrayLike | None,
        k: int = 10,
        *,
        query: Query = "float",
        oversampling: int | None = None,
        exact: bool = False,
        nprobe: int | None = None,
        ef_search: int | None = None,
        allow: IdsLike | None = None,
        filter: FilterLike | None = None,
        radius: float | None = None,
        offset: int = 0,
        group_by: str | None = None,
        group_size: int = 1,
        with_payloads: bool = False,
        rescore: int | None = None,
        binarizer: Binarizer | None = None,
        text: str | Sequence[str] | None = None,
        fusion: Fusion = "rrf",
        allow_partial: bool = False,
    ) -> Steps[CollectionHits]:
        """The k best rows for each query, as locally: the same ids and the same scores, bit for bit. A ``binarizer``
        must be registered on the server (`Client.register_model`)."""
        request = check_search(
            *(q, k, (binarizer or self._model).query_dim),
            query=query,
            oversampling=oversampling,
            exact=exact,
            nprobe=nprobe,
            ef_search=ef_search,
            allow=allow,
            filter=filter,
            radius=radius,
            offset=offset,
            group_by=group_by,
            group_size=group_size,
            with_payloads=with_payloads,
            rescore=rescore,
            binarizer=binarizer,
            text=text,
            fusion=fusion,
        )
        message, vectors, texts, size = search_message(self._name, request), None, request.texts or [], 0
        message.query, message.allow_partial = convert.QUERY_MODES[query], allow_partial
        if request.queries is not None:
            assert not isinstance(request.queries, Named)
            vectors = as_sent(request.queries, q)
            size = vectors.itemsize * vectors.shape[1]
        if texts:
            message.fusion = convert.FUSIONS[fusion]
            size += max(len(one.encode()) + _TEXT_BYTES for one in texts)

        def put(piece: slice) -> None:
            if vectors is not None:
                convert.put_vectors(message.queries, vectors[piece])
            if texts:
                message.text[:] = texts[piece]

        if vectors is None:
            return (yield from self._answered(request, message, size, put))
        message.model = (binarizer or self._model).digest
        try:
            return (yield from self._answered(request, message, size, put))
        except (IncompatibleModel, ValueError):  # or rescore= beside queries of what is another model by now
            if binarizer is not None or not (yield from self._migrated()):
                raise
        message.model = self._model.digest
        return (yield from self._answered(request, message, size, put))

    def _migrated(self) -> Steps[bool]:
        """Whether it is still the same collection, but has got another model meanwhile, which is known then."""
        now = yield from self._get()
        model = convert.model_from_message(now.model)
        if now.id != self._id or model.digest == self._model.digest:
            return False
        self._model = model
        return True

    def search_ids(
        self,
        ids: IdsLike,
        k: int = 10,
        *,
        oversampling: int | None = None,
        exact: bool = False,
        nprobe: int | None = None,
        ef_search: int | None = None,
        allow: IdsLike | None = None,
        filter: FilterLike | None = None,
        radius: float | None = None,
        offset: int = 0,
        group_by: str | None = None,
        group_size: int = 1,
        with_payloads: bool = False,
        rescore: int | None = None,
    ) -> Steps[CollectionHits]:
        """The k rows most like each row of ``ids`` int64[n], itself left out; see
        `bebr.store.collection.Collection.search_ids`."""
        request = check_search_ids(
            *(ids, k),
            oversampling=oversampling,
            exact=exact,
            nprobe=nprobe,
            ef_search=ef_search,
            allow=allow,
            filter=filter,
            radius=radius,
            offset=offset,
            group_by=group_by,
            group_size=group_size,
            with_payloads=with_payloads,
            rescore=rescore,
        )
        message, named = search_message(self._name, request), request.queries
        assert isinstance(named, Named)

        def put(piece: slice) -> None:
            message.by_ids = convert.ids_to_bytes(named.numbers[piece])
            message.by_keys[:] = named[piece].keys or []

        return (yield from self._answered(request, message, 8 + int(key_sizes(named).max()), put))

    def _answered(
        self, request: SearchRequest, message: pb.SearchRequest, query_bytes: int, put: Callable[[slice], None]
    ) -> Steps[CollectionHits]:
        """The hits of a search, in as many calls as it needs. ``put`` sets the queries of one call, of so many bytes
        each."""
        limits, count, k = self._wire.limits, len(request), request.k
        size = request.groups.size if request.groups else 1
        width = size if request.groups else k  # of a row of hits: one group's, or one query's
        by_size = (limits.message_bytes - OVERHEAD - message.ByteSize()) // query_bytes
        most = limits.answers // (max(request.options.k, message.rescore) * size)
        step = max(1, min(limits.queries, most, by_size))
        found: list[Hits] = []
        keys: list[list[bytes]] = []
        payloads: list[list[Payload | None]] = []
        groups: list[GroupValue | None] = []
        missing: set[int] = set()
        for start in range(0, count, step):
            put(slice(start, start + step))
            reply = yield Ask("Points/Search", message)
            if reply.shards:
                missing |= set(range(reply.shards)) - set(reply.answered)
            if request.groups:
                groups += [json.loads(text) if text else None for text in reply.groups]
            ascending = self._model.metric == "l2" and not message.text
            hits, some = convert.hits_from_message(reply, width, ascending)
            found.append(hits)
            keys.append(some)
            if request.with_payloads:
                texts = iter(reply.payloads)
                payloads += [[load_payload(next(texts)) for _ in range(n)] + [None] * (width - n) for n in reply.counts]
        scores, numbers = (np.concatenate(parts) for parts in zip(*found, strict=True)) if len(found) > 1 else found[0]
        every = None
        if any(keys):  # a row may have got the first one meanwhile
            every = [key for some, hits in zip(keys, found, strict=True) for key in some or [b""] * hits.ids.size]
        ids = named_array(numbers, every)
        if not request.groups:
            return CollectionHits(scores, ids, payloads if request.with_payloads else None, missing=missing)
        rows = None
        if request.with_payloads:
            rows = [list(itertools.chain(*payloads[i : i + k])) for i in range(0, len(payloads), k)]
        values = [groups[i : i + k] for i in range(0, len(groups), k)]
        return CollectionHits(scores.reshape(count, -1), ids.reshape(count, -1), rows, values, missing)
