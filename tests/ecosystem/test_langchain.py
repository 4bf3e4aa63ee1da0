"""LangChain's suite for vector stores, as langchain-tests ships it: 25 tests, synchronous and asynchronous."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_tests", reason="needs langchain-tests: pip install 'bebr[ecosystem]'")

from langchain_tests.integration_tests.vectorstores import EMBEDDING_SIZE, VectorStoreIntegrationTests

from tests.ecosystem.langchain_store import BebrVectorStore


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:.*is not an async function:pytest.PytestWarning")  # half of them are
class TestLangChain(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, make_collection):
        return BebrVectorStore(make_collection(EMBEDDING_SIZE), self.get_embeddings())


def test_filters_are_those_of_a_collection(make_collection):
    store = BebrVectorStore(make_collection(EMBEDDING_SIZE), VectorStoreIntegrationTests.get_embeddings())
    store.add_texts(["eins", "one", "uno"], [{"lang": lang} for lang in ("de", "en", "es")])
    found = store.similarity_search("eins", k=3, filter={"metadata.lang": {"ne": "de"}})
    assert {document.page_content for document in found} == {"one", "uno"}
