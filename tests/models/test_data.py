"""Data modules over small sources made here: archives, apt lists, WordNet lines, judgements. Nothing is fetched."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest

from bebr.models.data import MissingSource, debian, npm, openclipart, relevance, sources, split, wordnet
from bebr.models.data.__main__ import main


@pytest.fixture(autouse=True)
def _empty(cache: Path) -> None:
    """Every test starts with an empty cache of built sets."""


# npm


def test_files_of_an_archive(package):
    made = package("@scope/things", {"a.json": [1], "b/c.json": [2], "other": b"x"})
    assert made.file == "scope-things-1.0.0.tgz"
    assert npm.read(made, ["b/c.json", "a.json"]) == [b"[2]", b"[1]"]
    with pytest.raises(ValueError, match=r"scope-things-1.0.0.tgz: has no d.json"):
        npm.read(made, ["d.json"])


def test_an_archive_that_is_not_the_one_expected_is_refused(cache, package):
    made = package("things", {"a": b"1"})
    path = cache / "npm" / made.file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"things 1.0.0: integrity sha512-.*, expected sha512-.*delete it and try"):
        npm.read(made, ["a"])


def test_an_archive_that_cannot_be_fetched_says_where_to_put_it(cache):
    with pytest.raises(MissingSource, match=r"gone: cannot be .*npm pack gone@2.0.0.* put gone-2.0.0.tgz into .*npm"):
        npm.read(npm.Package("gone", "2.0.0", "sha512-x"), ["a"])
    assert not list(cache.rglob("*.tgz"))


def test_what_a_registry_sends_is_checked_and_kept(cache, package, monkeypatch):
    made = package("@scope/sent", {"a": b"1"})
    path = cache / "npm" / made.file
    sent = path.read_bytes()
    path.unlink()
    asked = []

    def open_(address, timeout):
        asked.append(address)
        return io.BytesIO(sent if len(asked) > 1 else b"something else")

    monkeypatch.setattr(npm.urllib.request, "urlopen", open_)
    with pytest.raises(ValueError, match=r"@scope/sent 1.0.0: integrity .*what the registry sent"):
        npm.archive(made)
    assert not path.exists()
    assert npm.read(made, ["a"]) == npm.read(made, ["a"]) == [b"1"]
    assert asked == ["http://127.0.0.1:9/@scope/sent/-/sent-1.0.0.tgz"] * 2


def test_the_registry_is_the_one_npm_uses(tmp_path, monkeypatch):
    assert npm.registry() == "http://127.0.0.1:9/"
    monkeypatch.delenv("npm_config_registry")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".npmrc").write_text("; mine\nregistry = https://npm.example\n//npm.example/:_authToken=x\n")
    assert npm.registry() == "https://npm.example/"
    (tmp_path / ".npmrc").unlink()
    monkeypatch.setattr(npm.shutil, "which", lambda name: None)
    with pytest.raises(MissingSource, match="npm: no registry is set: export npm_config_registry="):
        npm.registry()


# Splits and checksums


def test_a_split_is_fixed_by_seed_and_key():
    keys = [f"k{i}" for i in range(5000)]
    parts = split(keys)
    assert sorted(row for rows in parts.values() for row in rows) == list(range(5000))
    assert abs(len(parts["train"]) - 4000) < 120 and abs(len(parts["test"]) - 500) < 90
    assert parts["test"] != split(keys, seed=1)["test"]
    # neither order nor company moves a key
    shuffled = keys[::-2]
    assert {shuffled[row] for row in split(shuffled)["test"]} == {keys[row] for row in parts["test"]} & set(shuffled)
    assert [keys[row] for row in parts["test"]] == sorted(keys[row] for row in parts["test"])
    # and the draw is that of every machine: these were computed once
    assert [row for row in range(60) if row in set(parts["test"])] == [29, 32, 35, 47, 55, 57]


def test_equal_keys_stay_together():
    parts = split(["a", "b", "a", "c", "b"] * 20, {"x": 0.5, "y": 0.5})
    for rows in parts.values():
        assert {row % 5 for row in rows} in (
            {0, 2},
            {1, 4},
            {3},
            {0, 1, 2, 4},
            {0, 2, 3},
            {1, 3, 4},
            set(range(5)),
            set(),
        )


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}])
def test_shares_are_parts_of_one(shares):
    with pytest.raises(ValueError, match="wanted parts of 1 that sum to 1"):
        split(["a"], shares)


def test_a_changed_source_is_told(monkeypatch):
    monkeypatch.setitem(sources.EXPECTED, "thing", sources.checksum(["a", "b"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sources.verified("thing", sources.checksum(["a", "b"]))
    with pytest.warns(UserWarning, match="thing: the source here is not the one the published figures were"):
        sources.verified("thing", sources.checksum(["ab"]))


def test_kept_arrays_are_made_once_and_checked(cache):
    made = []

    def make():
        made.append(1)
        return {"x": np.arange(6).reshape(3, 2).T, "y": np.ones(2)}

    first, again = sources.kept("set", make), sources.kept("set", make)
    assert made == [1] and np.array_equal(first["x"], again["x"])
    path = cache / "set.x.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"set.x.npy: checksum .*, recorded .*: delete set.json to build the set"):
        sources.kept("set", make)
    path.unlink()
    with pytest.raises(ValueError, match=r"set.x.npy: is gone, but set.json lists it"):
        sources.kept("set", make)


def test_an_interrupted_build_leaves_no_set(cache):
    def fail():
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        sources.kept("set", fail)
    assert sources.kept("set", lambda: {"x": np.zeros(1)})["x"].tolist() == [0]


# Texts

TRANSLATION = """Package: cat
Description-md5: 1
Description-en: prints files
 Prints each file
 in turn.
 .
 Twice.

