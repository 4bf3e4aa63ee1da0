"""From text fields to payloads: the vocabulary, both taggers, recorded answers, a collection filtered by tags."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import bebr
from bebr.models.taggpt import (
    Coded,
    Exact,
    GenerativeTagger,
    KeyPhrases,
    LanguageModelError,
    Replay,
    SelectiveTagger,
    Vocabulary,
    build,
    prompts,
)
from bebr.models.taggpt.port import ask
from bebr.models.taggpt.vocabulary import Entry, counted, frequent

_spec = importlib.util.spec_from_file_location("taggpt_reference", Path(__file__).with_name("reference.py"))
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

ITEMS = [
    {"title": "Text editor for programmers", "about": "edits text files, with syntax highlighting"},
    {"title": "Text editors compared", "about": "text files and syntax highlighting in seven editors"},
    {"title": "Red wine for beginners", "about": "tasting wines, red wine and white wine"},
    {"title": "Cooking with red wine", "about": "recipes for cooking meat"},
    {"title": "  ", "about": ""},
    {"title": "Syntax highlighting by trees", "about": "parsing text files"},
]
MATCHINGS = [Exact(), Coded(24), Coded(24, nlist=2, nprobe=2)]


# The vocabulary


def test_frequent_tags_are_kept_and_merged_into_the_most_frequent(pieces, scripted):
    named = {"Text": "text editor, text editors", "Red": "red wine, text editor", "Cooking": "red wines, red wine"}
    model = scripted(lambda prompt, _: named.get(prompts.read(prompt).text_fields["title"].split()[0], "rare"))
    vocabulary = build(ITEMS, model, pieces, Exact(), samples=2, least=3, radius=0.8)
    # 2 answers of each of 2 items begin with "Text"; the item without text fields is not asked about
    assert vocabulary.entries == (Entry("text editor", 6, ("text editors",)), Entry("red wine", 4))
    assert len(model.asked) == 5
    apart = build(ITEMS, model, pieces, Exact(), samples=2, least=1, radius=1.0)
    assert apart.tags == ["text editor", "red wine", "text editors", "rare", "red wines"]
    with pytest.raises(ValueError, match="items: of 6, no tag was named 99 times"):
        build(ITEMS, model, pieces, Exact(), least=99)


def test_counts_are_of_answers_and_ties_go_by_name():
    counts = counted(["b, a, b", "a. c", "c; b"])
    assert counts == Counter({"b": 2, "a": 1, "a. c": 1, "c": 1})
    assert frequent(counts, 1) == [("b", 2), ("a", 1), ("a. c", 1), ("c", 1)]
    with pytest.raises(ValueError, match="least: got 0"):
        frequent(counts, 0)


@pytest.mark.parametrize("matching", MATCHINGS[1:], ids=["flat", "lists"])
def test_codes_build_the_vocabulary_that_floats_build(pieces, matching):
    options = {"samples": 3, "least": 2, "radius": 0.75}
    exact = build(ITEMS, KeyPhrases(), pieces, Exact(), **options)
    assert build(ITEMS, KeyPhrases(), pieces, matching, **options) == exact
    assert any(entry.merged for entry in exact.entries)


def test_a_vocabulary_is_kept_in_a_file(tmp_path):
    path = tmp_path / "tags.jsonl"
    vocabulary = Vocabulary((Entry("wein", 3, ("weiß",)), Entry("技术", 2)))
    vocabulary.save(path)
    assert Vocabulary.load(path) == vocabulary and len(path.read_text("utf-8").splitlines()) == 2
    assert Vocabulary.of(["Red Wine", "red wine.", "", "sea"]).tags == ["red wine", "sea"]
    for line, told in (
        ("{", "line 1: not an entry"),
        ("3", "line 1: not an entry"),
        ('{"tag": "a"}', "line 1: not an entry of a vocabulary: 'count'"),
        ('{"tag": "a", "count": 1, "merged": [2]}', "line 1: not an entry of a vocabulary: wanted a string"),
        ('{"tag": "a", "count": "1"}', "line 1: not an entry of a vocabulary: wanted a whole number"),
        ('{"tag": "A", "count": 1}', "got 'A', wanted a tag as replies.normal gives it"),
        ('{"tag": "a", "count": 1, "merged": ["a"]}', "'a' is there twice"),
    ):
        path.write_text(line + "\n")
        with pytest.raises(ValueError, match=f"tags.jsonl: .*{told}"):
            Vocabulary.load(path)
    with pytest.raises(FileNotFoundError, match="no such vocabulary"):
        Vocabulary.load(tmp_path / "gone.jsonl")


# The taggers

TAGS = Vocabulary.of(["text editor", "text file", "syntax highlighting", "red wine", "white wine", "cooking", "recipe"])


@pytest.mark.parametrize("matching", MATCHINGS, ids=["exact", "flat", "lists"])
def test_late_matching_is_that_of_the_plain_loops(pieces, matching):
    tagger = GenerativeTagger(KeyPhrases(), pieces, TAGS, matching, samples=3, radius=0.6)
    chosen = tagger.tag(ITEMS)
    assert chosen[4] == [] and chosen[0][0].tag == "text editor"
    for text_fields, found in zip(ITEMS, chosen, strict=True):
        if prompts.has_text(text_fields):
            [votes] = tagger.free([text_fields])
            texts = [*TAGS.tags, *votes]
            vectors = dict(zip(texts, pieces.embed(texts), strict=True))
            assert found == reference.late(votes, vectors, TAGS.tags, 0.6)


@pytest.mark.parametrize("matching", MATCHINGS, ids=["exact", "flat", "lists"])
def test_early_matching_offers_the_nearest_tags_of_each_text_field(pieces, matching):
    tagger = SelectiveTagger(KeyPhrases(noise=0), pieces, TAGS, matching, candidates=2, samples=1)
    texts = [*TAGS.tags, *(text for text_fields in ITEMS for text in text_fields.values())]
    vectors = dict(zip(texts, pieces.embed(texts), strict=True))
    for text_fields, offered in zip(ITEMS, tagger.offered(ITEMS), strict=True):
        assert set(offered) == reference.early(text_fields, vectors, TAGS.tags, 2)
        assert offered == sorted(offered, key=TAGS.tags.index)
    assert [one.tag for one in tagger.tag(ITEMS[2:3])[0]] == ["red wine", "white wine"]


def test_only_what_was_offered_is_chosen_and_votes_rank_it(pieces, scripted):
    answers = ["cooking, red wine, caviar", "red wine", "RED WINE., white wine"]
    model = scripted(lambda _, sample: answers[sample])
    tagger = SelectiveTagger(model, pieces, TAGS, Exact(), candidates=7, samples=3)
    assert tagger.tag(ITEMS[3:4]) == [[("red wine", 3), ("white wine", 1), ("cooking", 1)]]
    assert tagger.tag(ITEMS[3:4], most=1) == [[("red wine", 3)]]
    assert "Candidates: text editor, text file, syntax highlighting, red wine" in model.asked[0]


def test_votes_count_each_answer_that_names_a_tag(pieces, scripted):
    answers = ["red wines", "red wine, cooking", "red wine"]
    tagger = GenerativeTagger(scripted(lambda _, n: answers[n]), pieces, TAGS, Exact(), samples=3, radius=0.8)
    assert tagger.tag([ITEMS[3]]) == [[("red wine", 3), ("cooking", 1)]]
    assert tagger.tag([]) == [] and tagger.tag([{"title": " "}, {}]) == [[], []]


def test_bad_arguments_are_named(pieces):
    for kind, options, told in (
        (GenerativeTagger, {"radius": 1.5}, "radius: got 1.5, wanted a cosine"),
        (SelectiveTagger, {"candidates": 0}, "candidates: got 0"),
    ):
        with pytest.raises(ValueError, match=told):
            kind(KeyPhrases(), pieces, TAGS, Exact(), **options)
    with pytest.raises(ValueError, match="vocabulary: got no tag"):
        GenerativeTagger(KeyPhrases(), pieces, Vocabulary(()), Exact())
    with pytest.raises(ValueError, match="most: got 0"):
        GenerativeTagger(KeyPhrases(), pieces, TAGS, Exact()).tag(ITEMS, most=0)
    for options in ({"samples": 0}, {"workers": 0}):
        with pytest.raises(ValueError, match=r"(n|workers): got 0"):
            GenerativeTagger(KeyPhrases(), pieces, TAGS, Exact(), **options).tag(ITEMS)


# The port


def test_answers_are_waited_for_together_and_stay_in_order(scripted):
    together = threading.Barrier(3, timeout=10)

    def slow(prompt: str, _: int) -> str:
        together.wait()  # breaks unless three are asked at once
        return prompt

    assert list(ask(scripted(slow), list("abcdef"), 1, workers=3)) == [[letter] for letter in "abcdef"]


def test_after_a_failure_nothing_more_is_asked(scripted):
    def fail(prompt: str, _: int) -> str:
        raise LanguageModelError(f"no answer to {prompt}")

    for workers in (1, 2):
        model = scripted(fail)
        with pytest.raises(LanguageModelError, match="no answer to 0"):
            list(ask(model, list(map(str, range(1000))), 1, workers))
        assert len(model.asked) < 100
    short = scripted(lambda *_: "a")
    short.complete = lambda prompt, n: ["a"]
    with pytest.raises(LanguageModelError, match="scripted: got 1 answers, wanted 2 strings"):
        list(ask(short, ["x"], 2))


# Recorded answers


def test_answers_are_recorded_once_and_given_again(tmp_path, scripted):
    path = tmp_path / "answers.jsonl"
    model = scripted(lambda prompt, sample: f"{prompt} {sample}\n\ud800")
    recorder = Replay(path, model)
    assert recorder.complete("a", 2) == recorder.complete("a", 2) and len(model.asked) == 1
    assert recorder.complete("a", 1) == ["a 0\n\ud800"]
    recorder.complete("b")
    replay = Replay(path)
    assert replay.complete("a", 2) == recorder.complete("a", 2) and len(replay) == 2
    with pytest.raises(KeyError, match="holds 1 of 2 answers to the prompt 3e23e8160039, which ends in 'b'"):
        replay.complete("b", 2)
    assert len(Replay(path, model).complete("b", 2)) == 2 and len(Replay(path).complete("b", 2)) == 2
    assert json.loads(path.read_text().splitlines()[0])["by"] == "scripted"


def test_a_run_that_was_killed_while_writing_goes_on(tmp_path, scripted):
    path = tmp_path / "answers.jsonl"
    model = scripted(lambda prompt, _: prompt.upper())
    for prompt in "ab":
        Replay(path, model).complete(prompt)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="the last line is cut off"):
        Replay(path)
    again = Replay(path, model)
    assert again.complete("a") == ["A"] and again.complete("b") == ["B"] and model.asked == ["a", "b", "b"]
    assert len(Replay(path)) == 2


def test_foreign_and_damaged_recordings_are_refused(tmp_path, scripted):
    path = tmp_path / "answers.jsonl"
    Replay(path, KeyPhrases()).complete(prompts.generation(ITEMS[0]))
    with pytest.raises(ValueError, match=r"line 1: answered by 'key phrases.*', but 'scripted' is to be recorded"):
        Replay(path, scripted(lambda *_: ""))
    for line in ("{}", "[]", "nonsense", '{"prompt": "a", "by": "b", "replies": [1]}'):
        path.write_text(line + "\n")
        with pytest.raises(ValueError, match=r"answers.jsonl: line 1: "):
            Replay(path)
    with pytest.raises(FileNotFoundError, match="no such file of recorded answers"):
        Replay(tmp_path / "gone.jsonl")
    with pytest.raises(FileNotFoundError, match=r"the folder .* does not exist"):
        Replay(tmp_path / "gone" / "a.jsonl", KeyPhrases())
    with pytest.raises(ValueError, match="path, model: got neither"):
        Replay(None)


# Tags as payload


def test_tags_become_payload_and_filter_a_search(tmp_path, pieces):
    titles = [text_fields["title"] for text_fields in ITEMS if text_fields["title"].strip()]
    text_fields = [text_fields for text_fields in ITEMS if text_fields["title"].strip()]
    tagger = SelectiveTagger(KeyPhrases(), pieces, TAGS, samples=3, candidates=3)
    payloads = [
        {"title": one["title"], "tags": [tag for tag, _ in tags]}
        for one, tags in zip(text_fields, tagger.tag(text_fields), strict=True)
    ]
    x = pieces.embed(titles)
    with bebr.open(tmp_path / "data") as database:
        collection = database.create_collection("docs", bebr.train(x, bytes_per_vector=24, metric="cosine"))
        collection.upsert(np.arange(len(x)), x, payloads)
    with bebr.open(tmp_path / "data") as database:
        collection = database.collection("docs")
        ids = np.arange(len(collection))
        payloads = [row.payload for row in collection.get(ids)]
        about_wine = [i for i, held in zip(ids, payloads, strict=True) if "red wine" in held["tags"]]
        assert [titles[i] for i in about_wine] == ["Red wine for beginners", "Cooking with red wine"]
        query = pieces.embed(["text editor"])
        assert collection.search(query, k=1).ids[0, 0] in (0, 1)  # what is nearest of all
        hits = collection.search(query, k=3, allow=about_wine, with_payloads=True)
        assert set(hits.ids[0].tolist()) == {*about_wine, -1}
        assert all("red wine" in held["tags"] for held in hits.payloads[0] if held is not None)
