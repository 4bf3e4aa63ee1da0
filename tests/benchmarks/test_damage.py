"""Forty damages of a data folder: none silent, none fatal, none that costs a collection which the file is not of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

from benchmarks.damage import Report

# It forks. A process of its own, for Python may crash in a child of one that has had threads of many libraries.
RUN = """
import json, sys
from pathlib import Path
from benchmarks.damage import run
print(json.dumps(vars(run(40, 7, Path(sys.argv[1])))))
"""


def test_no_damage_is_silent(tmp_path):
    done = subprocess.run([sys.executable, "-c", RUN, tmp_path], stdout=subprocess.PIPE, text=True, check=True)
    report = Report(**json.loads(done.stdout))
    report.costs = {kind: Counter(costs) for kind, costs in report.costs.items()}
    assert (report.count, report.silent, report.crashes, report.bystanders) == (40, [], [], [])
    assert sum(costs.total() for costs in report.costs.values()) == 40
    assert len(report.costs) >= 5  # kinds of files
    # The benchmark must notice what it looks for: damaged segments and models do cost somebody something.
    for kind in ("segments", "models"):
        assert report.costs.get(kind, {}).get("0 collections", 0) == 0
