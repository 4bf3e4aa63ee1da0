"""CLIP's byte pairs: the published vocabulary's order of ids, another library's tokens, merges learned from texts."""

from __future__ import annotations

import gzip
import json
from collections import Counter

import pytest

pytest.importorskip("tokenizers", reason="tokenizers is absent: pip install 'bebr[models]'")

from bebr.models.rils.tokens import BASE, Tokens, learn

TEXTS = [
    "The dog's red CAT!",
    "dogs, cats: 2023 & naïve café 猫\u200d👩 don't",
    "",
    "  white \t space\n",
    "re-redo can't we'll I'd ⅧÅ\u0041\u030a _x_",
]


def test_ids_are_in_the_published_order(merges):
    tokens = Tokens.read(merges, BASE + 6, 77)
    # printable ASCII from "!" is 0, the same as the end of a word from 256, then merges, then the two marks
    assert tokens(["! a dog"]).tolist() == [[518, 256, 256 + ord("a") - ord("!"), 513, 519]]
    assert tokens(["cat do"]).tolist() == [[518, 515, ord("d") - ord("!"), 256 + ord("o") - ord("!"), 519]]
    assert tokens(["cat", ""]).tolist() == [[518, 515, 519], [518, 519, 0]]
    # 0xe7 and 0xab are printable in Latin-1; 0x8c is not, and such bytes come last
    assert tokens(["猫"])[0, 1:-1].tolist() == [94 + 12 + 0xE7 - 174, 188 + 33 + 0x8C - 127, 256 + 94 + 0xAB - 161]


def test_long_texts_keep_their_end(merges):
    tokens = Tokens.read(merges, BASE + 6, 5)
    assert tokens(["dog dog dog dog dog"]).tolist() == [[518, 513, 513, 513, 519]]


def test_transformers_agrees(tmp_path):
    transformers = pytest.importorskip("transformers", minversion="5")  # older ones split some text otherwise
    learned = learn(TEXTS + ["the theme thesis then café cafés naïve"] * 3, 40)
    tokens = Tokens(learned, 77)
    tokens.save(tmp_path / "merges.txt")
    vocabulary = tokens._tokenizer.get_vocab()
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    theirs = transformers.CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    for text in TEXTS:
        assert [one for one in tokens([text])[0]] == theirs(text)["input_ids"], text


def test_merges_are_the_most_frequent_neighbours():
    """Against counting everything anew for each merge."""
    texts = ["low lower lowest", "new newer newest wide wider widest", "low low new", "hello ll lll llll", "aaa aaaa"]
    words = Counter(word for text in texts for word in text.split())
    parts = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    wanted = []
    while len(wanted) < 30:
        pairs = Counter()
        for word, split in parts.items():
            for i in range(len(split) - 1):
                pairs[split[i], split[i + 1]] += words[word]
        made = {"".join(pair) for pair in wanted}
        left = [(-count, pair) for pair, count in pairs.items() if "".join(pair) not in made]
        if not left:
            break
        best = min(left)[1]
        wanted.append(best)
        for split in parts.values():
            at = 0
            while at < len(split) - 1:
                if (split[at], split[at + 1]) == best:
                    split[at : at + 2] = ["".join(best)]
                at += 1
    assert learn(texts, 30) == wanted and len(wanted) > 20
    assert learn(texts[::-1], 30) == wanted and learn([], 5) == []
    assert learn(texts, 3) == wanted[:3]


def test_the_archived_file_is_read_too(merges, tmp_path):
    whole = merges.read_bytes() + b"x y\nz z\n"  # CLIP's file has far more lines than its vocabulary takes
    (tmp_path / "bpe.txt.gz").write_bytes(gzip.compress(whole))
    tokens = Tokens.read(tmp_path / "bpe.txt.gz", BASE + 6, 77)
    assert tokens.merges == Tokens.read(merges, BASE + 6, 77).merges
    tokens.save(tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_bytes() == merges.read_bytes()


def test_bad_vocabularies_are_named(merges, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"vocabulary: .*none.txt: no such file; wanted merges.txt or bpe_simple"
    ):
        Tokens.read(tmp_path / "none.txt", BASE, 77)
    with pytest.raises(ValueError, match="has 6 merges, wanted 48,894"):
        Tokens.read(merges, 49_408, 77)
    with pytest.raises(ValueError, match="context: got 1, wanted at least 2"):
        Tokens.read(merges, BASE + 6, 1)
    path = tmp_path / "bad.txt"
    for text, message in (
        ("heading\na b c\n", "line 2: got 'a b c', wanted two parts of a word"),
        ("heading\nab c\n", "the merge 'ab c' comes before 'ab' is made"),
        ("heading\na b\nb c\nab c\na bc\n", "'abc' comes out twice"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            Tokens.read(path, BASE + text.count("\n") - 1, 77)
    (tmp_path / "bad.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"bad.gz: not readable"):
        Tokens.read(tmp_path / "bad.gz", BASE, 77)
