"""LangChain: a collection, local or remote, as a `VectorStore`. Needs the extra ``langchain``."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from bebr.collection.filter_form import FilterLike, as_filter
from bebr.collection.filter_tree import Filter
from bebr.collection.protocol import CollectionLike, DatabaseLike, Payload
from bebr.extras import needed
from bebr.integrations.diversity import most_diverse
from bebr.integrations.relevance import nearness

with needed("langchain", "bebr.integrations.langchain"):
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore

Found = list[tuple[Document, float]]


class BebrVectorStore(VectorStore):
    """A document is a row: its id, the embedding of its text, and text and metadata as payload.

    collection: of `bebr.open` or `bebr.connect`; the asynchronous methods then run in threads. Or one of
        `bebr.connect_async`, which they await; the blocking methods are refused with it.
    embedding: of texts and queries.
    text_key, metadata_key: where a payload has them. ``metadata_key=None``: beside the text, as in rows that others
        wrote.

    Filters are bebr's (docs/filters.md), over metadata: ``filter={"lang": "de", "year": {"gte": 2000}}``, or
    ``bebr.F("year") >= 2000``. Searches take ``hybrid=True``, which fuses them with a search of the query's words (the
    collection is made with ``text="text"``), and the options of a collection's own search: ``rescore``, ``nprobe``,
    ``exact``, ``radius`` and the others.

    >>> store = BebrVectorStore.create(bebr.open("data/"), "docs", embedding)
    >>> store.add_texts(["eins", "zwei"], [{"lang": "de"}, {"lang": "de"}])
    """

    def __init__(
        self,
        collection: CollectionLike,
        embedding: Embeddings,
        *,
        text_key: str = "text",
        metadata_key: str | None = "metadata",
    ) -> None:
        self._collection = collection
        self._embedding = embedding
        self._text_key, self._metadata_key = text_key, metadata_key
        self._awaited = iscoroutinefunction(collection.search)
        self._relevance: Callable[[float], float] | None = None

    @classmethod
    def create(cls, db: DatabaseLike, name: str, embedding: Embeddings, **options: Any) -> BebrVectorStore:
        """The store over the collection ``name`` of ``db``, which is made if it is not there, of as many dimensions as
        ``embedding`` gives. options: of `create_collection`, as ``metric``, ``bytes_per_vector``, ``text``; one that is
        there has to fit them."""
        if name in db and not options:
            return cls(db.collection(name), embedding)
        options.setdefault("dim", len(embedding.embed_query("dimensions")))
        return cls(db.create_collection(name, exist_ok=True, **options), embedding)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        collection: CollectionLike | None = None,
        **options: Any,
    ) -> BebrVectorStore:
        """The store over ``collection``, or over one that :meth:`create` makes of ``options``, with these texts."""
        if collection is None and not {"db", "name"} <= set(options):
            raise ValueError("collection is None: want a collection, or db= and name= of one to be made")
        store = cls(collection, embedding) if collection is not None else cls.create(embedding=embedding, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @property
    def embeddings(self) -> Embeddings:
        return self._embedding

    @property
    def collection(self) -> CollectionLike:
        """Where the documents are."""
        return self._collection

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[str]:
        """Adds or replaces documents; returns their ids, new ones where none are given. options: of `upsert`; the
        ``batch_size`` that LangChain's `index` gives is passed over, for all texts are written by one call."""
        texts = _listed(texts)
        rows = self._rows(texts, metadatas, ids)
        options.pop("batch_size", None)
        self._done(self._collection.upsert, rows[0], self._embedding.embed_documents(texts), rows[1], **options)
        return rows[0]

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[str]:
        texts = _listed(texts)
        rows = self._rows(texts, metadatas, ids)
        options.pop("batch_size", None)
        await self._adone(
            self._collection.upsert, rows[0], await self._embedding.aembed_documents(texts), rows[1], **options
        )
        return rows[0]

    def delete(
        self, ids: Sequence[str] | None = None, *, filter: FilterLike | None = None, **unknown: Any
    ) -> bool | None:
        """Deletes documents by id or by filter; without either, all of them."""
        self._done(self._deletion(ids, filter, unknown))
        return True

    async def adelete(
        self, ids: Sequence[str] | None = None, *, filter: FilterLike | None = None, **unknown: Any
    ) -> bool | None:
        await self._adone(self._deletion(ids, filter, unknown))
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return [self._document(row.id, row.payload) for row in self._done(self._collection.get, ids) if row is not None]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return [
            self._document(row.id, row.payload)
            for row in await self._adone(self._collection.get, ids)
            if row is not None
        ]

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        return _documents(self.similarity_search_with_score(query, k, **options))

    async def asimilarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        return _documents(await self.asimilarity_search_with_score(query, k, **options))

    def similarity_search_with_score(self, query: str, k: int = 4, **options: Any) -> Found:
        """The k best documents with their scores in the collection's metric (l2: squared distances)."""
        return self.similarity_search_with_score_by_vector(
            self._embedding.embed_query(query), k, **_with_words(query, options)
        )

    async def asimilarity_search_with_score(self, query: str, k: int = 4, **options: Any) -> Found:
        return await self.asimilarity_search_with_score_by_vector(
            await self._embedding.aembed_query(query), k, **_with_words(query, options)
        )

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **options: Any) -> list[Document]:
        return _documents(self.similarity_search_with_score_by_vector(embedding, k, **options))

    async def asimilarity_search_by_vector(self, embedding: list[float], k: int = 4, **options: Any) -> list[Document]:
        return _documents(await self.asimilarity_search_with_score_by_vector(embedding, k, **options))

    def similarity_search_with_score_by_vector(self, embedding: list[float], k: int = 4, **options: Any) -> Found:
        """As :meth:`similarity_search_with_score`, of a query's embedding."""
        return self._found(
            self._done(self._collection.search, embedding, k, with_payloads=True, **self._filtered(options))
        )

    async def asimilarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, **options: Any
    ) -> Found:
        return self._found(
            await self._adone(self._collection.search, embedding, k, with_payloads=True, **self._filtered(options))
        )

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """k documents of the ``fetch_k`` best, near the query and unlike each other. ``lambda_mult``: 1, only near, to
        0, only unlike."""
        return self.max_marginal_relevance_search_by_vector(
            self._embedding.embed_query(query), k, fetch_k, lambda_mult, **_with_words(query, options)
        )

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        return await self.amax_marginal_relevance_search_by_vector(
            await self._embedding.aembed_query(query), k, fetch_k, lambda_mult, **_with_words(query, options)
        )

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        hits = self._done(self._collection.search, embedding, max(k, fetch_k), **self._filtered(options))
        return self._diverse(embedding, self._done(self._collection.get, _ids(hits), vectors=True), k, lambda_mult)

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        hits = await self._adone(self._collection.search, embedding, max(k, fetch_k), **self._filtered(options))
        return self._diverse(
            embedding, await self._adone(self._collection.get, _ids(hits), vectors=True), k, lambda_mult
        )

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        if self._relevance is None:  # asked for once: a server sends its whole model to say the metric
            self._relevance = _RELEVANCE[self._done(getattr, self._collection, "binarizer").metric]
        return self._relevance

    def _similarity_search_with_relevance_scores(self, query: str, k: int = 4, **options: Any) -> Found:
        return super()._similarity_search_with_relevance_scores(query, k, **_by_vector(options))

    async def _asimilarity_search_with_relevance_scores(self, query: str, k: int = 4, **options: Any) -> Found:
        found = await self.asimilarity_search_with_score(query, k, **_by_vector(options))
        if self._relevance is None and self._awaited:
            model: Any = self._collection.binarizer
            self._relevance = _RELEVANCE[(await model).metric]
        relevance = self._select_relevance_score_fn()
        return [(document, relevance(score)) for document, score in found]

    def _done(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self._awaited:
            raise ValueError("this store has an asynchronous collection: await its asynchronous methods")
        return call(*args, **options)

    async def _adone(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self._awaited:
            return await call(*args, **options)
        return await asyncio.to_thread(call, *args, **options)

    def _rows(
        self, texts: list[str], metadatas: list[dict[str, Any]] | None, ids: Sequence[str | None] | None
    ) -> tuple[list[str], list[Payload]]:
        """Ids and payloads. ``ValueError`` for an id that is no text: a document found again would have another one."""
        for name, given in (("metadatas", metadatas), ("ids", ids)):
            if given is not None and len(given) != len(texts):
                raise ValueError(f"{name} has {len(given)} entries for {len(texts)} texts: want one each")
        for i, id in enumerate(ids or ()):
            if not isinstance(id, str | uuid.UUID | None):
                raise ValueError(f"ids[{i}] is {id!r}: want text, as documents' ids are")
        named = [str(uuid.uuid4() if id is None else id) for id in ids or [None] * len(texts)]
        texts_and_metadata = zip(texts, metadatas or [{}] * len(texts), strict=True)
        return named, [{**self._nested(metadata), self._text_key: text} for text, metadata in texts_and_metadata]

    def _nested(self, metadata: dict[str, Any]) -> Payload:
        return metadata if self._metadata_key is None else {self._metadata_key: metadata}

    def _document(self, id: Any, payload: Payload | None) -> Document:
        fields = dict(payload or {})
        if not isinstance(fields.get(self._text_key), str):
            raise ValueError(f"row {id!r} has no text at {self._text_key!r}: want the store's text_key= to name it")
        text = fields.pop(self._text_key)
        return Document(
            id=str(id),
            page_content=text,
            metadata=fields if self._metadata_key is None else fields.get(self._metadata_key) or {},
        )

    def _found(self, hits: Any) -> Found:
        rows = zip(_ids(hits), hits.payloads[0], hits.scores[0].tolist(), strict=False)
        return [(self._document(id, payload), score) for id, payload, score in rows]

    def _diverse(self, embedding: list[float], rows: Any, k: int, lambda_mult: float) -> list[Document]:
        there = [row for row in rows if row is not None and row.vector is not None]
        chosen = most_diverse(embedding, [row.vector for row in there], k, lambda_mult)
        return [self._document(there[i].id, there[i].payload) for i in chosen]

    def _deletion(
        self, ids: Sequence[str] | None, filter: FilterLike | None, unknown: dict[str, Any]
    ) -> Callable[..., Any]:
        """The call that deletes."""
        if unknown:
            raise ValueError(f"{next(iter(unknown))!r} is no option of delete: want ids or filter")
        if ids is None and filter is None:
            return self._collection.truncate
        return partial(self._collection.delete, ids, **self._filtered({"filter": filter}))

    def _where(self, filter: FilterLike) -> Filter:
        """A filter over metadata as one over payloads."""
        over = as_filter(filter)
        return over if self._metadata_key is None else over.under(self._metadata_key)

    def _filtered(self, options: dict[str, Any]) -> dict[str, Any]:
        filter = options.get("filter")
        return options if filter is None else {**options, "filter": self._where(filter)}


def _with_words(query: str, options: dict[str, Any]) -> dict[str, Any]:
    options = dict(options)
    return {**options, "text": query} if options.pop("hybrid", False) else options


def _by_vector(options: dict[str, Any]) -> dict[str, Any]:
    if options.get("hybrid") or options.get("text") is not None:
        raise ValueError(
            "relevance is of a search by vector: want it without hybrid= and text=, whose scores are ranks'"
        )
    return options


def _listed(texts: Iterable[str]) -> list[str]:
    """``ValueError`` for what is no text: written, it would break every search that finds it."""
    if isinstance(texts, str):
        raise ValueError(f"texts is {texts!r}: want a list of texts")
    listed = list(texts)
    for i, text in enumerate(listed):
        if not isinstance(text, str):
            raise ValueError(f"texts[{i}] is {text!r}: want text")
    return listed


def _documents(found: Found) -> list[Document]:
    return [document for document, _ in found]


def _ids(hits: Any) -> list[Any]:
    """Of the one query, those that there are."""
    return [id for id in hits.ids[0].tolist() if id is not None and id != -1]


# 0 to 1, as LangChain wants them: cosines, and inner products of unit vectors, by the half; distances by 1 / (1 + d).
_RELEVANCE: dict[str, Callable[[float], float]] = {
    "cosine": lambda score: min(max((1 + score) / 2, 0.0), 1.0),  # a code's own may pass 1 by its rounding
    "ip": lambda score: (1 + score) / 2,
    "l2": nearness,
}


class ProducerEmbeddings(Embeddings):
    """The texts' vectors by a producer of `bebr.models`, by default MiniLM, which the extra ``models`` brings.

    producer: a `bebr.models.Producer` of texts, or its name.
    """

    def __init__(self, producer: Any = "minilm") -> None:
        if isinstance(producer, str):
            with needed("models", "ProducerEmbeddings"):
                from bebr.models import load

                producer = load(producer)
        self._producer = producer

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        vectors: list[list[float]] = self._producer.embed(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]