Package: dog
Description-md5: 2
Description-en: barks

Package: cat
Description-en: an older cat
 Old.
"""
PACKAGES = """Package: cat
Description: prints files
Tag: role::program, use::viewing,
 interface::commandline
Section: utils

Package: bird
Tag: role::plugin
"""


def test_debian_joins_descriptions_and_tags(tmp_path):
    with pytest.raises(MissingSource, match="apt-get update -o Acquire::Languages=en"):
        debian.load(tmp_path)
    (tmp_path / "x_main_i18n_Translation-en").write_text(TRANSLATION)
    (tmp_path / "x_main_binary-amd64_Packages").write_text(PACKAGES)
    tags = ("interface::commandline", "role::program", "use::viewing")
    cat = debian.Described("cat", "prints files", "Prints each file in turn. Twice.", tags)
    assert debian.load(tmp_path) == [cat, debian.Described("dog", "barks", "", ())]
    assert sum(map(len, debian.parts(debian.load(tmp_path)).values())) == 2


NOUN = (
    "  1 This is the licence, which is left out.\n"
    "00001740 03 n 02 big_cat 0 cat 0 002 @ 00002000 n 0000 ~ 00003000 n 0101 | a large cat; as in: a lion; "
    '"a big cat roared"; "cats sleep"  \n'
    "00002000 03 n 01 animal 0 000 | a living thing  \n"
)
ADJECTIVE = "00003000 00 s 01 feline(p) 0 001 & 00002000 n 0000 | of cats  \n"


def test_wordnet_synsets(tmp_path):
    with pytest.raises(MissingSource, match=r"data.noun is absent: apt-get install wordnet-base"):
        wordnet.load(tmp_path)
    for part, text in (("noun", NOUN), ("verb", ""), ("adj", ADJECTIVE), ("adv", "")):
        (tmp_path / f"data.{part}").write_text(text)
    with pytest.warns(UserWarning, match="wordnet: the source here is not the one"):
        big, animal, feline = wordnet.load(tmp_path)
    assert (big.key, big.words) == ("n00001740", ("big cat", "cat"))
    assert (big.definition, big.examples) == ("a large cat; as in: a lion", ("a big cat roared", "cats sleep"))
    assert big.pointers == (("@", "n00002000"), ("~", "n00003000"))
    assert animal.pointers == () and feline.key == "a00003000" and feline.words == ("feline",)
    (tmp_path / "data.verb").write_text("00001 29 v zz\n")
    with pytest.raises(ValueError, match=r"data.verb: line 1: not a synset"):
        wordnet.load(tmp_path)


def test_wordnet_as_debian_ships_it():
    if not (wordnet.FOLDER / "data.noun").is_file():
        pytest.skip("wordnet-base is not installed")
    synsets = wordnet.load()
    keys = {one.key for one in synsets}
    assert len(synsets) == len(keys) == 117_659 and sum(len(one.words) for one in synsets) == 206_978  # wnstats(7WN)
    assert all(target in keys for one in synsets for _, target in one.pointers)


DRAWING = """<svg xmlns="http://www.w3.org/2000/svg"><metadata><rdf:RDF><cc:Work rdf:about="">
<dc:title>A &amp; B</dc:title><dc:subject><rdf:Bag><rdf:li>hash</rdf:li><rdf:li></rdf:li>
<rdf:li>red  fish</rdf:li><rdf:li>sea</rdf:li><rdf:li>sea</rdf:li></rdf:Bag></dc:subject>
<dc:publisher><cc:Agent><dc:title>Somebody</dc:title></cc:Agent></dc:publisher></cc:Work></rdf:RDF></metadata><g>"""


def test_openclipart_titles_and_keywords(tmp_path):
    with pytest.raises(MissingSource, match="apt-get install openclipart-svg"):
        openclipart.load(tmp_path)
    (tmp_path / "svg" / "animals" / "sea").mkdir(parents=True)
    (tmp_path / "png" / "animals" / "sea").mkdir(parents=True)
    (tmp_path / "svg" / "animals" / "sea" / "fish.svg").write_text(DRAWING)
    (tmp_path / "svg" / "animals" / "plain.svg").write_text("<svg/>")
    (tmp_path / "png" / "animals" / "sea" / "fish.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="openclipart: the source here"):
        [clip] = openclipart.load(tmp_path)
    assert (clip.key, clip.category, clip.title) == ("animals/sea/fish", "animals/sea", "A & B")
    assert clip.keywords == ("red fish", "sea") and clip.text == "A & B: red fish, sea"
    assert clip.png == tmp_path / "png" / "animals" / "sea" / "fish.png"


# Judgements


def test_judgements_in_smart_files(tmp_path):
    (tmp_path / "cran.all.1400").write_text(
        ".I 1\n.T\nwings\n.A\nx.\n.W\nwings in air\n.I 2\n.T\n.W\n.I 3\n.T\nheat\n.W\nflow of\nheat\n"
    )
    (tmp_path / "cran.qry").write_text(".I 001\n.W\nwhat of wings\n.I 004\n.W\nwhat of heat\n")
    (tmp_path / "cranqrel").write_text("1 1 2\n1 2 3\n1 3 -1\n2 3 4\n")
    judged = relevance.load(tmp_path)
    assert judged.documents == {"1": "wings in air", "3": "heat flow of heat"}
    assert judged.queries == {"1": "what of wings", "2": "what of heat"}
    assert judged.grades == {"1": {"1": 1}, "2": {"3": 1}}
    (tmp_path / "cranqrel").write_text("1 9 2\n")
    with pytest.raises(ValueError, match=r"cranqrel: line 1: document '9' is not in the set"):
        relevance.load(tmp_path)
    (tmp_path / "cranqrel").write_text("1 1 2\nx\n")
    with pytest.raises(ValueError, match=r"cranqrel: line 2: wanted numbers"):
        relevance.load(tmp_path)


def test_judgements_as_beir_lays_them_out(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "a"}\n{"_id": "d2", "text": "b"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "x"}\n{"_id": "q2", "text": "y"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t2\nq2\td1\t0\n")
    judged = relevance.load(tmp_path)
    assert judged.documents == {"d1": "T a", "d2": "b"} and judged.grades == {"q1": {"d2": 2}}
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1 d2 2\n")
    with pytest.raises(ValueError, match=r"test.tsv: line 2: wanted query, document and a whole grade between tabs"):
        relevance.load(tmp_path)
    (tmp_path / "corpus.jsonl").write_text('{"id": "d1"}\n')
    with pytest.raises(ValueError, match=r"corpus.jsonl: line 1: wanted an object with _id and text"):
        relevance.load(tmp_path)


def test_judgements_that_are_not_there(tmp_path):
    with pytest.raises(MissingSource, match=r"wanted corpus.jsonl, queries.jsonl and qrels/\*.tsv, or the SMART files"):
        relevance.load(tmp_path / "none")


def test_the_command_says_what_is_there_and_what_is_not(tmp_path, cache, capsys, monkeypatch):
    (tmp_path / "cran.all").write_text(".I 1\n.W\nwings\n")
    (tmp_path / "cran.qry").write_text(".I 1\n.W\nwings?\n")
    (tmp_path / "cran.rel").write_text("1 1\n")
    assert main(["relevance", "--folder", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "relevance: 1 documents, 1 queries, 1 relevant pairs, checksum" in out and f"kept in {cache}" in out
    assert main(["emoji", "relevance"]) == 1
    out = capsys.readouterr().out
    assert "cannot be fetched" in out and "relevance: say where the set lies: --folder PATH" in out
    with pytest.raises(SystemExit):
        main(["smells"])
