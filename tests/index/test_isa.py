"""Every instruction set finds the same in the same graph, to the bit, one query at a time and in batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bebr

CODE = """
import hashlib, sys
import numpy as np
import bebr

index = bebr.open_index(sys.argv[1])
queries = np.load(sys.argv[2])
taken = hashlib.sha256()
for size in (1, 7, len(queries)):
    hits = index.search(queries[:size], 10, ef_search=40)
    taken.update(hits.ids.tobytes() + hits.scores.tobytes())
print(bebr.info()["isa"], taken.hexdigest())
"""


@pytest.mark.parametrize("size", [40, 64])  # all of a code in the first line of a node, and not
def test_a_graph_answers_the_same_on_every_instruction_set(vectors, queries, tmp_path, size):
    isas = bebr.info()["runnable_isas"]
    if len(isas) == 1:
        pytest.skip("this machine runs scalar only")
    index = bebr.GraphIndex(bebr.train(vectors, bytes_per_vector=size, metric="cosine", seed=0))
    index.add(vectors)
    index.save(tmp_path / "graph.bebr")
    np.save(tmp_path / "queries.npy", queries)
    found = {}
    for isa in isas:
        command = [sys.executable, "-c", CODE, str(tmp_path / "graph.bebr"), str(tmp_path / "queries.npy")]
        result = subprocess.run(
            command,
            env=os.environ | {"BEBR_ISA": isa},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        used, found[isa] = result.stdout.split()
        assert used == isa
    assert len(set(found.values())) == 1, found
