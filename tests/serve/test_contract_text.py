"""Text beside vectors, of a local database and of a server alike."""

import numpy as np
import pytest

BODIES = ["the quick fox", "a lazy dog", "the fox and the dog", "nothing of it"]
VECTORS = [[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]]


@pytest.fixture(params=["cosine", "l2"])
def docs(db, request):
    collection = db.create_collection("words", dim=2, metric=request.param, text=["body", "meta.title"])
    payloads = [{"body": body, "n": n, "meta": {"title": f"Title {n}"}} for n, body in enumerate(BODIES)]
    collection.upsert([1, 2, "three", 4], VECTORS, payloads)
    yield collection
    db.drop_collection("words")


def test_words_of_declared_fields_are_found(docs):
    hits = docs.search(None, 3, text="Quick FOX", with_payloads=True)
    assert hits.ids[0].tolist() == [1, "three", None]
    assert hits.scores[0, 0] > hits.scores[0, 1] > 0 and hits.scores[0, 2] == -np.inf
    assert hits.payloads[0][0]["body"] == "the quick fox" and hits.payloads[0][2] is None
    assert docs.search(None, 1, text="title 3").ids[0].tolist() == [4]
    docs.settle()
    again = docs.search(None, 3, text="Quick FOX")
    assert again.ids.tolist() == hits.ids.tolist() and again.scores.tolist() == hits.scores.tolist()


def test_beside_vectors_ranks_are_fused(docs):
    assert docs.search([1, 0], 4).ids[0].tolist() == [1, 2, 4, "three"]
    assert docs.search(None, 3, text="dog").ids[0].tolist() == [2, "three", None]
    hits = docs.search([1, 0], 4, text="dog", fusion="rrf")
    expected = {2: 1 / 62 + 1 / 61, "three": 1 / 64 + 1 / 62, 1: 1 / 61, 4: 1 / 63}
    assert hits.ids[0].tolist() == list(expected)
    np.testing.assert_allclose(hits.scores[0], list(expected.values()), rtol=1e-6)
    assert docs.search([1, 0], 2, text="dog", offset=1).ids[0].tolist() == ["three", 1]


def test_filter_and_allow_hold_for_words_and_vectors(docs):
    assert docs.search([1, 0], 4, text="dog", filter={"n": {"gte": 2}}).ids[0].tolist() == ["three", 4, None, None]
    assert docs.search([1, 0], 4, text="dog", allow=[1, "three"]).ids[0].tolist() == ["three", 1, None, None]
    assert docs.search(None, 2, text="dog", allow=["three", 9]).ids[0].tolist() == ["three", None]
    whole, some = docs.search(None, 2, text="fox dog"), docs.search(None, 1, text="fox dog", filter={"n": 2})
    assert some.ids[0, 0] == whole.ids[0, 0] == "three" and some.scores[0, 0] == whole.scores[0, 0]


def test_several_queries_have_a_text_each(docs):
    assert docs.search(None, 1, text=["lazy", "quick", "absent"]).ids.tolist() == [[2], [1], [None]]
    assert docs.search([[1, 0], [1, 0]], 1, text=["dog", "quick"]).ids.tolist() == [[2], [1]]
    assert docs.search(None, 1, text=["lazy", "quick"] * 300).ids.tolist() == [[2], [1]] * 300


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"q": None}, "q is None, and so is text"),
        ({"q": None, "text": "fox", "fusion": "sum"}, "fusion is 'sum': want 'rrf'"),
        ({"q": None, "text": []}, "text is empty"),
        ({"q": None, "text": ["fox", 3]}, r"text\[1\] is a int: want a string"),
        ({"q": None, "text": "\ud800"}, r"text\[0\]"),
        ({"q": [1, 0], "text": ["fox", "dog"]}, "q has 1 rows and text 2 entries"),
        ({"q": None, "text": "fox", "radius": 0.5}, "radius is 0.5 beside text"),
        ({"q": None, "text": "fox", "group_by": "n"}, "group_by is 'n' beside text"),
    ],
)
def test_what_cannot_be_is_refused(docs, arguments, message):
    with pytest.raises(ValueError, match=message):
        docs.search(**arguments)


def test_fields_are_declared_when_a_collection_is_made(db):
    plain = db.create_collection("plain", dim=2)
    with pytest.raises(ValueError, match="collection 'plain' has no text: create it with text="):
        plain.search(None, text="fox")
    for wrong in ("", ["body", "body"], [3]):
        with pytest.raises(ValueError, match="text"):
            db.create_collection("wrong", dim=2, text=wrong)
    db.drop_collection("plain")


def test_words_find_a_row_without_a_vector(docs):
    docs.upsert(["note"], [None], [{"body": "a fox to be embedded"}])
    for _ in range(2):
        assert docs.search(None, 2, text="embedded").ids[0].tolist() == ["note", None]
        assert "note" in docs.search([1, 0], 5, text="embedded").ids[0].tolist()
        assert "note" not in docs.search([1, 0], 5).ids[0].tolist()
        docs.settle()
