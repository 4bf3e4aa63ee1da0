"""LangChain: its suite for vector stores, as langchain-tests ships it (25 tests, synchronous and asynchronous), in a
folder, on a server, and awaited; then what is bebr's own."""

from __future__ import annotations

import asyncio
import math
import uuid

import pytest

pytest.importorskip("langchain_tests", reason="needs langchain-tests: pip install 'bebr[ecosystem]'")

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_tests.integration_tests.vectorstores import EMBEDDING_SIZE, VectorStoreIntegrationTests

import bebr
from bebr.integrations.langchain import BebrVectorStore


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:.*is not an async function:pytest.PytestWarning")  # half of them are
class TestLangChain(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, make_collection):
        return BebrVectorStore(make_collection(EMBEDDING_SIZE), self.get_embeddings())


class Angles(Embeddings):
    """A text is a number, and its embedding the direction at so many degrees."""

    def embed_query(self, text: str) -> list[float]:
        angle = math.radians(float(text)) if text.isdigit() else 0.0
        return [math.cos(angle), math.sin(angle), 0.0, 0.0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


@pytest.fixture
def store(make_collection) -> BebrVectorStore:
    made = BebrVectorStore(make_collection(4), Angles())
    made.add_texts(["0", "10", "40", "90"], [{"even": True}, {"even": False}, {"even": True}, {"even": True}])
    return made


def texts(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


def test_filters_are_over_metadata(store):
    assert texts(store.similarity_search("10", k=2, filter={"even": True})) == ["0", "40"]
    assert texts(store.similarity_search("10", k=1, filter=bebr.F("even") == False)) == ["10"]  # noqa: E712
    assert texts(store.similarity_search_by_vector([0, 1, 0, 0], k=1, filter={"even": True})) == ["90"]


def test_diverse_documents_are_near_and_unlike_each_other(store):
    assert texts(store.similarity_search("0", k=2)) == ["0", "10"]
    assert texts(store.max_marginal_relevance_search("0", k=2, lambda_mult=0.3)) == ["0", "90"]
    assert texts(store.max_marginal_relevance_search("0", k=3, fetch_k=4, lambda_mult=1)) == ["0", "10", "40"]
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 1, "filter": {"even": False}})
    assert texts(retriever.invoke("0")) == ["10"]
    assert texts(asyncio.run(store.amax_marginal_relevance_search("0", k=2, lambda_mult=0.3))) == ["0", "90"]


def test_scores_are_the_collections_and_relevance_is_0_to_1(store):
    [(document, score)] = store.similarity_search_with_score("90", k=1)
    assert (document.page_content, score) == ("90", pytest.approx(1, abs=1e-3))
    found = store.similarity_search_with_relevance_scores("0", k=4, score_threshold=0.8)
    assert [document.page_content for document, _ in found] == ["0", "10", "40"]
    assert found[2][1] == pytest.approx(0.883, abs=0.01)
    with pytest.raises(ValueError, match="relevance is of a search by vector"):
        store.similarity_search_with_relevance_scores("0", hybrid=True)


def test_documents_are_deleted_by_filter(store):
    store.delete(filter={"even": True})
    assert texts(store.similarity_search("0")) == ["10"]
    with pytest.raises(ValueError, match="'where' is no option of delete: want ids or filter"):
        store.delete(where={})


def test_wrong_lengths_are_refused(store):
    with pytest.raises(ValueError, match="metadatas has 1 entries for 2 texts: want one each"):
        store.add_texts(["1", "2"], [{}])


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ((["1", None],), r"texts\[1\] is None: want text"),
        (("12",), "texts is '12': want a list of texts"),
        ((["1"], None, [5]), r"ids\[0\] is 5: want text, as documents' ids are"),
    ],
)
def test_what_no_search_could_show_again_is_not_written(store, given, refusal):
    texts, metadatas, ids = (*given, None, None)[:3]
    with pytest.raises(ValueError, match=refusal):
        store.add_texts(texts, metadatas, ids=ids)
    assert len(store.collection) == 4


