"""Prompts that can be read back, replies of every shape, and the stand-in that answers from the text fields alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bebr.models.taggpt import KeyPhrases, prompts
from bebr.models.taggpt.replies import MOST, normal, parse


@pytest.mark.parametrize(
    ("reply", "tags"),
    [
        ("Red wine, cooking, Red Wine", ["red wine", "cooking"]),
        ("Sure! Here are some tags:\n1. Red wine\n2) cooking.\n- “3D printing”\n* **c#**", None),
        ("12||red wine||cooking||3d printing||c#", None),
        ("Tags: red wine; cooking | 3d printing、c#", None),
        ('["red wine", "cooking", "3D printing", "c#"]', None),
        ('```json\n{"note": "as you wished", "tags": ["red wine", "cooking", "3d printing", "c#"]}\n```', None),
        ('["red wine", "cooking", "3d printing", "c#', None),  # cut off
        ("red wine，cooking；3d  printing\t`c#`", None),
        ("I am sorry, but as a language model I cannot tell what this item is about.", ["i am sorry"]),
        ("", []),
        ("...\n---\n***", []),
        ("{}", []),
        ("[[[1, null]]]", []),
        ("[" * 100_000, []),
        ("node.js, .net, c++", ["node.js", "net", "c++"]),
        ("一般, 技术", ["一般", "技术"]),
    ],
)
def test_tags_are_found_in_what_models_write(reply, tags):
    assert parse(reply) == (["red wine", "cooking", "3d printing", "c#"] if tags is None else tags)


def test_a_model_that_never_stops_is_cut():
    assert parse(", ".join(f"tag {i}" for i in range(10_000))) == [f"tag {i}" for i in range(MOST)]
    assert parse("a, b, c", most=2) == ["a", "b"]


_words = st.text(st.characters(codec="utf-8") | st.sampled_from(" ,|;.'\"“#*-[]{}:\n12"), max_size=80)


@given(_words)
def test_any_text_is_read_and_normal_tags_stay_as_they_are(text):
    tags = parse(text)
    assert len(set(tags)) == len(tags)
    assert normal(normal(text)) == normal(text)
    for tag in tags:
        assert normal(tag) == tag != ""


@given(st.lists(_words.map(normal).filter(bool), unique=True, max_size=20))
def test_lists_come_back_from_every_form(tags):
    tags = [tag for tag in tags if parse(tag) == [tag]]  # "tags: x" and "1. x" are read as a form of x
    assert parse(", ".join(tags)) == tags
    assert parse("7||" + "||".join(tags)) == tags  # numbered, as the released code asks for it
    assert parse(json.dumps(tags)) == tags
    assert parse("\n".join(f"{number}. {tag}" for number, tag in enumerate(tags, 1))) == tags


# Prompts

TEXT_FIELDS = {"title": "A red\nhouse, by the sea", "caption": "", "category": "art"}


def test_a_prompt_holds_the_text_fields_and_an_example_that_the_seed_draws():
    prompt = prompts.generation(TEXT_FIELDS)
    assert prompt.endswith("\n\nClues:\ntitle: A red house, by the sea\ncategory: art\nTags:")
    assert prompt == prompts.generation(dict(TEXT_FIELDS)) and prompt.count("Clues:") == 2
    assert len({prompts.generation(TEXT_FIELDS, seed) for seed in range(40)}) == 5
    assert "title: A re\n" in prompts.generation(TEXT_FIELDS, cut=4)
    assert "\nCandidates: sea, house\nTags:" in prompts.selection(TEXT_FIELDS, ["sea", "house"])


@given(
    st.dictionaries(st.sampled_from(["title", "caption", "ocr text"]), _words, min_size=1),
    st.none() | st.lists(st.sampled_from(["sea", "red house", "c#"]), unique=True),
)
def test_prompts_are_read_back_whatever_the_text_fields_say(text_fields, candidates):
    if not prompts.has_text(text_fields):
        with pytest.raises(ValueError, match="text_fields: nothing is said in any field of"):
            prompts.generation(text_fields)
        return
    prompt = prompts.generation(text_fields) if candidates is None else prompts.selection(text_fields, candidates)
    told = {name: " ".join(text.split()) for name, text in text_fields.items() if text.strip()}
    assert prompts.read(prompt) == prompts.Asked(told, candidates)


def test_bad_text_fields_and_foreign_prompts_are_named():
    for name in ("a:b", " ", "Tags", "Candidates", "Clues"):
        with pytest.raises(ValueError, match="field name"):
            prompts.generation({name: "x"})
    with pytest.raises(ValueError, match="cut: got 0"):
        prompts.generation(TEXT_FIELDS, cut=0)
    with pytest.raises(ValueError, match=r"prompt: not one of bebr.models.taggpt.prompts"):
        KeyPhrases().complete("What is the capital of France?")


# The stand-in


def test_key_phrases_are_runs_of_words_and_their_ends():
    prompt = prompts.generation({"title": "A lightweight text editor with syntax highlighting for the desktop."})
    quiet = KeyPhrases(noise=0).complete(prompt)
    assert parse(quiet[0]) == [
        *("lightweight text editor", "text editor", "syntax highlighting"),
        *("editor", "highlighting", "desktop"),
    ]
    assert KeyPhrases(size=2, noise=0).complete(prompt) == ["lightweight text editor, text editor"]


def test_candidates_are_chosen_by_the_words_that_the_text_fields_hold():
    prompt = prompts.selection({"title": "Two text editors"}, ["text editor", "image editor", "wine"])
    assert KeyPhrases(noise=0).complete(prompt) == ["text editor, image editor"]
    assert KeyPhrases().complete(prompts.selection({"title": "bread"}, ["wine"])) == [""]


def test_answers_differ_among_themselves_and_repeat_under_a_seed():
    prompt = prompts.generation({"title": "fast sorting, stable sorting, radix trees, suffix arrays, bloom filters"})
    first = KeyPhrases(size=4).complete(prompt, 5)
    assert len(set(first)) > 1 and first == KeyPhrases(size=4).complete(prompt, 5)
    assert first[:2] == KeyPhrases(size=4).complete(prompt, 2) and first != KeyPhrases(size=4, seed=1).complete(
        prompt, 5
    )
    for options, told in (({"size": 0}, "size: got 0"), ({"noise": -1}, "noise: got -1")):
        with pytest.raises(ValueError, match=told):
            KeyPhrases(**options)
