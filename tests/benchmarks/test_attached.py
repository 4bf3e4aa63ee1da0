"""The benchmark of an attached index, on few rows."""

from __future__ import annotations

import json

from rich.console import Console

from benchmarks import attached


def test_an_index_is_built_attached_served_and_grows(tmp_path):
    few = ["--rows", "6e3", "--more", "1500", "--dim", "32", "--bytes", "16", "--nlist", "32", "--rescore", "200"]
    where = ["--folder", str(tmp_path / "a"), "--json", str(tmp_path / "a.json")]
    console = Console(file=(tmp_path / "out").open("w"), width=200)
    attached.main([*few, *where], console)
    (first,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert first["found"] == 1 and first["recall"] > 0.8 and first["recall_after"] > 0.8
    assert first["build"] > 0 and first["attach"] > 0 and first["upsert"] > 0
    attached.main([*few, *where], console)  # goes on from what is there
    (again,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert (again["build"], again["attach"], again["upsert"]) == (0, 0, 0) and again["recall_after"] > 0.8
