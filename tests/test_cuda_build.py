"""What nvcc made of the kernels: no spills, tensor cores used, nothing fused, nothing of CUDA needed to load it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

SPEC = importlib.util.find_spec("bebr._cuda")
PACKAGED = Path(sysconfig.get_path("purelib"), "nvidia/cu13/bin/cuobjdump")
CUOBJDUMP = str(PACKAGED) if PACKAGED.exists() else shutil.which("cuobjdump")

pytestmark = pytest.mark.skipif(SPEC is None, reason="bebr._cuda is not built: no nvcc 13 was found")
needs_cuobjdump = pytest.mark.skipif(CUOBJDUMP is None, reason="no cuobjdump here (pip install --group cuda)")

# Registers that a kernel may take on any architecture: with more, fewer blocks run side by side.
MOST_REGISTERS = {
    "scan_kernel": 168,
    "scan_wide_kernel": 255,  # a block has a multiprocessor to itself
    "complete_kernel": 48,
    "complete_rest_kernel": 48,
    "best_kernel": 48,
    "product_kernel": 128,
    "assign_kernel": 128,
    "look_kernel": 128,
    "choose_kernel": 48,
    "place_kernel": 48,
    "scatter_kernel": 48,
    "answer_kernel": 48,
    "descend_kernel": 48,
    "enter_kernel": 48,
    "measure_kernel": 48,
    "add_kernel": 48,
    "plane_kernel": 48,
    "approximate_kernel": 48,
    "norms_kernel": 48,
}
# What may be fused: the float product, whose specification says so; and the steps of a division or a root.
FUSED = {
    "product_kernel": "FFMA",
    "assign_kernel": "FFMA",
    "look_kernel": "FFMA",
    "answer_kernel": "FFMA",
    "enter_kernel": "DFMA",
    "measure_kernel": "FFMA",
    "add_kernel": "DFMA",
}


def extension() -> str:
    assert SPEC is not None and SPEC.origin is not None
    return SPEC.origin


def dump(*options: str) -> str:
    assert CUOBJDUMP is not None
    return subprocess.run([CUOBJDUMP, *options, extension()], capture_output=True, text=True, check=True).stdout


@needs_cuobjdump
def test_registers_and_spills() -> None:
    used = re.findall(r"Function (\S+):\s*REG:(\d+) STACK:(\d+) \S+ LOCAL:(\d+)", dump("-res-usage"))
    assert {name for name in MOST_REGISTERS for function, *_ in used if name in function} == set(MOST_REGISTERS)
    for function, registers, stack, local in used:
        most = next(most for name, most in MOST_REGISTERS.items() if name in function)
        assert int(registers) <= most and int(stack) == int(local) == 0, (function, registers, stack, local)


@needs_cuobjdump
def test_the_scan_multiplies_on_tensor_cores_and_nothing_else_is_fused() -> None:
    code = dump("-sass")
    for function in code.split("Function : ")[1:]:
        name = function.split()[0]
        assert ("IMMA" in function) == ("scan_kernel" in name), name
        assert ("IGMMA" in function) == ("scan_wide_kernel" in name), name
        allowed = {word for kernel, word in FUSED.items() if kernel in name}
        assert {word for word in ("FFMA", "DFMA") if word in function} == allowed, name


def test_it_is_small_and_needs_no_library_of_cuda() -> None:
    assert Path(extension()).stat().st_size < 2 << 20
    if ldd := shutil.which("ldd"):
        needed = subprocess.run([ldd, extension()], capture_output=True, text=True, check=True).stdout
        assert "cuda" not in needed.replace(extension(), "").lower().replace("_cuda", "")


@needs_cuobjdump
def test_products_by_wgmma_overlap() -> None:
    """Where ptxas cannot follow registers, it waits for each product at once, and says so in a remark alone."""
    code = next(text for text in dump("-sass").split("Function : ")[1:] if "scan_wide_kernel" in text.split()[0])
    assert code.count("gsb0, 0x1") == code.count("IGMMA") / 2 == 2 * code.count("gsb0, 0x0")
