"""The sweep measures what it says: recall of the same index at every setting, and cold reads of its file."""

from __future__ import annotations

import json

import bebr
from benchmarks import datasets, rescore


def test_a_run_ends_in_rows_of_every_setting(vectors, queries, tmp_path, monkeypatch, capsys):
    data = datasets.Dataset("made up", "cosine", "none", vectors, vectors, queries)
    monkeypatch.setattr(datasets, "load", lambda name: data)
    bebr.train(vectors, widths=[48, 8], seed=0).save(tmp_path / "m.safetensors")
    counts = "--nlist 8 --nprobe 8 --rescore 0 20 100 --queries 50 --singles 3 --rounds 1 --k 10 30"
    target = tmp_path / "rescore.json"
    assert rescore.main([*counts.split(), "--models", str(tmp_path / "m.safetensors"), "--json", str(target)]) == 0
    rows = json.loads(target.read_text())["rows"]
    swept, cold = [r for r in rows if "recall" in r], [r for r in rows if "milliseconds" in r]
    # 20 rows are too few for 30 results.
    each = ((10, 0), (10, 20), (10, 100), (30, 0), (30, 100))
    settings = [(kind, *setting) for kind in ("float16", "int8") for setting in each]
    assert [(r["kind"], r["k"], r["rescore"]) for r in swept] == settings
    by_code, some, most = (r["recall"] for r in swept[:3])
    assert by_code < some < most <= 1 and all(r["batch"] > 0 and r["single"] > 0 for r in swept)
    assert len(cold) == 8 and {r["cold"] for r in cold} == {True, False}
    assert all(r["milliseconds"] > 0 for r in cold)
