"""Haystack: its suites for document stores, as haystack-ai ships them, in a folder and on a server; then what is
bebr's own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("haystack.testing.document_store", reason="needs haystack-ai: pip install 'bebr[ecosystem]'")

from haystack import Document, Pipeline
from haystack.components.joiners import DocumentJoiner
from haystack.components.preprocessors import HierarchicalDocumentSplitter
from haystack.components.retrievers import AutoMergingRetriever, FilterRetriever
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.testing.document_store import CountDocumentsByFilterTest, DocumentStoreBaseExtendedTests
from haystack.testing.document_store_async import (
    CountDocumentsAsyncTest,
    CountDocumentsByFilterAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    UpdateByFilterAsyncTest,
    WriteDocumentsAsyncTest,
)

import bebr
from bebr.integrations.haystack import BebrDocumentStore, BebrEmbeddingRetriever

DIM = 768


class OnACollection:
    @pytest.fixture
    def document_store(self, make_collection):
        return BebrDocumentStore.over(make_collection(DIM, "ip"))

    @staticmethod
    def assert_documents_are_equal(received, expected):
        """In any order, embeddings as float16 has them: the suite leaves both to the store."""
        received, expected = (sorted(some, key=lambda one: one.id) for some in (received, expected))
        for one, other in zip(received, expected, strict=True):
            assert (one.embedding is None) == (other.embedding is None)
            if one.embedding is not None:
                np.testing.assert_allclose(one.embedding, other.embedding, rtol=1e-3, atol=1e-6)
            assert dataclasses.replace(one, embedding=None) == dataclasses.replace(other, embedding=None)


class TestHaystack(OnACollection, DocumentStoreBaseExtendedTests, CountDocumentsByFilterTest):
    def test_write_documents(self, document_store):
        """Without a policy, a document that is there already is refused."""
        documents = [Document(content="one"), Document(content="two")]
        assert document_store.write_documents(documents) == 2
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents(documents[:1])
        self.assert_documents_are_equal(document_store.filter_documents(), documents)


class TestHaystackAwaited(
    OnACollection,
    CountDocumentsAsyncTest,
    CountDocumentsByFilterAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    UpdateByFilterAsyncTest,
    WriteDocumentsAsyncTest,
):
    @pytest.mark.asyncio
    async def test_write_documents_async(self, document_store):
        """Without a policy, a document that is there already is refused."""
        assert await document_store.write_documents_async([Document(content="one")]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([Document(content="one")])


def test_retrieval_passes_over_documents_without_an_embedding(make_collection):
    store = BebrDocumentStore.over(make_collection(4, "ip"))
    store.write_documents([Document(id="a", content="a", embedding=[1.0, 0, 0, 0]), Document(id="b", content="b")])
    found = store.embedding_retrieval(
        [1.0, 0, 0, 0], filters={"field": "content", "operator": "in", "value": ["a", "b"]}
    )
    assert [(one.id, one.score) for one in found] == [("a", 1.0)]


def test_filters_name_fields_as_haystack_reads_them(make_collection):
    """Its components look parents up by ``id``, and metadata without ``meta.`` before it."""
    store = BebrDocumentStore.over(make_collection(4, "ip"))
    split = HierarchicalDocumentSplitter(block_sizes={2, 1}, split_overlap=0, split_by="word")
    parts = split.run([Document(content="one two three four", meta={"lang": "en"})])["documents"]
    store.write_documents(parts)
    parents = [one.id for one in parts if one.meta["__level"] < 2]
    by_id = store.filter_documents({"field": "id", "operator": "in", "value": parents})
    assert {one.id for one in by_id} == set(parents) and all(one.meta["lang"] == "en" for one in by_id)
    leaves = [one for one in parts if one.meta["__level"] == 2]
    [whole] = AutoMergingRetriever(store, threshold=0.5).run(leaves)["documents"]
    assert whole.content == "one two three four"
    assert len(FilterRetriever(store).run({"field": "lang", "operator": "==", "value": "en"})["documents"]) == len(
        parts
    )
    assert store.count_documents_by_filter({"field": "__level", "operator": "<", "value": 2}) == len(parents)


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"field": "embedding", "operator": "==", "value": None}, "field 'embedding': want one of a document's others"),
        ({"field": "score", "operator": ">", "value": 0.5}, "field 'score': want one of a document's others"),
        ({"field": "meta.n", "operator": "==", "value": [1]}, r"meta.n.eq is \[1\]: want a bool"),
        ({"operator": "AND", "conditions": {"field": "meta.n"}}, "conditions is {'field': 'meta.n'}: want a list"),
        (["meta.n"], r"filters is \['meta.n'\]: want a dict"),
    ],
)
def test_filters_that_cannot_be_answered_are_refused(make_collection, given, refusal):
    with pytest.raises(FilterError, match=refusal):
        BebrDocumentStore.over(make_collection(4, "ip")).filter_documents(given)


def test_a_document_that_comes_twice_is_as_one_that_is_there(make_collection):
    store = BebrDocumentStore.over(make_collection(4, "ip"))
    twice = [Document(id="a", content="first"), Document(id="a", content="last")]
    for policy in (DuplicatePolicy.FAIL, DuplicatePolicy.NONE):
        with pytest.raises(DuplicateDocumentError, match="documents holds 'a' twice: nothing was written"):
            store.write_documents(twice, policy)
    assert store.write_documents(twice, DuplicatePolicy.SKIP) == 1
    assert store.filter_documents()[0].content == "first"
    assert store.write_documents(twice, DuplicatePolicy.OVERWRITE) == 1
    assert store.filter_documents()[0].content == "last"


def test_scores_of_distances_fall_from_the_nearest_on(make_collection):
    store = BebrDocumentStore.over(make_collection(4, "l2"))
    store.write_documents([Document(id=str(n), content="text", embedding=[n, 0, 0, 0]) for n in (0.0, 1.0, 3.0)])
    found = store.embedding_retrieval([0.0, 0, 0, 0])
    assert [one.id for one in found] == ["0.0", "1.0", "3.0"]
    assert [one.score for one in found] == pytest.approx([1, 1 / 2, 1 / 4], abs=1e-3)
    joined = DocumentJoiner().run([found[:2], found[1:]])["documents"]
    assert [one.id for one in joined] == ["0.0", "1.0", "3.0"]


def test_a_pipeline_is_saved_and_loaded(tmp_path):
    """Stores of one folder share it, whatever component they are in."""
    store = BebrDocumentStore(tmp_path, dim=4, name="notes", options={"index": "flat"})
    store.write_documents(
        [
            Document(id="a", content="a cat", embedding=[1.0, 0.2, 0, 0], meta={"legs": 4}),
            Document(id="b", content="a bird", embedding=[0.9, 0.3, 0, 0], meta={"legs": 2}),
        ],
        DuplicatePolicy.OVERWRITE,
    )
    pipeline = Pipeline()
    pipeline.add_component("near", BebrEmbeddingRetriever(store, top_k=1))
    pipeline.add_component("words", BebrEmbeddingRetriever(store, top_k=1, hybrid=True, return_embedding=True))
    loaded = Pipeline.loads(pipeline.dumps(), allowed_modules=["bebr.integrations.haystack"])
    legs = {"field": "meta.legs", "operator": "<", "value": 4}
    asked = {"near": {"query_embedding": [1.0, 0, 0, 0]}}
    asked["words"] = {"query_embedding": [1.0, 0, 0, 0], "query": "bird", "filters": legs}
    found = loaded.run(asked)
    assert [one.id for one in found["near"]["documents"]] == ["a"] and found["near"]["documents"][0].embedding is None
    [bird] = found["words"]["documents"]
    np.testing.assert_allclose(bird.embedding, [0.9487, 0.3162, 0, 0], atol=1e-3)  # cosine keeps unit length
    store.close()
    with bebr.open(tmp_path) as db:
        assert len(db.collection("notes")) == 2


def test_what_a_store_is_made_of_is_checked(tmp_path, make_collection):
    with pytest.raises(ValueError, match="path is None and target is None: want one of them"):
        BebrDocumentStore()
    with pytest.raises(ValueError, match="this store is over an open collection"):
        BebrDocumentStore.over(make_collection(4)).to_dict()
    retriever = BebrEmbeddingRetriever(BebrDocumentStore.over(make_collection(4)), hybrid=True)
    with pytest.raises(ValueError, match="a hybrid retriever wants the query's words"):
        retriever.run([1.0, 0, 0, 0])


def test_a_store_on_a_server(served):
    store = BebrDocumentStore(target=served.target, dim=4, name="on-a-server", metric="l2")
    store.write_documents([Document(id="a", content="a", embedding=[1.0, 0, 0, 0])])
    assert bebr.connect(served.target).collection("on-a-server").count() == 1
    assert BebrDocumentStore.from_dict(store.to_dict()).count_documents() == 1
