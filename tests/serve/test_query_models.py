"""Models that queries named stay in memory, but not without bound."""

from __future__ import annotations

from types import SimpleNamespace

from bebr.serve.query_models import QueryModels


def test_the_latest_used_stay():
    kept = QueryModels(most_bytes=100)
    models = {name: SimpleNamespace(digest=name) for name in "abcd"}
    for name in "ab":
        assert kept.keep(models[name], 40) is models[name]
    assert kept.get("a") is models["a"]  # now the later used
    kept.keep(models["c"], 40)
    assert kept.get("b") is None and kept.get("a") is models["a"] and kept.get("c") is models["c"]
    kept.keep(models["d"], 1000)  # larger than the bound: it alone
    assert kept.get("d") is models["d"] and kept.get("a") is None


def test_calls_that_load_a_model_at_once_get_one_object():
    kept = QueryModels()
    first, second = (SimpleNamespace(digest="a") for _ in range(2))
    assert kept.keep(first, 1) is first and kept.keep(second, 1) is first
