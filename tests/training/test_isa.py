"""Every instruction set trains the same model and makes the same codes, to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bebr

CODE = """
import hashlib, sys
import bebr
from tests.conftest import clustered

x = clustered(600, 40)
model = bebr.train(x, widths=sys.argv[1].split("+"), metric=sys.argv[2])
print(bebr.info()["isa"], model.digest, hashlib.sha256(model.encode(x).planes).hexdigest())
"""


def trained(isa: str, widths: str, metric: str) -> tuple[str, str]:
    """Digests of model and codes in a process of their own."""
    command = [sys.executable, "-c", CODE, widths, metric]
    result = subprocess.run(
        command,
        env=os.environ | {"BEBR_ISA": isa},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    used, model, codes = result.stdout.split()
    assert used == isa
    return model, codes


# Many bits a dimension: most codes lie near a border of the grid, where a different last bit of a sum shows.
@pytest.mark.parametrize(("widths", "metric"), [("40+40+40+40+40+40", "cosine"), ("40+40+40+32", "l2")])
def test_the_model_does_not_depend_on_the_instruction_set(widths, metric):
    isas = bebr.info()["runnable_isas"]
    if len(isas) == 1:
        pytest.skip("this machine runs scalar only")
    first, *others = [trained(isa, widths, metric) for isa in isas]
    assert others == [first] * len(others)
