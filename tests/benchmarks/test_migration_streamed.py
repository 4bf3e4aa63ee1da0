"""The benchmark of a migration to another producer's vectors, on few rows."""

from __future__ import annotations

import bebr
from bebr.training.compat.compatible import make_compatible
from benchmarks import migration_streamed


def test_no_search_fails_on_the_way_from_one_producer_to_another(tmp_path):
    old, new = migration_streamed.generated(4000, 200, dim=64)
    first = bebr.untrained(64, 26)
    model = make_compatible(bebr.untrained(64, 26, seed=1), first, new.train, old.train, epochs=0)
    report = migration_streamed.run(tmp_path, old, new, first, model, kills=1)
    assert not report.failed and not report.behind and report.kills == 1, report
    assert report.renewed <= 1 and report.searches > 0 and report.after >= report.alone - 0.01, report
