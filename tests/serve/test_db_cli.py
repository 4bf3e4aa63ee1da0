"""`bebr db` over a folder and over a server: from an empty place to hits, and what it says to bad input."""

from __future__ import annotations

import datetime
import itertools
import json
import uuid

import numpy as np
import pytest
from typer.testing import Result

import bebr
from bebr.cli import batches
from bebr.cli.db_query import read_ids
from bebr.vectors import write_vectors
from tests import commands

_names = (f"cli-{i}" for i in itertools.count())


def run(*arguments: object) -> Result:
    return commands.run("db", *arguments)


def done(*arguments: object) -> str:
    return commands.done("db", *arguments).stdout


def refused(*arguments: object) -> str:
    return commands.refused("db", *arguments)


@pytest.fixture(params=["folder", "server"])
def place(request, tmp_path) -> str:
    return str(tmp_path / "data") if request.param == "folder" else request.getfixturevalue("server").target


@pytest.fixture
def name() -> str:
    return next(_names)


@pytest.fixture
def files(tmp_path, vectors, queries, bz):
    """x.npy, q.npy, p.jsonl with ids, x.parquet with id, lang and day, m.safetensors."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_vectors(tmp_path / "x.npy", vectors[:300])
    write_vectors(tmp_path / "q.npy", queries[:3])
    lines = [{"id": f"doc-{i}", "lang": "de" if i % 3 else "en", "n": i} for i in range(300)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    days = [datetime.date(2026, 1, 1) + datetime.timedelta(i) if i else None for i in range(300)]
    table = {"id": range(1000, 1300), "lang": ["de", "en", "fr"] * 100, "day": days, "v": list(vectors[:300])}
    pq.write_table(pa.table(table), tmp_path / "x.parquet", row_group_size=100)
    bz.save(tmp_path / "m.safetensors")
    return tmp_path


def hits_of(*arguments: object) -> list[list[dict]]:
    lines = [json.loads(line) for line in done("query", *arguments, "--json").splitlines()]
    assert [line["query"] for line in lines] == list(range(len(lines)))
    return [line["hits"] for line in lines]


def test_from_an_empty_place_to_hits(place, name, files, vectors):
    assert "64 dimensions, cosine, 40 bytes a code and 128" in done("create", place, name, "--dim", 64, "--bytes", 40)
    load = commands.run(
        "db", "load", place, name, files / "x.npy", "--payloads", files / "p.jsonl", "--id-column", "id"
    )
    assert load.exit_code == 0 and load.stdout == "" and f"{name}: 300 rows written" in load.stderr
    assert name in done("list", place)
    (line,) = [one for one in map(json.loads, done("list", place, "--json").splitlines()) if one["name"] == name]
    assert line["rows"] == 300 and line["dim"] == 64 and line["aliases"] == []
    assert json.loads(done("stats", place, name, "--json"))["rows"] == 300
    assert "300" in done("stats", place, name)

    arguments = (place, name, files / "q.npy", "-k", 4, "--filter", '{"lang": "de"}')
    found = hits_of(*arguments, "--payloads")
    assert [len(hits) for hits in found] == [4, 4, 4]
    assert all(hit["payload"] == {"lang": "de", "n": int(hit["id"][4:])} for hits in found for hit in hits)
    table = done("query", *arguments)
    assert all(hit["id"] in table for hits in found for hit in hits) and "payload" not in table
    assert '{"lang": "de"' in done("query", *arguments, "--payloads")
    near = np.argsort(-(vectors[:300] @ vectors[7]))[1:3]
    assert [hit["id"] for hit in hits_of(place, name, "--ids", "doc-7", "-k", 2)[0]] == [f"doc-{i}" for i in near]
    assert "none" in done("query", place, name, "--ids", "doc-7", "--filter", '{"lang": "fr"}')

    assert done("drop", place, name, "--yes") == f"{name}: dropped\n"
    assert name not in done("list", place)


def test_ids_and_payloads_of_parquet_columns(place, name, files):
    done("create", place, name, "--model", files / "m.safetensors", "--keep", "int8")
    done("load", place, name, files / "x.parquet", "--id-column", "id", "--payload-columns", "lang,day")
    rows = hits_of(place, name, "--ids", "1000,1001", "-k", 300, "--payloads")
    assert {hit["id"] for hit in rows[1]} == {1000, *range(1002, 1300)}
    payloads = {hit["id"]: hit["payload"] for hit in rows[1]}
    assert payloads[1000] == {"lang": "de"} and payloads[1002] == {"lang": "fr", "day": "2026-01-03"}
    done("load", place, name, files / "x.npy", "--limit", 5)  # ids are row numbers
    np.save(files / "ids.npy", np.arange(50, 350))
    done("load", place, name, files / "x.npy", "--ids", files / "ids.npy", "--payloads", files / "x.parquet",
         "--payload-columns", "lang")  # fmt: skip
    assert json.loads(done("stats", place, name, "--json"))["rows"] == 605


def test_a_column_that_no_row_has_is_said(place, name, files):
    done("create", place, name, "--dim", 64)
    arguments = ("load", place, name, files / "x.npy", "--payloads", files / "p.jsonl", "--id-column", "id")
    assert "no row has" not in run(*arguments, "--payload-columns", "lang").stderr
    assert (
        f"{files / 'p.jsonl'}: no row has 'lagn', 'year'\n"
        in run(*arguments, "--payload-columns", "n,year,lagn").stderr
    )


def test_words_find_rows_alone_and_beside_vectors(place, name, files):
    done("create", place, name, "--dim", 64, "--text", "title,lang")
    lines = [{"title": f"the story of {'whales' if i == 42 else 'birds'}", "lang": "en"} for i in range(300)]
    (files / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done("load", place, name, files / "x.npy", "--payloads", files / "t.jsonl")
    words = hits_of(place, name, "--text", "whales", "--text", "birds whales", "-k", 2)
    assert [hit["id"] for hit in words[0]] == [42] and words[1][0]["id"] == 42 and len(words[1]) == 2
    both = hits_of(place, name, files / "q.npy", "--limit", 1, "--text", "whales", "-k", 5)
    assert 42 in [hit["id"] for hit in both[0][:2]] and len(both[0]) == 5


def test_an_interrupted_load_goes_on(place, name, files, monkeypatch):
    done("create", place, name, "--dim", 64)
    monkeypatch.setattr(batches, "_BATCH_ROWS", 100)
    lines = (files / "p.jsonl").read_text().splitlines()
    (files / "bad.jsonl").write_text("\n".join([*lines[:250], "[]", *lines[251:]]))
    arguments = ("--payloads", files / "bad.jsonl", "--id-column", "id")
    error = refused("load", place, name, files / "x.npy", *arguments)
    assert "after row 200 of 300, up to which all are written (--continue goes on there)" in error
    assert "bad.jsonl: line 251: got list, wanted an object" in error
    result = run("load", place, name, files / "x.npy", "--payloads", files / "p.jsonl", "--id-column", "id",
                 "--continue")  # fmt: skip
    assert f"{name}: 100 rows written" in result.stderr and "300 in all" in result.stderr


def test_migrate_waits_until_every_row_has_the_model(place, name, files, bz):
    done("create", place, name, "--dim", 64)
    done("load", place, name, files / "x.npy")
    result = run("migrate", place, name, files / "m.safetensors")
    assert result.exit_code == 0 and f"300 rows have model {bz.digest}" in result.stderr
    assert json.loads(done("stats", place, name, "--json"))["model"]["digest"] == bz.digest


def test_a_server_migrates_by_itself(server, name, files, bz):
    done("create", server.target, name, "--dim", 64)
    assert "is being migrated" in run("migrate", server.target, name, files / "m.safetensors", "--background").stderr


def test_vectors_of_another_producer_are_streamed_from_a_file(place, name, files, vectors, monkeypatch):
    monkeypatch.setattr(batches, "_BATCH_ROWS", 50)
    turned = vectors[:300, ::-1].copy()
    write_vectors(files / "turned.npy", turned[:180])
    write_vectors(files / "all.npy", turned)
    bebr.train(vectors[:, ::-1].copy(), widths=[48, 16], seed=0).save(files / "new.safetensors")
    done("create", place, name, "--dim", 64)
    done("load", place, name, files / "x.npy")
    arguments = "migrate", place, name, files / "new.safetensors", "--vectors"
    assert "180 vectors of model" in (first := run(*arguments, files / "turned.npy").stderr), first
    assert "120 rows have none yet" in first
    assert "120 of 300 rows have no vector of model" in refused("cutover", place, name)
    rest = run(*arguments, files / "all.npy").stderr  # goes on with what is missing
    assert "120 vectors of model" in rest and "every row has one" in rest
    assert "are kept" in done("cutover", place, name, "--keep-old")
    write_vectors(files / "q.npy", turned[5:6])
    hit = json.loads(done("query", place, name, files / "q.npy", "-k", 1, "--nprobe", 3, "--json"))["hits"][0]
    assert hit["id"] == 5
    assert "wait" in done("rollback", place, name)
    first = done("query", place, name, files / "x.npy", "--limit", 1, "-k", 1, "--json")
    assert json.loads(first)["hits"][0]["id"] == 0
    assert "300 rows have model" in done("cutover", place, name)
    assert "is not being migrated by streamed vectors" in refused("rollback", place, name)


def test_ids_are_read_as_they_are_meant():
    some = uuid.uuid4()
    assert read_ids(f"3, doc-1,{some}") == [3, "doc-1", some]
    assert read_ids('["3", 3]') == ["3", 3]


BAD = [
    (("list", "none"), "none: no such folder; a server is HOST:PORT"),
    (("list", "."), "without catalog.db"),
    (("create", "http://localhost:7777", "docs", "--dim", 64), "got a URL, wanted a data folder, or a server as HOST"),
    (("create", "new", "a b", "--dim", 64), "name is 'a b'"),
    (("create", "new", "docs", "--dim", 64, "--index", "tree"), "index is 'tree'"),
    (("create", "new", "docs"), "neither --model nor --dim"),
    (("create", "new", "docs", "--model", "m.safetensors", "--dim", 64), "--model and --dim"),
    (("create", "data", "docs", "--model", "m.safetensors", "--metric", "ip"), "metric is 'ip' beside a model"),
    (("create", "data", "docs", "--dim", 64), "already exists"),
    (("load", "data", "other", "x.npy"), "'other'"),
    (("load", "data", "docs", "q.fvecs"), "q.fvecs: no such file"),
    (("load", "data", "docs", "wide.npy"), "want (n, 64)"),
    (("load", "data", "docs", "x.npy", "--payload-columns", "lang"), "need --payloads beside it, or a .parquet file"),
    (("load", "data", "docs", "x.npy", "--payloads", "few.jsonl"), "got 2 rows, wanted one for each of the 300"),
    (("load", "data", "docs", "x.npy", "--payloads", "p.jsonl", "--id-column", "no"), "row 0 has no 'no'"),
    (("load", "data", "docs", "x.parquet", "--payload-columns", "no"), "'no' is not there; columns: id, lang, day, v"),
    (("load", "data", "docs", "x.npy", "--payloads", "x.npy"), "wanted .jsonl or .parquet"),
    (("load", "data", "docs", "x.npy", "--ids", "few.npy"), "got 7 ids, wanted one for each of the 300"),
    (("load", "data", "docs", "x.npy", "--ids", "few.npy", "--id-column", "id"), "--ids and --id-column"),
    (("load", "data", "docs", "x.npy", "--payloads", "deep.jsonl"), "deep.jsonl: line 2: not JSON: maximum recursion"),
    (("query", "data", "docs"), "got no QUERIES, --text or --ids"),
    (("query", "data", "docs", "q.npy", "--ids", "3"), "got --ids beside QUERIES or --text"),
    (("query", "data", "docs", "q.npy", "--text", "a word"), "q has 3 rows and text 1 entries"),
    (("query", "data", "docs", "q.npy", "--filter", "{lang"), "--filter: got '{lang', which is not JSON"),
    (("query", "data", "docs", "q.npy", "--filter", '{"n": {"gr": 3}}'), "gr"),
    (("query", "data", "docs", "q.npy", "-k", 0), "-k: got 0"),
    (("query", "data", "docs", "--ids", "77"), "77"),
    (("stats", "data", "other"), "'other'"),
    (("migrate", "data", "docs", "x.npy"), "x.npy"),
    (("migrate", "data", "docs", "m.safetensors", "--ids", "x.npy"), "--ids or --id-column without --vectors"),
    (("cutover", "data", "docs"), "is not being migrated by streamed vectors"),
    (("migrate", "data", "docs", "m.safetensors", "--background"), "--background: got a folder"),
    (("drop", "data", "docs"), "--yes: wanted where nobody can be asked"),
    (("drop", "data", "other", "--yes"), "no collection 'other'"),
]  # fmt: skip


def test_bad_input_is_one_line(files, monkeypatch):
    monkeypatch.chdir(files)
    np.save("wide.npy", np.ones((3, 65), np.float32))
    np.save("few.npy", np.arange(7))
    (files / "few.jsonl").write_text("{}\n{}\n")
    deep = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    (files / "deep.jsonl").write_text("\n".join(["{}", deep, *["{}"] * 298]))
    done("create", "data", "docs", "--dim", 64)
    for arguments, message in BAD:
        error = refused(*arguments)
        assert error.startswith("error: ") and message in error, (arguments, error)
    assert not (files / "new").exists()
    with bebr.open("data") as db:
        assert len(db.collection("docs")) == 0
