"""`bebr tag` over every kind of input, by key phrases, recorded answers and a server on the loopback interface."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import Result

import bebr
from tests.commands import run
from tests.models.taggpt.conftest import Pieces, answer, choices

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

LINES = ["A text editor for programmers", "", "Text editors for programmers, compared", "Red wine for beginners"]


@pytest.fixture(autouse=True)
def package(tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that offers the toy encoder."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "toy_pieces.py").write_text("from tests.models.taggpt.conftest import Pieces\n")
    facts = folder / "toy_pieces-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-pieces\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[bebr.producers]\npieces = toy_pieces:Pieces\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "toy_pieces", raising=False)


def tag(source: Path, output: Path, *arguments: object, llm: object = "phrases") -> Result:
    return run("tag", source, "--producer", "pieces", "--llm", llm, "-o", output, *arguments)


def tagged(
    source: Path, *arguments: object, llm: object = "phrases", suffix: str = ".jsonl"
) -> list[dict[str, object]]:
    output = source.parent / f"out{suffix}"
    result = tag(source, output, *arguments, llm=llm)
    assert result.exit_code == 0, result.output
    assert result.stdout == "" and f"{output}: " in result.stderr
    if suffix == ".parquet":
        return pq.read_table(output).to_pylist()
    return [json.loads(line) for line in output.read_text("utf-8").splitlines()]


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("\n".join(LINES) + "\n")
    return tmp_path / "a.txt"


def test_tags_of_lines(lines):
    rows = tagged(lines, "--least", 2, "--samples", 2)
    assert [row["item"] for row in rows] == LINES
    assert rows[1] == {"item": "", "tags": [], "votes": []}
    assert "red wine" in rows[3]["tags"] and rows[3]["votes"] == sorted(rows[3]["votes"], reverse=True)
    assert rows == tagged(lines, "--least", 2, "--samples", 2, "--exact")
    assert rows == tagged(lines, "--least", 2, "--samples", 2, suffix=".parquet")
    assert [len(row["tags"]) for row in tagged(lines, "--least", 1, "--most", 1)] == [1, 0, 1, 1]
    assert len(tagged(lines, "--limit", 1)) == 1


def test_a_vocabulary_is_kept_and_used_again(lines):
    tags = lines.with_name("tags.jsonl")
    first = tagged(lines, "--least", 2, "--merge", 0.8, "--save-vocabulary", tags)
    held = [json.loads(line) for line in tags.read_text().splitlines()]
    assert any("text editors" in {one["tag"], *one["merged"]} for one in held)
    assert first == tagged(lines, "--vocabulary", tags)
    tags.write_text('{"tag": "red wine", "count": 1}\n{"tag": "text editor", "count": 1}\n')
    rows = tagged(lines, "--vocabulary", tags, "--tagger", "selective", "--candidates", 1)
    assert [row["tags"] for row in rows] == [["text editor"], [], ["text editor"], ["red wine"]]


def test_a_binarizer_that_is_there_already(lines):
    bz = bebr.train(Pieces().embed([f"text {i}" for i in range(300)]), bytes_per_vector=24, metric="cosine")
    bz.save(lines.with_name("m.safetensors"))
    more = ("--model", lines.with_name("m.safetensors"), "--least", 2)
    assert tagged(lines, *more) == tagged(lines, "--exact", "--least", 2)
    assert tagged(lines, *more, "--rescore", "none") != []


def test_fields_become_text_fields(tmp_path):
    records = [{"title": f"Item {i}", "about": "red wine and white wine", "n": i} for i in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    fields = ("--field", "title", "--field", "about", "--record", tmp_path / "kept.jsonl")
    rows = tagged(tmp_path / "a.jsonl", *fields)
    assert [row["item"] for row in rows] == ["Item 0", "Item 1", "Item 2"] and "red wine" in rows[0]["tags"]
    assert rows == tagged(tmp_path / "a.parquet", *fields)
    assert rows == tagged(tmp_path / "a.parquet", *fields[:4], llm=tmp_path / "kept.jsonl")


def test_a_server_and_a_run_that_goes_on(lines, server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-1")
    kept = lines.with_name("kept.jsonl")
    options = ("--llm-model", "m", "--api-key-env", "MY_KEY", "--samples", 2, "--least", 2, "--record", kept)
    server.script = [choices("red wine", "red wine, cooking"), lambda handler: answer(handler, 401, b"no more")]
    result = tag(lines, lines.with_name("out.jsonl"), *options, llm=server.url)
    assert result.exit_code == 2 and result.stderr.startswith("error: http://127.0.0.1") and "401" in result.stderr
    assert not lines.with_name("out.jsonl").exists() and len(kept.read_text().splitlines()) == 1
    assert server.seen[0][1]["Authorization"] == "Bearer sk-1"
    server.script = [choices("red wine", "red wine, cooking")]
    server.seen.clear()
    rows = tagged(lines, *options, "--workers", 2, llm=server.url)
    assert len(server.seen) == 2  # one of three items with text fields was recorded, and the second pass asks nothing
    assert rows[0]["tags"] == ["red wine", "cooking"] and rows[0]["votes"] == [2, 1]


def test_what_is_wrong_is_one_line_and_leaves_no_file(lines, monkeypatch):
    folder = lines.parent
    (folder / "empty.txt").write_text("")
    (folder / "a.jsonl").write_text('{"title": "a"}')
    (folder / "bad.jsonl").write_text("{")
    monkeypatch.delenv("NO_KEY", raising=False)
    url = "http://127.0.0.1:9/v1"
    for source, llm, *options, message in [
        ("a.txt", "gpt", "--llm: got 'gpt', wanted an address (https://host/v1), a .jsonl of answers, or phrases"),
        ("a.txt", url, "--llm-model: got none"),
        ("a.txt", url, "--llm-model", "m", "--api-key-env", "NO_KEY", "the environment has no variable 'NO_KEY'"),
        ("a.txt", "phrases", "--llm-model", "m", "are for a server's address, but --llm is 'phrases'"),
        ("a.txt", folder / "gone.jsonl", "gone.jsonl: no such file of recorded answers"),
        ("a.txt", folder / "bad.jsonl", "bad.jsonl: the last line is cut off"),
        ("a.txt", "phrases", "--vocabulary", folder / "gone.jsonl", "gone.jsonl: no such vocabulary"),
        ("a.txt", "phrases", "--vocabulary", "x", "--save-vocabulary", "y", "got both, wanted one of them"),
        ("a.txt", "phrases", "--save-vocabulary", folder / "y.txt", "got suffix '.txt', wanted one of .jsonl"),
        ("a.txt", "phrases", "--least", 99, "no tag was named 99 times"),
        ("a.txt", "phrases", "--merge", 2, "radius: got 2.0, wanted a cosine"),
        ("a.txt", "phrases", "--samples", 0, "--samples: got 0, wanted at least 1"),
        ("a.txt", "phrases", "--most", 0, "--most: got 0, wanted at least 1"),
        ("a.txt", "phrases", "--field", "a", "--text-column and --image-column are for .jsonl and .parquet"),
        ("a.jsonl", "phrases", "--field", "about", "no key 'about'; keys: title"),
        ("a.jsonl", "phrases", "--field", "title", "--field", "title", "--field: got title, title, wanted each once"),
        ("empty.txt", "phrases", "empty.txt: got no row"),
        ("gone.txt", "phrases", "gone.txt: no such file or folder"),
        (".", "phrases", "got a folder, but pieces takes text"),
    ]:
        for name in ("o.jsonl", "o.parquet"):
            result = tag(folder / source, folder / name, *options, llm=llm)
            assert result.exit_code == 2 and result.stdout == "", (options, result.output)
            assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
            assert message in result.stderr
            assert not list(folder.glob("o.*"))
    assert "'.csv', wanted one of .parquet, .jsonl" in tag(lines, folder / "o.csv").stderr
