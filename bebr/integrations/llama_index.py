"""LlamaIndex: a collection, local or remote, as a vector store. Needs the extra ``llama-index``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from bebr.collection.filter import F
from bebr.collection.filter_tree import All, Either, Filter
from bebr.collection.protocol import CollectionLike, Payload, Row
from bebr.extras import needed
from bebr.integrations.diversity import most_diverse
from bebr.integrations.relevance import Rising

with needed("llama-index", "bebr.integrations.llama_index"):
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.schema import BaseNode
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        FilterCondition,
        FilterOperator,
        MetadataFilter,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

_PAGE = 1000
_DOCUMENT, _METADATA, _TEXT = "document", "metadata", "text"
_WORDS = (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH)
_VECTORS = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.MMR)


class BebrVectorStore(BasePydanticVectorStore):
    """A node is a row: its id, its embedding, and its text, metadata and the rest of it as payload.

    Query modes: default, mmr, and, over a collection made with ``text="text"``, text_search and sparse (both by BM25)
    and hybrid (both rankings, fused by ranks, so ``alpha`` has no part). Metadata filters: all operators but
    ``text_match_insensitive``, nested as you like. Asynchronous methods run in threads.

    >>> store = BebrVectorStore(bebr.open("data/").create_collection("docs", dim=384, text="text"))
    >>> index = VectorStoreIndex.from_vector_store(store, embed_model=...)
    """

    stores_text: bool = True
    _collection: CollectionLike = PrivateAttr()
    _rising: Rising = PrivateAttr()

    def __init__(self, collection: CollectionLike) -> None:
        super().__init__()
        self._collection, self._rising = collection, Rising(collection)

    @classmethod
    def class_name(cls) -> str:
        return "BebrVectorStore"

    @property
    def client(self) -> CollectionLike:
        """The collection."""
        return self._collection

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Adds or replaces nodes; returns their ids. Nodes without an embedding are found by filters and words only."""
        ids = [node.node_id for node in nodes]
        self._collection.upsert(ids, [node.embedding for node in nodes], [_payload(node) for node in nodes])
        return ids

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        return await asyncio.to_thread(self.add, nodes)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Deletes the nodes of a document."""
        self._collection.delete(filter=F(_DOCUMENT) == ref_doc_id)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        await asyncio.to_thread(self.delete, ref_doc_id)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Deletes nodes by id, by filter, or those of these ids that a filter lets through."""
        if node_ids is None and filters is None:
            raise ValueError("node_ids and filters are None: want one of them; clear() removes all nodes")
        if node_ids is not None and filters is not None:
            node_ids = [str(row.id) for row in self._of(node_ids, filters)]
        if node_ids is not None:
            self._collection.delete(node_ids)
        else:
            self._collection.delete(filter=bebr_filter(filters))

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        await asyncio.to_thread(self.delete_nodes, node_ids, filters)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Nodes with their embeddings: of these ids, or that a filter lets through, or both; without either all."""
        rows = list(self._rows(filters)) if node_ids is None else self._of(node_ids, filters, vectors=True)
        return [_node(row) for row in rows]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def clear(self) -> None:
        self._collection.truncate()

    async def aclear(self) -> None:
        await asyncio.to_thread(self.clear)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The best nodes, with similarities as the collection scores them; in metric ``"l2"`` 1 / (1 + distance), since
        LlamaIndex wants near ones to have the largest. kwargs: options of the collection's own search, as ``rescore``
        or ``nprobe``; with mmr ``mmr_threshold``, 1 for near nodes only to 0 for unlike ones only (.5), and
        ``mmr_prefetch_k``, of how many nodes these are chosen (4 k)."""
        if query.mode not in (*_VECTORS, *_WORDS):
            raise ValueError(
                f"mode is {query.mode.value!r}: want one of {', '.join(m.value for m in (*_VECTORS, *_WORDS))}"
            )
        words = query.query_str if query.mode in (*_WORDS, VectorStoreQueryMode.HYBRID) else None
        if words is None and query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
            raise ValueError(f"query_str is None: mode {query.mode.value!r} wants the query's words")
        if query.mode in _VECTORS and query.query_embedding is None:
            raise ValueError(f"query_embedding is None: mode {query.mode.value!r} wants it")
        spread = query.mmr_threshold if query.mmr_threshold is not None else kwargs.pop("mmr_threshold", 0.5)
        k = query.similarity_top_k
        if query.mode == VectorStoreQueryMode.MMR:
            wanted = max(k, kwargs.pop("mmr_prefetch_k", 4 * k))
        else:
            wanted = k if query.mode != VectorStoreQueryMode.HYBRID else query.hybrid_top_k or k
        hits = self._collection.search(
            None if query.mode in _WORDS else query.query_embedding,
            wanted,
            text=words,
            filter=_restricted(query),
            allow=query.node_ids or None,  # a retriever of an index whose nodes lie here gives an empty list
            **kwargs,
        )
        of_hits = hits.scores[0].tolist()
        found = zip(hits.ids[0].tolist(), of_hits if words is not None else self._rising(of_hits), strict=True)
        scores = {id: score for id, score in found if id is not None and id != -1}
        mmr = query.mode == VectorStoreQueryMode.MMR
        rows = [row for row in self._collection.get(list(scores), vectors=mmr) if row is not None]
        if mmr:
            vectors = [row.vector for row in rows if row.vector is not None]  # of hits by vector, so of all of them
            rows = [rows[i] for i in most_diverse(query.query_embedding, vectors, k, spread)]
        return VectorStoreQueryResult(
            nodes=[_node(row) for row in rows],
            similarities=[scores[row.id] for row in rows],
            ids=[str(row.id) for row in rows],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        return await asyncio.to_thread(self.query, query, **kwargs)

    def _rows(self, filters: MetadataFilters | None) -> Iterator[Row]:
        wanted, after = bebr_filter(filters), None
        while page := self._collection.scroll(limit=_PAGE, after=after, filter=wanted, vectors=True):
            yield from page
            after = page[-1].id

    def _of(self, node_ids: list[str], filters: MetadataFilters | None, vectors: bool = False) -> list[Row]:
        """Those of these ids that are there and that the filters let through."""
        there = [row for row in self._collection.get(node_ids, vectors=vectors) if row is not None]
        wanted = bebr_filter(filters)
        return [row for row in there if wanted is None or wanted.matches(row.payload)]


def bebr_filter(given: MetadataFilters | MetadataFilter | None) -> Filter | None:
    """``given`` over payloads; None for none. ``ValueError`` for an operator that bebr has not."""
    if given is None:
        return None
    if isinstance(given, MetadataFilters):
        parts = tuple(one for one in map(bebr_filter, given.filters) if one is not None)
        match given.condition or FilterCondition.AND:
            case FilterCondition.OR:
                return Either(parts) if parts else All(())
            case FilterCondition.NOT:  # none of them holds
                return ~Either(parts) if parts else All(())
            case _:
                return All(parts)
    return _condition(given)


def _condition(given: MetadataFilter) -> Filter:
    field, value = F(f"{_METADATA}.{given.key}"), given.value
    match given.operator:
        case FilterOperator.IS_EMPTY:
            return ~field.exists() | (field == "")
        case FilterOperator.TEXT_MATCH_INSENSITIVE:
            raise ValueError(f"operator 'text_match_insensitive' of {given.key!r}: bebr has none; want 'text_match'")
        case FilterOperator.IN:
            return field.isin(_list(given))
        case FilterOperator.NIN:
            return ~field.isin(_list(given))
        case FilterOperator.ANY:
            return Either(tuple(field.contains(one) for one in _list(given)))
        case FilterOperator.ALL:
            return All(tuple(field.contains(one) for one in _list(given)))
    if value is None or isinstance(value, list):
        raise ValueError(
            f"value of {given.key!r} is {value!r}: operator {given.operator.value!r} wants text or a number"
        )
    match given.operator:
        case FilterOperator.EQ:
            return field == value
        case FilterOperator.NE:
            return field != value
        case FilterOperator.GT:
            return field > value
        case FilterOperator.GTE:
            return field >= value
        case FilterOperator.LT:
            return field < value
        case FilterOperator.LTE:
            return field <= value
        case FilterOperator.CONTAINS | FilterOperator.TEXT_MATCH:
            return field.contains(value)
    raise ValueError(f"operator {given.operator.value!r} of {given.key!r}: bebr has none")


def _list(given: MetadataFilter) -> list[Any]:
    if not isinstance(given.value, list) or not given.value:
        raise ValueError(f"value of {given.key!r} is {given.value!r}: operator {given.operator.value!r} wants a list")
    return given.value


def _restricted(query: VectorStoreQuery) -> Filter | None:
    """The query's filters, and the documents that it names."""
    wanted = bebr_filter(query.filters)
    if not query.doc_ids:
        return wanted
    of_documents = F(_DOCUMENT).isin(query.doc_ids)
    return of_documents if wanted is None else wanted & of_documents


def _payload(node: BaseNode) -> Payload:
    """What a node is but its id and its embedding."""
    packed = node_to_metadata_dict(node, remove_text=True)
    return {
        _TEXT: node.get_content(),
        _METADATA: node.metadata,
        _DOCUMENT: node.ref_doc_id,
        "node": {"content": packed["_node_content"], "type": packed["_node_type"]},
    }


def _node(row: Row) -> BaseNode:
    payload = row.payload or {}
    if not isinstance(payload.get("node"), dict):
        raise ValueError(f"row {row.id!r} is no node: want a collection that BebrVectorStore wrote")
    packed = {"_node_content": payload["node"]["content"], "_node_type": payload["node"]["type"]}
    node = metadata_dict_to_node(packed, text=payload[_TEXT])
    node.embedding = None if row.vector is None else row.vector.tolist()
    return node
