"""Every instruction set trains the same model and makes the same codes, to the bit."""

from __future__ import annotations

import pytest

from tests.isas import answers

CODE = """
import hashlib, sys
import bebr
from tests.conftest import clustered

x = clustered(600, 40)
model = bebr.train(x, widths=sys.argv[1].split("+"), metric=sys.argv[2])
print(bebr.info()["isa"], model.digest, hashlib.sha256(model.encode(x).planes).hexdigest())
"""


# Many bits a dimension: most codes lie near a border of the grid, where a different last bit of a sum shows.
@pytest.mark.parametrize(("widths", "metric"), [("40+40+40+40+40+40", "cosine"), ("40+40+40+32", "l2")])
def test_the_model_does_not_depend_on_the_instruction_set(widths, metric):
    first, *others = answers(CODE, widths, metric).values()  # digests of model and codes
    assert others == [first] * len(others)