def test_uuids_are_ids_as_documents_show_them(store):
    id = uuid.uuid4()
    assert store.add_texts(["5"], ids=[id]) == [str(id)] and store.get_by_ids([str(id)])[0].id == str(id)


def test_langchains_index_keeps_the_store_as_its_documents_are(store):
    records = InMemoryRecordManager(namespace="angles")
    records.create_schema()
    store.delete()
    documents = [Document(page_content=text, metadata={"source": text}) for text in ("0", "30", "60")]
    how = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
    assert index(documents, records, store, **how)["num_added"] == 3
    assert index(documents[1:], records, store, **how) == {
        **{"num_added": 0, "num_updated": 0, "num_skipped": 2, "num_deleted": 1}
    }
    assert asyncio.run(aindex(documents[:1], records, store, **how))["num_added"] == 1
    assert texts(store.similarity_search("0")) == ["0"]


def test_a_search_of_an_empty_store_finds_nothing(make_collection):
    empty = BebrVectorStore(make_collection(4), Angles())
    assert empty.max_marginal_relevance_search("0") == [] == empty.similarity_search("0")
    assert empty.similarity_search_with_relevance_scores("0") == []


def test_a_collection_is_made_of_the_embeddings_dimensions(tmp_path):
    with bebr.open(tmp_path) as db:
        store = BebrVectorStore.from_texts(["10", "80"], Angles(), ids=["a", "b"], db=db, name="docs", text="text")
        assert store.collection.binarizer.input_dim == 4
        assert [document.id for document in store.similarity_search("0", k=2)] == ["a", "b"]
        assert [document.id for document in store.similarity_search("0", k=1, hybrid=True)] == ["a"]
        assert store.similarity_search("80", k=1, hybrid=True)[0].id == "b"
        assert texts(BebrVectorStore.create(db, "docs", Angles()).get_by_ids(["b", "z"])) == ["80"]
        with pytest.raises(ValueError, match="collection is None: want a collection, or db= and name="):
            BebrVectorStore.from_texts(["1"], Angles())


def test_rows_of_others_have_their_text_where_they_say(make_collection):
    rows = make_collection(4)
    rows.upsert([7], [[1, 0, 0, 0]], [{"body": "seven", "lang": "en"}])
    store = BebrVectorStore(rows, Angles(), text_key="body", metadata_key=None)
    found = store.similarity_search("0", filter={"lang": "en"})
    assert found == [Document(id="7", page_content="seven", metadata={"lang": "en"})]
    with pytest.raises(ValueError, match="row 7 has no text at 'text': want the store's text_key= to name it"):
        BebrVectorStore(rows, Angles()).similarity_search("0")


def test_a_collection_of_an_event_loop_is_awaited(served):
    async def run() -> None:
        async with await bebr.connect_async(served.target) as client:
            rows = await client.create_collection("awaited", dim=4)
            store = BebrVectorStore(rows, Angles())
            await store.aadd_texts(["0", "10", "90"], [{"n": n} for n in range(3)], ids=["a", "b", "c"])
            assert texts(await store.asimilarity_search("90", k=1)) == ["90"]
            assert texts(await store.aget_by_ids(["b"])) == ["10"]
            assert texts(await store.amax_marginal_relevance_search("0", k=2, lambda_mult=0.3)) == ["0", "90"]
            await store.adelete(["c"])
            assert texts(await store.asimilarity_search("90", k=1, filter={"n": {"gte": 0}})) == ["10"]
            by_relevance = {"search_type": "similarity_score_threshold", "search_kwargs": {"score_threshold": 0.9}}
            assert texts(await store.as_retriever(**by_relevance).ainvoke("10")) == ["10", "0"]
            with pytest.raises(ValueError, match="await its asynchronous methods"):
                store.similarity_search("90")

    asyncio.run(run())
