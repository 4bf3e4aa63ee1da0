"""mteb: its protocol of index backends, and a task of its own run with it."""

from __future__ import annotations

import types

import numpy as np
import pytest

from bebr.integrations.mteb import BebrSearchBackend, bebr_search
from tests.conftest import recall


def encoder(similarity: str = "cosine") -> types.SimpleNamespace:
    return types.SimpleNamespace(mteb_model_meta=types.SimpleNamespace(similarity_fn_name=similarity))


def test_documents_are_found_by_their_codes(vectors, queries):
    backend = BebrSearchBackend(encoder(), bytes_per_vector=34)
    backend.add_documents(vectors[:500], [f"d{i}" for i in range(500)])
    backend.add_documents(vectors[500:1000], [f"d{i}" for i in range(500, 1000)])
    scores, rows = backend.search(queries, 10, similarity_fn=None)
    truth = np.argsort(-queries @ vectors[:1000].T, axis=1)[:, :10]
    assert recall(np.array(rows), truth) > 0.85
    assert all(one == sorted(one, reverse=True) for one in scores)
    backend.clear()
    with pytest.raises(ValueError, match="there are no documents: add_documents first"):
        backend.search(queries, 10)


def test_ranked_documents_come_as_their_places_among_these(vectors):
    backend = BebrSearchBackend(encoder("euclidean"), bytes_per_vector=34, rescore="float16")
    backend.add_documents(vectors[:300], [f"d{i}" for i in range(300)])
    ranked = {"q0": ["d9", "d0", "d5"], "q1": ["d7", "d1"]}
    scores, places = backend.search(vectors[:3], 2, top_ranked=ranked, query_idx_to_id={0: "q0", 1: "q1", 2: "q2"})
    assert [one[0] for one in places[:2]] == [1, 1] and (places[2], scores[2]) == ([], [])
    assert len(places[0]) == 2 and scores[0][0] == pytest.approx(0, abs=0.05) and scores[0][1] < scores[0][0]


def test_similarities_that_bebr_has_not_are_refused():
    with pytest.raises(ValueError, match="model has similarity 'MaxSim': want one of cosine, dot, euclidean"):
        BebrSearchBackend(encoder("MaxSim"))


def test_a_search_and_a_reranking_of_mteb(vectors, queries):
    mteb = pytest.importorskip("mteb", reason="needs mteb: pip install 'bebr[mteb]'")
    from datasets import Dataset
    from mteb.models.models_protocols import SearchProtocol

    def encode(inputs, **options):
        of = queries if options["prompt_type"].value == "query" else vectors
        return of[[int(text) for batch in inputs for text in batch["text"]]]

    model = encoder()
    model.encode, model.similarity = encode, None
    search = bebr_search(model, bytes_per_vector=34)
    assert isinstance(search, SearchProtocol)
    corpus = Dataset.from_dict({"id": [f"d{i}" for i in range(600)], "text": list(map(str, range(600)))})
    asked = Dataset.from_dict({"id": [f"q{i}" for i in range(20)], "text": list(map(str, range(20)))})
    task = {"task_metadata": mteb.get_task("SciFact").metadata, "hf_split": "test", "hf_subset": "default"}
    search.index(corpus, encode_kwargs={}, **task)
    found = search.search(asked, top_k=10, encode_kwargs={}, **task)
    truth = np.argsort(-queries[:20] @ vectors[:600].T, axis=1)[:, :10]
    shares = [len({f"d{row}" for row in truth[i]} & set(found[f"q{i}"])) / 10 for i in range(20)]
    assert np.mean(shares) > 0.85

    ranked = {f"q{i}": [f"d{row}" for row in reversed(truth[i])] for i in range(20)}
    search.index(corpus, encode_kwargs={}, **task)
    again = search.search(asked, top_k=3, top_ranked=ranked, encode_kwargs={}, **task)
    best = [max(again[f"q{i}"], key=again[f"q{i}"].get) == f"d{truth[i, 0]}" for i in range(20)]
    assert all(len(of) == 3 for of in again.values()) and np.mean(best) > 0.8


def test_tasks_of_our_own_are_scored_by_mteb(vectors, queries):
    """What benchmarks.mteb_tasks does: exact search finds what is nearest, codes of many bytes the same."""
    pytest.importorskip("mteb", reason="needs mteb: pip install 'bebr[mteb]'")
    from bebr.models.data.relevance import Judged
    from benchmarks import mteb_tasks

    class Known:
        """Texts are numbers of rows."""

        name, version, asked = "known", "1", []

        def embed(self, texts):
            self.asked += texts
            rows = [(queries if text.startswith("q") else vectors)[int(text[1:])] for text in texts]
            return np.array([row / np.linalg.norm(row) for row in rows])

    nearest = np.argsort(-queries[:20] @ vectors[:300].T, axis=1)[:, 0]
    documents, asked = ({f"{of}{i}": f"{of}{i}" for i in range(n)} for of, n in (("d", 300), ("q", 21)))
    judged = Judged(documents, asked, {f"q{i}": {f"d{row}": 1} for i, row in enumerate(nearest)}, "0")
    encoder = mteb_tasks.Encoder(Known())
    exact, coded = mteb_tasks.measured("rows", judged, encoder, [66])
    assert exact["bytes"] is None and exact["queries"] == 20 and exact["ndcg_at_10"] == pytest.approx(1)
    assert coded["bytes"] == 66 and 0.9 < coded["ndcg_at_10"] <= 1 and coded["recall_at_100"] == 1
    assert sorted(Known.asked) == sorted([*documents, *list(asked)[:20]]), "each text is embedded once"
