"""A server whose settled files are searched on a device (emulated): the front leaves these searches to Python."""

from __future__ import annotations

import pytest

import bebr
from bebr import device
from bebr.store.database import Database
from tests.commands import run
from tests.conftest import clustered
from tests.serve.fronted import Fronted, answered

EMULATED = device.found("emulated")


@pytest.mark.skipif(isinstance(EMULATED, str), reason=f"emulated kernels: {EMULATED}")
def test_the_front_answers_nothing_that_a_device_is_to_search(tmp_path):
    pytest.importorskip("bebr._front", reason="built without libnghttp2")
    x, q = clustered(300, 32), clustered(3, 32, seed=5)
    with Database(tmp_path) as db:
        docs = db.create_collection("docs", bebr.untrained(32, 10))
        docs.upsert(range(300), x)
        docs.settle()
        db.create_collection("fresh", bebr.untrained(32, 10)).upsert(range(50), x[:50])
        want = docs.search(q, 7, exact=True)
    served = Fronted(tmp_path, database={"device": "emulated"})
    try:
        with bebr.connect(served.target) as client:
            docs, fresh = client.collection("docs"), client.collection("fresh")
            with answered(served, 0):
                found = docs.search(q, 7)
            assert found.ids.tolist() == want.ids.tolist() and found.scores.tolist() == want.scores.tolist()
            assert docs.stats().rows_by_device == {"emulated": 300}
            assert fresh.stats().rows_by_device == {}
            with answered(served, 1):  # no row of it is in a file
                fresh.search(q, 7)
    finally:
        served.stop()


def test_the_device_is_an_option_like_others(tmp_path, monkeypatch):
    (tmp_path / "bebr.toml").write_text("device_memory_mb = 2048\n")
    monkeypatch.setenv("BEBR_SERVE_DEVICE", "cuda:1")
    printed = run("serve", tmp_path / "data", "--config", tmp_path / "bebr.toml", "--print-config").stdout.splitlines()
    assert 'device = "cuda:1"  # environment' in printed and "device_memory_mb = 2048  # file" in printed
    refused = run("serve", tmp_path / "data", "--device", "gpu")
    assert refused.exit_code == 2 and "device is 'gpu': want 'cpu', 'cuda' or 'cuda:N'" in refused.stderr
    refused = run("serve", tmp_path / "data", "--producer-device", "cuda")
    assert refused.exit_code == 2 and "--producer-device and --option are of a producer" in refused.stderr
    if isinstance(why := device.found(), str):
        refused = run("serve", tmp_path / "data")
        assert refused.exit_code != 0 and f"device='cuda:1': {why}" in refused.stderr
