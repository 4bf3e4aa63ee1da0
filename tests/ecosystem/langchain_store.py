"""A LangChain `VectorStore` over a collection, local or remote: what its own suite runs against."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from bebr.collection.filter_form import FilterLike
from bebr.collection.protocol import CollectionLike, Payload


class BebrVectorStore(VectorStore):
    """A document is a row: its id, the embedding of its text, and text and metadata as payload. The asynchronous
    methods are those of `VectorStore`, which call these in threads."""

    def __init__(self, collection: CollectionLike, embedding: Embeddings) -> None:
        self._collection = collection
        self._embedding = embedding

    @classmethod
    def from_texts(cls, texts: list[str], embedding: Embeddings, metadatas: Any = None, **kwargs: Any) -> Any:
        store = cls(kwargs.pop("collection"), embedding)
        store.add_texts(texts, metadatas, **kwargs)
        return store

    @property
    def embeddings(self) -> Embeddings:
        return self._embedding

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        texts = list(texts)
        named = [id or str(uuid.uuid4()) for id in ids or [None] * len(texts)]
        payloads = [
            {"text": text, "metadata": metadata}
            for text, metadata in zip(texts, metadatas or [{}] * len(texts), strict=True)
        ]
        self._collection.upsert(named, self._embedding.embed_documents(texts), payloads)
        return named

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        if ids is None:
            self._collection.truncate()
        else:
            self._collection.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return [_document(row.id, row.payload) for row in self._collection.get(ids) if row is not None]

    def similarity_search(
        self, query: str, k: int = 4, filter: FilterLike | None = None, **kwargs: Any
    ) -> list[Document]:
        hits = self._collection.search(self._embedding.embed_query(query), k, filter=filter, with_payloads=True)
        return [_document(id, payload) for id, payload in zip(hits.ids[0], hits.payloads[0], strict=True) if payload]


def _document(id: Any, payload: Payload) -> Document:
    return Document(id=id, page_content=payload["text"], metadata=payload["metadata"])
