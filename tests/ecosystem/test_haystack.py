"""Haystack's suite for document stores, as haystack-ai ships it: 64 tests."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("haystack.testing.document_store", reason="needs haystack-ai: pip install 'bebr[ecosystem]'")

from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.testing.document_store import CountDocumentsByFilterTest, DocumentStoreBaseExtendedTests

from tests.ecosystem.haystack_store import BebrDocumentStore

DIM = 768


class TestHaystack(DocumentStoreBaseExtendedTests, CountDocumentsByFilterTest):
    @pytest.fixture
    def document_store(self, make_collection):
        return BebrDocumentStore(make_collection(DIM, "ip"))

    @staticmethod
    def assert_documents_are_equal(received, expected):
        """In any order, embeddings as float16 has them: the suite leaves both to the store."""
        received, expected = (sorted(some, key=lambda one: one.id) for some in (received, expected))
        for one, other in zip(received, expected, strict=True):
            assert (one.embedding is None) == (other.embedding is None)
            if one.embedding is not None:
                np.testing.assert_allclose(one.embedding, other.embedding, rtol=1e-3, atol=1e-6)
            assert dataclasses.replace(one, embedding=None) == dataclasses.replace(other, embedding=None)

    def test_write_documents(self, document_store):
        """Without a policy, a document that is there already is refused."""
        documents = [Document(content="one"), Document(content="two")]
        assert document_store.write_documents(documents) == 2
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents(documents[:1])
        self.assert_documents_are_equal(document_store.filter_documents(), documents)


def test_retrieval_passes_over_documents_without_an_embedding(make_collection):
    store = BebrDocumentStore(make_collection(4, "ip"))
    store.write_documents([Document(id="a", content="a", embedding=[1.0, 0, 0, 0]), Document(id="b", content="b")])
    found = store.embedding_retrieval(
        [1.0, 0, 0, 0], filters={"field": "content", "operator": "in", "value": ["a", "b"]}
    )
    assert [(one.id, one.score) for one in found] == [("a", 1.0)]
