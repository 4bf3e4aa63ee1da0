"""The searches of a collection on a server, as steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.filter_form import FilterLike
from bebr.collection.keys import IdsLike, Named
from bebr.collection.protocol import CollectionHits, Fusion, ModelInfo
from bebr.collection.request import SearchRequest, check_search, check_search_ids, query_dim
from bebr.errors import IncompatibleModel
from bebr.serve import convert
from bebr.serve.answers import joined, width_of
from bebr.serve.messages import before_queries, rows_asked_on_wire, search_on_wire, texts_on_wire
from bebr.serve.steps import Ask, Search, Steps
from bebr.serve.wire import OVERHEAD, Wire, as_sent, key_sizes
from bebr.v1 import bebr_pb2 as pb

_Queries: TypeAlias = Callable[[slice], tuple[bytes, NDArray[np.floating] | None]]
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
            q,
            k,
            query_dim(binarizer, self._model),
            query,
            oversampling,
            exact,
            nprobe,
            ef_search,
            allow,
            filter,
            radius,
            offset,
            group_by,
            group_size,
            with_payloads,
            rescore,
            binarizer,
            text,
            fusion,
        )
        texts, model = request.texts, None
        vectors: NDArray[np.floating] | None = None
        if request.queries is not None:
            assert not isinstance(request.queries, Named)
            vectors, model = as_sent(request.queries, q), (binarizer or self._model).digest
        repeated = False
        while True:
            head = search_on_wire(self._name, request, model, allow_partial)
            try:
                if texts is None and vectors is not None and len(vectors) == 1:  # as most searches: no parts, no loop
                    answer = yield self._call(request, head + before_queries(vectors), vectors)
                    return joined([answer], request)
                return (yield from self._answered(request, head, *_in_parts(vectors, texts, fusion)))
            except (IncompatibleModel, ValueError):  # or rescore= beside queries of what is another model by now
                if repeated or model is None or binarizer is not None or not (yield from self._migrated()):
                    raise
                repeated, model = True, self._model.digest

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
            ids,
            k,
            oversampling,
            exact,
            nprobe,
            ef_search,
            allow,
            filter,
            radius,
            offset,
            group_by,
            group_size,
            with_payloads,
            rescore,
        )
        named = request.queries
        assert isinstance(named, Named)

        def queries(piece: slice) -> tuple[bytes, None]:
            return rows_asked_on_wire(named[piece]), None

        head = search_on_wire(self._name, request)
        return (yield from self._answered(request, head, 8 + int(key_sizes(named).max()), queries))

    def _answered(
        self, request: SearchRequest, head: bytes, query_bytes: int, queries: _Queries
    ) -> Steps[CollectionHits]:
        """The hits of a search, in as many calls as it needs. ``queries``: those of one call, so many bytes each: what
        is sent of them after ``head``, and vectors whose numbers end the request."""
        count = len(request)
        step = 1 if count == 1 else self._step(request, len(head), query_bytes)
        answers = []
        for start in range(0, count, step):
            sent, vectors = queries(slice(start, start + step))
            answers.append((yield self._call(request, head + sent, vectors)))
        return joined(answers, request)

    def _call(self, request: SearchRequest, head: bytes, vectors: NDArray[np.floating] | None) -> Search:
        ascending = self._model.metric == "l2" and request.texts is None
        whole = request.with_payloads or request.groups is not None
        return Search(head, vectors, width_of(request), ascending, whole)

    def _step(self, request: SearchRequest, head_bytes: int, query_bytes: int) -> int:
        """How many queries a call may have."""
        limits, options = self._wire.limits, request.options
        by_size: int = (limits.message_bytes - OVERHEAD - head_bytes) // query_bytes
        group = request.groups.size if request.groups else 1
        by_answers: int = limits.answers // (max(options.k, options.rescore or 0) * group)
        return max(1, min(int(limits.queries), by_answers, by_size))


def _in_parts(vectors: NDArray[np.floating] | None, texts: list[str] | None, fusion: Fusion) -> tuple[int, _Queries]:
    """What `SearchCalls._answered` is given of queries by vectors, by words, or both."""
    size = 0 if vectors is None else vectors.itemsize * vectors.shape[1]
    if texts is not None:
        size += max(len(one.encode()) + _TEXT_BYTES for one in texts)

    def queries(piece: slice) -> tuple[bytes, NDArray[np.floating] | None]:
        sent = b"" if texts is None else texts_on_wire(texts[piece], fusion)
        if vectors is None:
            return sent, None
        return sent + before_queries(vectors[piece]), vectors[piece]

    return size, queries
