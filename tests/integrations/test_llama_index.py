"""LlamaIndex: what its own tests ask of its simple store (llama-index-core, tests/vector_stores), asked of bebr's in a
folder and on a server; then what that store has not."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("llama_index.core", reason="needs llama-index-core: pip install 'bebr[llama-index]'")

from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from bebr.integrations.llama_index import BebrVectorStore


def node(id: str, angle: list[float], text: str, **metadata: object) -> TextNode:
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"document of {id}")}
    return TextNode(text=text, id_=id, embedding=angle, relationships=source, metadata=metadata)


NODES = [
    node("a", [1.0, 0.0], "the first, E1234", weight=1.0, rank="one", tags=["mid", "high"], code="X78Yun"),
    node("b", [0.0, 1.0], "the second", weight=2.0, rank="three", tags=["mid"], code="X78Ygl"),
    node("c", [1.0, 1.0], "the third", weight=3.0, rank="three", tags=["low", "mid", "high"], code="X78Ztl"),
]


@pytest.fixture(scope="module")
def collection(db):
    return db.create_collection("nodes", dim=2, text="text")


@pytest.fixture
def store(collection):
    made = BebrVectorStore(collection)
    assert made.add(NODES) == ["a", "b", "c"]
    yield made
    made.clear()


def ids(store: BebrVectorStore, k: int = 3, **query: object) -> list[str]:
    return store.query(VectorStoreQuery(query_embedding=[1.0, 1.0], similarity_top_k=k, **query)).ids


def where(key: str, operator: str, value: object) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, operator=FilterOperator(operator), value=value)])


def test_all_nodes_come_by_similarity_whole(store):
    found = store.query(VectorStoreQuery(query_embedding=[1.0, 1.0], similarity_top_k=3))
    assert found.ids[0] == "c" and sorted(found.ids) == ["a", "b", "c"]
    assert found.similarities == pytest.approx([1, 0.7071, 0.7071], abs=1e-3)
    best = found.nodes[0]
    assert (best.text, best.metadata, best.ref_doc_id) == ("the third", NODES[2].metadata, "document of c")


@pytest.mark.parametrize(
    "key, operator, value, wanted",
    [
        ("rank", "==", "three", "bc"),
        ("weight", "==", 1.0, "a"),
        ("weight", "==", 1, "a"),
        ("weight", "!=", 1.0, "bc"),
        ("weight", ">", 1.5, "bc"),
        ("weight", ">=", 1.0, "abc"),
        ("weight", "<", 1.1, "a"),
        ("weight", "<=", 1.0, "a"),
        ("rank", "in", ["one", "three"], "abc"),
        ("rank", "nin", ["three"], "a"),
        ("tags", "contains", "high", "ac"),
        ("code", "text_match", "X78Y", "ab"),
        ("tags", "any", ["high", "low"], "ac"),
        ("tags", "all", ["mid", "high"], "ac"),
        ("nothing", "is_empty", None, "abc"),
        ("rank", "is_empty", None, ""),
        ("nothing", "==", "c", ""),
    ],
)
def test_filters(store, key, operator, value, wanted):
    assert sorted(ids(store, filters=where(key, operator, value))) == list(wanted)


def test_filters_are_joined_and_nested(store):
    rank, weight = where("rank", "==", "three"), where("weight", "==", 1.0)
    join = {condition: MetadataFilters(filters=[rank, weight], condition=condition) for condition in FilterCondition}
    assert sorted(ids(store, filters=join[FilterCondition.OR])) == ["a", "b", "c"]
    assert ids(store, filters=join[FilterCondition.AND]) == []
    assert ids(store, filters=join[FilterCondition.NOT]) == []
    assert sorted(ids(store, filters=MetadataFilters(filters=[join[FilterCondition.OR], rank]))) == ["b", "c"]


def test_a_filter_leaves_as_many_as_are_asked_for(store):
    assert ids(store, k=1, filters=where("rank", "==", "three")) == ["c"]
    assert ids(store, filters=where("rank", "==", "three"), node_ids=["a", "b"]) == ["b"]
    assert sorted(ids(store, doc_ids=["document of a", "document of b"])) == ["a", "b"]


def test_what_bebr_has_not_is_refused(store):
    with pytest.raises(ValueError, match="'text_match_insensitive' of 'code': bebr has none; want 'text_match'"):
        ids(store, filters=where("code", "text_match_insensitive", "x78"))
    with pytest.raises(ValueError, match="mode is 'svm': want one of default, hybrid, mmr, sparse, text_search"):
        ids(store, mode=VectorStoreQueryMode.SVM)
    with pytest.raises(ValueError, match="value of 'rank' is 'one': operator 'in' wants a list"):
        ids(store, filters=where("rank", "in", "one"))
    with pytest.raises(ValueError, match="query_str is None: mode 'hybrid' wants the query's words"):
        ids(store, mode=VectorStoreQueryMode.HYBRID)


def test_words_and_both(store):
    assert ids(store, mode=VectorStoreQueryMode.TEXT_SEARCH, query_str="E1234") == ["a"]
    assert ids(store, mode=VectorStoreQueryMode.SPARSE, query_str="second") == ["b"]
    assert ids(store, mode=VectorStoreQueryMode.HYBRID, query_str="E1234", hybrid_top_k=2)[0] in ("a", "c")


def test_diverse_nodes(store):
    store.add([node("d", [1.0, 0.99], "nearly the third", rank="three")])
    assert ids(store, k=2, mode=VectorStoreQueryMode.MMR, mmr_threshold=1.0) == ["c", "d"]
    spread = ids(store, k=2, mode=VectorStoreQueryMode.MMR, mmr_threshold=0.2)
    assert spread[0] == "c" and spread[1] in ("a", "b")


def test_nothing_is_found_in_an_empty_store(store):
    store.clear()
    for mode in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
        assert ids(store, mode=mode) == []


def test_similarities_of_distances_fall_from_the_nearest_on(db):
    """So that a cutoff drops far nodes, and near ones come first where several stores are asked."""
    store = BebrVectorStore(db.create_collection("far", dim=2, metric="l2", text="text"))
    store.add([node(str(n), [n, 0.0], "text") for n in (0.0, 1.0, 3.0)])
    query = VectorStoreQuery(query_embedding=[0.0, 0.0], similarity_top_k=3, query_str="text")
    found = store.query(query)
    assert found.ids == ["0.0", "1.0", "3.0"] and found.similarities == pytest.approx([1, 1 / 2, 1 / 4], abs=1e-3)
    near = SimilarityPostprocessor(similarity_cutoff=0.4).postprocess_nodes(
        [NodeWithScore(node=one, score=score) for one, score in zip(found.nodes, found.similarities, strict=True)]
    )
    assert [one.node_id for one in near] == ["0.0", "1.0"]
    query.mode = VectorStoreQueryMode.HYBRID  # scores of ranks rise already
    assert store.query(query).similarities == sorted(store.query(query).similarities, reverse=True)


def test_nodes_are_read_and_deleted(store):
    [got] = store.get_nodes(["b"])
    assert got.embedding == pytest.approx([0.0, 1.0]) and got.text == "the second"
    assert [one.node_id for one in store.get_nodes(filters=where("weight", ">", 2))] == ["c"]
    store.delete("document of b")
    assert sorted(ids(store)) == ["a", "c"]
    store.delete_nodes(["a", "c"], where("weight", ">", 2))
    assert ids(store) == ["a"]
    store.delete_nodes(filters=where("rank", "==", "one"))
    assert store.get_nodes() == []


def test_asynchronous_methods(store):
    async def run() -> list[str]:
        await store.async_add([node("e", [1.0, 0.9], "the fifth", rank="five")])
        await store.adelete("document of c")
        await store.adelete_nodes(["b"])
        return (await store.aquery(VectorStoreQuery(query_embedding=[1.0, 1.0], similarity_top_k=5))).ids

    assert asyncio.run(run()) == ["e", "a"]


def test_an_index_of_llama_index_stores_and_finds(store):
    from llama_index.core import MockEmbedding, VectorStoreIndex

    index = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=2))
    index.insert_nodes([TextNode(text="the sixth", id_="f")])
    assert {one.node_id for one in index.as_retriever(similarity_top_k=9).retrieve("x")} == {"a", "b", "c", "f"}
