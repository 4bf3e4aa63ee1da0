"""``benchmarks.pages``: an index is asked in every way, and says what pages it lies in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import bebr
from benchmarks import pages
from benchmarks.before_after import Side
from tests.conftest import clustered

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc and prctl")


def test_every_way_answers_the_same_and_a_process_without_large_pages_has_none(tmp_path: Path) -> None:
    x = clustered(500, 32)
    index = pages.make("graph", bebr.untrained(32, 20), len(x))
    index.add(x)
    index.save(tmp_path / "graph.bebr")
    np.save(tmp_path / "queries.npy", x[:20])
    asked = [tmp_path / "graph.bebr", tmp_path / "queries.npy"]
    sides = [Side(Path(sys.executable), pages.WORKER, *asked, way, "ef_search", "[10]") for way in pages.WAYS]
    try:
        answers = [
            {name: text for name, text in side.digests.items() if name not in ("found", "pages")} for side in sides
        ]
        assert answers[0] == answers[1] == answers[2] and sorted(answers[0]) == ["batch 10", "single 10"]
        held, large = json.loads(sides[1].digests["pages"])
        assert held > 10 << 20 and large == 0
        rows = pages.compare("graph", sides, 1)
    finally:
        for side in sides:
            side.close()
    assert [(row.case, row.way) for row in rows] == [
        (case, way) for case in ("batch 10", "single 10") for way in pages.WAYS
    ]
    assert all(row.ratio == 1 for row in rows if row.way == "memory") and min(row.speed for row in rows) > 0
