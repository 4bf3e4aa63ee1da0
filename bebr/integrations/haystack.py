"""Haystack: a collection, local or remote, as a document store, and its retriever. Needs the extra ``haystack``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bebr
from bebr.collection.protocol import AlreadyExists, CollectionLike, DatabaseLike, OnConflict, Payload, Row
from bebr.extras import needed
from bebr.integrations.relevance import Rising

with needed("haystack", "bebr.integrations.haystack"):
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy, FilterPolicy, apply_filter_policy
    from haystack.utils import Secret

    from bebr.integrations.haystack_filters import bebr_filter

_PAGE = 1000
_ON_CONFLICT: dict[DuplicatePolicy, OnConflict] = {
    DuplicatePolicy.OVERWRITE: "replace",
    DuplicatePolicy.SKIP: "skip",
    DuplicatePolicy.FAIL: "error",
    DuplicatePolicy.NONE: "error",
}


class BebrDocumentStore:
    """A document is a row: its id, its embedding, if it has one, and its other fields and the id as payload.

    path: a data folder, made if absent. Stores of one process share it; others find it locked. Or target: a server,
        ``"host:port"``, with its key as token.
    name: of the collection, which is made if it is not there, for embeddings of ``dim`` dimensions, by default those of
        all-MiniLM-L6-v2. options: of `create_collection`, as ``bytes_per_vector``, ``index``.

    Documents' words are searched beside their embeddings where the retriever has ``hybrid=True``. Every method has an
    asynchronous one, which runs it in a thread.

    >>> store = BebrDocumentStore("data/", dim=384)
    >>> store.write_documents([Document(content="one", embedding=[...])])
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        target: str | None = None,
        token: Secret | None = None,
        name: str = "documents",
        dim: int = 384,
        metric: str = "cosine",
        options: dict[str, Any] | None = None,
    ) -> None:
        if (path is None) == (target is None):
            raise ValueError(f"path is {path!r} and target is {target!r}: want one of them")
        self._made_of: dict[str, Any] | None = {
            **{"path": None if path is None else str(path), "target": target, "token": token, "name": name},
            **{"dim": dim, "metric": metric, "options": options},
        }
        self._opened: CollectionLike | None = None
        self._rising: Rising | None = None

    @classmethod
    def over(cls, collection: CollectionLike) -> BebrDocumentStore:
        """The store over a collection that is open already. A pipeline with it cannot be saved."""
        store = cls.__new__(cls)
        store._made_of, store._opened, store._rising = None, collection, None
        return store

    @property
    def collection(self) -> CollectionLike:
        """Where the documents are; opened when it is first used."""
        if self._opened is None:
            made = self._made_of or {}
            token = made["token"].resolve_value() if made["token"] is not None else None
            db: DatabaseLike = (
                _folder(made["path"]) if made["path"] is not None else bebr.connect(made["target"], token=token)
            )
            options = {"text": "content", **(made["options"] or {})}
            self._opened = db.create_collection(
                made["name"], dim=made["dim"], metric=made["metric"], exist_ok=True, **options
            )
        return self._opened

    def close(self) -> None:
        """Closes the data folder, which all stores of it in this process share."""
        if self._made_of is not None and self._made_of["path"] is not None:
            self._opened = None
            with _opening:
                open_one = _folders.pop(Path(self._made_of["path"]).resolve(), None)
            if open_one is not None:
                open_one.close()

    def to_dict(self) -> dict[str, Any]:
        """What a saved pipeline holds of it; `Secret` says how its key is found again."""
        if self._made_of is None:
            raise ValueError("this store is over an open collection: give path= or target= to save it")
        token = self._made_of["token"]
        return default_to_dict(self, **{**self._made_of, "token": None if token is None else token.to_dict()})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BebrDocumentStore:
        made_of = data["init_parameters"]
        if isinstance(made_of.get("token"), dict):
            made_of["token"] = Secret.from_dict(made_of["token"])
        return default_from_dict(cls, data)

    def count_documents(self) -> int:
        return len(self.collection)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        return self.collection.count(bebr_filter(filters))

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        return [_document(row) for row in self._rows(filters, vectors=True)]

    def embedding_retrieval(
        self,
        query_embedding: list[float],
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        text: str | None = None,
        return_embedding: bool = False,
    ) -> list[Document]:
        """The ``top_k`` documents nearest to the embedding. text: fused with a search of these words by ranks.

        Scores are the collection's; in metric ``"l2"`` 1 / (1 + distance), since Haystack sorts by falling scores.
        """
        hits = self.collection.search(query_embedding, top_k, filter=bebr_filter(filters), text=text)
        found = zip(hits.ids[0].tolist(), self._scores(hits.scores[0].tolist(), text), strict=True)
        scores = {id: score for id, score in found if id is not None and id != -1}
        rows = self.collection.get(list(scores), vectors=return_embedding)
        return [_document(row, scores[row.id]) for row in rows if row is not None]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Writes documents; returns how many. An id that is there already, or comes twice, is an error unless
        ``policy`` says otherwise, and then nothing is written."""
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise ValueError("documents: want a list of haystack.Document")
        documents = _distinct(documents, policy)
        try:
            return self.collection.upsert(
                [document.id for document in documents],
                [document.embedding for document in documents],
                [_payload(document) for document in documents],
                on_conflict=_ON_CONFLICT[policy],
            )
        except AlreadyExists as error:
            raise DuplicateDocumentError(str(error)) from error

    def delete_documents(self, document_ids: list[str]) -> None:
        self.collection.delete(document_ids)

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        self.collection.truncate()  # which leaves as little as a new collection would

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        return self.collection.delete(filter=bebr_filter(filters))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Sets keys of the metadata of the documents that match; returns how many there were."""
        rows = list(self._rows(filters))
        changed = [{"meta": {**(row.payload or {}).get("meta", {}), **meta}} for row in rows]
        return self.collection.set_payloads([row.id for row in rows], changed, merge=True)

    async def count_documents_async(self) -> int:
        return await asyncio.to_thread(self.count_documents)

    async def count_documents_by_filter_async(self, filters: dict[str, Any]) -> int:
        return await asyncio.to_thread(self.count_documents_by_filter, filters)

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        return await asyncio.to_thread(self.filter_documents, filters)

    async def embedding_retrieval_async(self, query_embedding: list[float], **options: Any) -> list[Document]:
        return await asyncio.to_thread(self.embedding_retrieval, query_embedding, **options)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        await asyncio.to_thread(self.delete_documents, document_ids)

    async def delete_all_documents_async(self, recreate_index: bool = False) -> None:
        await asyncio.to_thread(self.delete_all_documents, recreate_index)

    async def delete_by_filter_async(self, filters: dict[str, Any]) -> int:
        return await asyncio.to_thread(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        return await asyncio.to_thread(self.update_by_filter, filters, meta)

    def _scores(self, scores: list[float], text: str | None) -> list[float]:
        if text is not None:  # of ranks, which rise already
            return scores
        if self._rising is None:
            self._rising = Rising(self.collection)
        return self._rising(scores)

    def _rows(self, filters: dict[str, Any] | None, vectors: bool = False) -> Iterator[Row]:
        wanted, after = bebr_filter(filters), None
        while page := self.collection.scroll(limit=_PAGE, after=after, filter=wanted, vectors=vectors):
            yield from page
            after = page[-1].id


@component
class BebrEmbeddingRetriever:
    """The documents of a `BebrDocumentStore` nearest to a query's embedding.

    filters, top_k: where a run gives none; ``filter_policy`` says how a run's filters go with these.
    hybrid: searches the words of ``query``, too, which a run then needs, and fuses both by ranks.
    """

    def __init__(
        self,
        document_store: BebrDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        hybrid: bool = False,
        return_embedding: bool = False,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        if not isinstance(document_store, BebrDocumentStore):
            raise ValueError(f"document_store is a {type(document_store).__name__}: want a BebrDocumentStore")
        self.document_store, self.filters, self.top_k = document_store, filters, top_k
        self.hybrid, self.return_embedding, self.filter_policy = hybrid, return_embedding, filter_policy

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            hybrid=self.hybrid,
            return_embedding=self.return_embedding,
            filter_policy=self.filter_policy.value,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BebrEmbeddingRetriever:
        made_of = data["init_parameters"]
        made_of["document_store"] = BebrDocumentStore.from_dict(made_of["document_store"])
        if "filter_policy" in made_of:
            made_of["filter_policy"] = FilterPolicy.from_str(made_of["filter_policy"])
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        query: str | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        if self.hybrid and query is None:
            raise ValueError("query is None: a hybrid retriever wants the query's words beside its embedding")
        found = self.document_store.embedding_retrieval(
            query_embedding,
            filters=apply_filter_policy(self.filter_policy, self.filters, filters),
            top_k=self.top_k if top_k is None else top_k,
            text=query if self.hybrid else None,
            return_embedding=self.return_embedding,
        )
        return {"documents": found}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_embedding: list[float],
        query: str | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        return await asyncio.to_thread(self.run, query_embedding, query, filters, top_k)


def _distinct(documents: list[Document], policy: DuplicatePolicy) -> list[Document]:
    """One of each id: the last is written over the others, or skipped for the first, or an error."""
    by_id: dict[str, Document] = {}
    for document in documents:
        if document.id in by_id and policy in (DuplicatePolicy.FAIL, DuplicatePolicy.NONE):
            raise DuplicateDocumentError(f"documents holds {document.id!r} twice: nothing was written")
        if document.id not in by_id or policy == DuplicatePolicy.OVERWRITE:
            by_id[document.id] = document
    return list(by_id.values())


def _payload(document: Document) -> Payload:
    """Its id, too: filters may name it."""
    fields = document.to_dict(flatten=False)
    return {key: value for key, value in fields.items() if key not in ("embedding", "score")}


def _document(row: Row, score: float | None = None) -> Document:
    embedding = None if row.vector is None else row.vector.tolist()
    return Document.from_dict({**(row.payload or {}), "id": str(row.id), "embedding": embedding, "score": score})


_folders: dict[Path, Any] = {}
_opening = threading.Lock()


def _folder(path: str) -> DatabaseLike:
    """The database in a folder, one in this process: a pipeline that was loaded has a store in each of its
    components."""
    place = Path(path).resolve()
    with _opening:
        if place not in _folders:
            _folders[place] = bebr.open(place)
        return _folders[place]
