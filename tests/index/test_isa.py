"""Every instruction set finds the same in the same graph, to the bit, one query at a time and in batches."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from tests.isas import answers

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


# All of a code in the first line of a node, and not; neighbours' bytes in it.
@pytest.mark.parametrize(("size", "inline"), [(40, 0), (64, 0), (64, 32)])
def test_a_graph_answers_the_same_on_every_instruction_set(vectors, queries, tmp_path, size, inline):
    index = bebr.GraphIndex(bebr.untrained(64, size), inline=inline)
    index.add(vectors)
    index.save(tmp_path / "graph.bebr")
    np.save(tmp_path / "queries.npy", queries)
    first, *others = answers(CODE, str(tmp_path / "graph.bebr"), str(tmp_path / "queries.npy")).values()
    assert others == [first] * len(others)
