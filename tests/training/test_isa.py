"""Every instruction set trains the same model and makes the same codes, to the bit."""

from __future__ import annotations

from tests.isas import answers

CODE = """
import hashlib
import bebr
from tests.conftest import clustered

x = clustered(600, 40)
print(bebr.info()["isa"])
# Many bits a dimension: most codes lie near a border of the grid, where a different last bit of a sum shows.
for widths, metric in (([40] * 6, "cosine"), ([40, 40, 40, 32], "l2")):
    model = bebr.train(x, widths=widths, metric=metric, rounds=15)
    print(model.digest, hashlib.sha256(model.encode(x).planes).hexdigest())
"""


def test_the_model_does_not_depend_on_the_instruction_set():
    first, *others = answers(CODE).values()  # digests of models and codes
    assert len(first) == 4
    assert others == [first] * len(others)
