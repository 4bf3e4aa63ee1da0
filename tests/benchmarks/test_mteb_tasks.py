"""Texts become tasks with right answers; tests/integrations/test_mteb.py has mteb itself evaluate one."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs producers: pip install 'bebr[models]'")
from bebr.models.data import MissingSource
from bebr.models.data.debian import Described
from bebr.models.data.wordnet import Synset
from benchmarks import mteb_tasks


def meaning(key: str, definition: str, *words: str) -> Synset:
    return Synset(key, words, definition, (), ())


def test_definitions_ask_for_all_words_that_have_them(monkeypatch):
    synsets = [meaning("n1", "a pet that purrs", "cat"), meaning("n2", "a pet that barks", "dog", "hound")]
    synsets.append(meaning("v1", "a pet that purrs", "puss"))
    monkeypatch.setattr(mteb_tasks.wordnet, "load", lambda: synsets)
    judged = mteb_tasks.of_wordnet(count=3, queries=2)
    right = {judged.queries[query]: set(grades) for query, grades in judged.grades.items()}
    assert right == {"a pet that purrs": {"cat", "puss"}, "a pet that barks": {"dog", "hound"}}
    assert judged.documents == {word: word for word in ("cat", "puss", "dog", "hound")}
    assert len(mteb_tasks.of_wordnet(count=3, queries=1).queries) == 1


def test_synopses_ask_for_the_descriptions_of_their_packages(monkeypatch):
    packages = [Described("vim", "editor", "Edits text.", ()), Described("ed", "editor", "Edits lines.", ())]
    packages += [Described("nano-copy", "editor", "Edits text.", ()), Described("none", "no text", "", ())]
    monkeypatch.setattr(mteb_tasks.debian, "load", lambda: packages)
    judged = mteb_tasks.of_debian()
    assert set(judged.documents.values()) == {"Edits text.", "Edits lines."}
    [(_, grades)] = judged.grades.items()
    assert set(grades) == set(judged.documents) and list(judged.queries.values()) == ["editor"]


def test_a_score_too_far_from_exact_search_is_a_miss():
    def row(task, size, score):
        return {"task": task, "documents": 9, "queries": 3, "bytes": size, "ndcg_at_10": score, "recall_at_100": 0.9}

    rows = [row("a", None, 0.5), row("a", 52, 0.4), row("a", 196, 0.491)]
    rows += [row("b", None, 0.5), row("b", 196, 0.511)]
    assert mteb_tasks.missed(rows) == ["b"]
    assert mteb_tasks.table_of(rows).row_count == 5


def test_what_is_not_there_is_said(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(mteb_tasks, "load", lambda *_, **__: None)
    monkeypatch.setattr(mteb_tasks, "Encoder", lambda producer: producer)

    def absent():
        raise MissingSource("wordnet: absent: apt-get install wordnet-base")

    monkeypatch.setitem(mteb_tasks._BUILT, "wordnet", absent)
    assert mteb_tasks.main(["wordnet"]) == 2 and "apt-get install wordnet-base" in capsys.readouterr().out
    assert (
        mteb_tasks.main(["words"]) == 2 and "wanted one of wordnet, debian, or NAME=FOLDER" in capsys.readouterr().out
    )
    assert mteb_tasks.main([f"mine={tmp_path}"]) == 2 and "wanted corpus.jsonl" in capsys.readouterr().out
