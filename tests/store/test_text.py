"""The search by words equals a count of the words of the live payloads, however rows are divided and whatever happens
to them."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bebr
from bebr.store.catalog.records import Settings
from bebr.store.search.ranking import search_text
from bebr.store.text.growing import GrowingText
from bebr.store.text.words import words

VECTOR = [1.0, 0, 0]
WORDS = ["fox", "Fox", "quick", "straße", "STRASSE", "naïve", "über", "42", "日本"]

texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
payloads = st.one_of(
    st.none(),
    st.fixed_dictionaries({"body": st.one_of(texts, st.lists(texts, max_size=2), st.integers(), st.none())}),
    st.fixed_dictionaries({"body": texts, "meta": st.fixed_dictionaries({"title": texts})}),
)
ids = st.integers(0, 12)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.lists(st.tuples(ids, payloads), min_size=1, max_size=5)),
        st.tuples(st.just("payload"), st.tuples(ids, payloads)),
        st.tuples(st.just("delete"), st.lists(ids, min_size=1, max_size=3)),
        st.tuples(st.sampled_from(["seal", "restart"]), st.none()),
    ),
    max_size=12,
)


def payload_words(payload):
    payload = payload or {}
    found = []
    for value in (payload.get("body"), payload.get("meta", {}).get("title")):
        for text in value if isinstance(value, list) else [value]:
            found += words(text) if isinstance(text, str) else []
    return found


def bm25(rows, query):
    """The rows that have a word of the query, best first, with their scores."""
    counted = {id: Counter(payload_words(payload)) for id, payload in rows.items()}
    lengths = {id: sum(count.values()) for id, count in counted.items()}
    having = sum(length > 0 for length in lengths.values())
    scores = Counter()
    for word in sorted(set(words(query))):
        with_word = [id for id, count in counted.items() if count[word]]
        idf = math.log(1 + (having - len(with_word) + 0.5) / (len(with_word) + 0.5))
        for id in with_word:
            norm = 1.2 * (1 - 0.75 + 0.75 * (lengths[id] / (sum(lengths.values()) / having)))
            often = float(min(counted[id][word], 255))
            scores[id] += idf * (often * (1.2 + 1) / (often + norm))
    return sorted(((id, score) for id, score in scores.items()), key=lambda pair: (-pair[1], pair[0]))


def assert_found(hits, expected, k):
    assert hits.ids[0].tolist() == [id for id, _ in expected[:k]] + [-1] * (k - len(expected[:k]))
    np.testing.assert_array_equal(hits.scores[0, : len(expected[:k])], np.float32([score for _, score in expected[:k]]))


def changed(collection, rows, kind, what):
    if kind == "upsert":
        collection.upsert([id for id, _ in what], [VECTOR] * len(what), [payload for _, payload in what])
        rows.update(what)
    elif kind == "payload":
        collection.set_payloads([what[0]], [what[1]])
        if what[0] in rows:
            rows[what[0]] = what[1]
    elif kind == "delete":
        collection.delete(what)
        for id in what:
            rows.pop(id, None)
    elif kind == "seal":
        collection.settle()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, query=texts, k=st.integers(1, 15))
def test_words_are_found_as_a_count_of_all_live_payloads_finds_them(tmp_path_factory, steps, query, k):
    path = tmp_path_factory.mktemp("db")
    rows = {}
    db = bebr.open(path)
    db.create_collection("docs", dim=3, text=["body", "meta.title"])
    for kind, what in steps:
        if kind == "restart":
            db.close()
            db = bebr.open(path)
        collection = db.collection("docs")
        changed(collection, rows, kind, what)
        assert_found(collection.search(None, k, text=query), bm25(rows, query), k)
    collection, expected = db.collection("docs"), bm25(rows, query)
    few = [id for id, _ in expected if id % 2 == 0]
    found = [pair for pair in expected if pair[0] in few]
    assert_found(collection.search(None, k, text=query, allow=[*few, 99]), found, k)
    of_fox = [pair for pair in expected if "fox" in str((rows[pair[0]] or {}).get("body")) and pair[0] in few]
    matching = {"body": {"contains": "fox"}}
    strings = [pair for pair in of_fox if isinstance(rows[pair[0]]["body"], str)]
    lists = [p for p in of_fox if isinstance(rows[p[0]]["body"], list) and "fox" in rows[p[0]]["body"]]
    both = sorted(strings + lists, key=lambda pair: (-pair[1], pair[0]))
    assert_found(collection.search(None, k, text=query, filter=matching, allow=few or [99]), both, k)
    db.close()


@pytest.fixture
def docs(tmp_path):
    with bebr.open(tmp_path) as db:
        collection = db.create_collection("docs", dim=2, text="body")
        bodies = ["the quick fox", "a lazy dog", "the fox and the dog", "nothing of it"]
        vectors = [[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]]
        collection.upsert([1, 2, 3, 4], vectors, [{"body": body, "n": n} for n, body in enumerate(bodies)])
        yield collection


def test_files_without_words_have_them_made_of_their_payloads(tmp_path):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", dim=2)
        docs.upsert([1, 2], [[1, 0], [0, 1]], [{"body": "quick fox"}, {"body": "dog"}])
        docs.settle()
        row = db._catalog.collection("docs")
        settings = json.loads(row.settings.to_json()) | {"text": ["body"]}
        db._catalog.set_settings(type(row)(row.id, row.name, row.model, Settings.of_json(json.dumps(settings))))
    with bebr.open(tmp_path) as db:
        docs = db.collection("docs")
        assert docs.search(None, 1, text="fox").ids.tolist() == [[1]]
        docs.upsert([3], [[1, 0]], [{"body": "fox fox"}])
        docs.settle()
        assert docs.search(None, 2, text="fox").ids.tolist() == [[3, 1]]


def test_a_search_has_the_rows_of_its_snapshot(docs):
    before = docs.snapshot
    docs.upsert([5], [[1, 0]], [{"body": "fox fox fox"}])
    docs.delete([3])
    assert search_text(before, ["fox"], 3).ids.tolist() == [[1, 3, -1]]
    assert docs.search(None, 3, text="fox").ids.tolist() == [[5, 1, -1]]


def test_words_are_unicode_and_casefolded():
    assert words("Die STRASSE, straße 42 naïve ﬁx") == ["die", "strasse", "strasse", "42", "naïve", "fix"]
    assert words("nai\u0308ve") == ["naïve"]
    assert words("") == words("-- !") == []


def test_rows_in_memory_are_found_as_far_as_a_search_sees_them():
    rng = np.random.default_rng(0)
    rows = [[f"w{n}" for n in rng.integers(0, 50, rng.integers(0, 9))] for _ in range(2000)]
    text = GrowingText(lambda row: json.dumps({"body": " ".join(rows[row])}).encode(), ["body"])
    for seen in (1, 2, 3, 700, 701, 1500, 2000):
        text.read(seen, lambda: None)
    for seen in (0, 2, 513, 1999, 2000):
        view = text.read(seen, lambda: None)
        index = view.index()
        assert view.lengths.tolist() == index.lengths.tolist() == [len(row) for row in rows[:seen]]
        for word in ("w0", "w7", "w49", "absent"):
            expected = [(at, row.count(word)) for at, row in enumerate(rows[:seen]) if word in row]
            for postings in (view, index):
                at, counts = postings.find(word)
                assert list(zip(at.tolist(), counts.tolist(), strict=True)) == expected
