"""A Haystack document store over a collection, local or remote: what Haystack's own suite runs against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError

from bebr import F
from bebr.collection.filter_tree import All, Either, Filter
from bebr.collection.protocol import CollectionLike, Payload, Row

_PAGE = 1000


class BebrDocumentStore:
    """A document is a row: its id, its embedding, if it has one, and its other fields as payload."""

    def __init__(self, collection: CollectionLike) -> None:
        self._collection = collection

    def to_dict(self) -> dict[str, Any]:
        return {"type": "BebrDocumentStore", "init_parameters": {"collection": self._collection.name}}

    def count_documents(self) -> int:
        return len(self._collection)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        return self._collection.count(_filter(filters))

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        return [_document(row) for row in self._rows(filters, vectors=True)]

    def embedding_retrieval(
        self, query_embedding: list[float], *, filters: dict[str, Any] | None = None, top_k: int = 10
    ) -> list[Document]:
        hits = self._collection.search(query_embedding, top_k, filter=_filter(filters))
        scores = dict(zip(hits.ids[0], hits.scores[0].tolist(), strict=True))
        rows = self._collection.get([id for id in scores if id is not None], vectors=True)
        return [_document(row, scores[row.id]) for row in rows if row is not None]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise ValueError("want a list of documents")
        if policy != DuplicatePolicy.OVERWRITE:
            rows = self._collection.get([document.id for document in documents], payloads=False)
            there = {row.id for row in rows if row is not None}
            if there and policy != DuplicatePolicy.SKIP:
                raise DuplicateDocumentError(f"there is a document with id {min(there)!r}")
            documents = [document for document in documents if document.id not in there]
        return self._collection.upsert(
            [document.id for document in documents],
            [document.embedding for document in documents],
            [_payload(document) for document in documents],
        )

    def delete_documents(self, document_ids: list[str]) -> None:
        self._collection.delete(document_ids)

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        self._collection.truncate()  # which leaves as little as a new collection would

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        return self._collection.delete(filter=_filter(filters))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        rows = list(self._rows(filters))
        changed = [{"meta": {**row.payload["meta"], **meta}} for row in rows]
        return self._collection.set_payloads([row.id for row in rows], changed, merge=True)

    def _rows(self, filters: dict[str, Any] | None, vectors: bool = False) -> Iterator[Row]:
        wanted, after = _filter(filters), None
        while page := self._collection.scroll(limit=_PAGE, after=after, filter=wanted, vectors=vectors):
            yield from page
            after = page[-1].id


def _payload(document: Document) -> Payload:
    fields = document.to_dict(flatten=False)
    return {key: value for key, value in fields.items() if key not in ("id", "embedding", "score")}


def _document(row: Row, score: float | None = None) -> Document:
    embedding = None if row.vector is None else row.vector.tolist()
    return Document.from_dict({**row.payload, "id": row.id, "embedding": embedding, "score": score})


def _filter(given: Mapping[str, Any] | None) -> Filter | None:
    """Haystack's form of a filter as one of bebr."""
    if not given:
        return None
    if "field" not in given:
        parts = tuple(map(_filter, _of(given, "conditions")))
        match _of(given, "operator"):
            case "AND":
                return All(parts)
            case "OR":
                return Either(parts)
            case "NOT":
                return ~All(parts)
        raise FilterError(f"unknown operator {given['operator']!r}")
    field, operator, value = F(given["field"]), _of(given, "operator"), _of(given, "value")
    match operator:
        case "==":
            return field == value
        case "!=":
            return field != value
        case "in" | "not in":
            if not isinstance(value, list):
                raise FilterError(f"{operator} {value!r}: want a list")
            return field.isin(value) if operator == "in" else ~field.isin(value)
        case ">" | ">=" | "<" | "<=":
            return field.isin([]) if value is None else _ordered(field, operator, value)
    raise FilterError(f"unknown operator {operator!r}")


def _ordered(field: F, operator: str, value: Any) -> Filter:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise FilterError(f"{operator} {value!r}: text has an order only where it is an ISO date") from error
    if isinstance(value, list):
        raise FilterError(f"{operator} {value!r}: want a number or a date")
    return {">": field > value, ">=": field >= value, "<": field < value, "<=": field <= value}[operator]


def _of(given: Mapping[str, Any], key: str) -> Any:
    if key not in given:
        raise FilterError(f"{key!r} is missing in {given}")
    return given[key]
