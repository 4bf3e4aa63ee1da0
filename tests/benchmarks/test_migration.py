"""The benchmark of a migration, on few rows."""

from __future__ import annotations

from benchmarks import migration


def test_no_search_fails_while_a_collection_gets_another_model(tmp_path):
    report = migration.run(tmp_path, 4000, 1)
    assert report.good, report
    assert report.kills == 1 and report.searches > 0 and report.code_after > report.code_before
