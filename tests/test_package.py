"""The public face, and what `import bebr` may load."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bebr
from tests.isas import ARM, ISAS


def test_import_loads_no_heavy_module():
    heavy = ["torch", "grpc", "sqlalchemy", "pyarrow", "ray", "matplotlib", "typer", "rich", "safetensors"]
    code = f"import bebr, sys; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_training_and_encoding_load_no_torch():
    code = (
        "import bebr, numpy as np, sys; x = np.random.default_rng(0).standard_normal((500, 16)).astype('f4');"
        "bebr.train(x, bytes_per_vector=6).encode(x); print('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


def test_a_forked_process_works_and_ends():
    """The child has none of its parent's threads: it starts its own, and at its end waits for those alone."""
    code = (
        "import bebr, numpy as np, os, signal; bebr.set_num_threads(4);"
        "x = np.random.default_rng(0).standard_normal((2000, 16)).astype('f4');"
        "bz = bebr.train(x, widths=[16], seed=0);"
        "child = os.fork(); signal.alarm(60); bz.encode(x);"
        "assert child == 0 or os.waitpid(child, 0)[1] == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist_and_are_documented():
    for name in bebr.__all__:
        assert getattr(bebr, name).__doc__, name


def test_info_names_the_machine():
    info = bebr.info()
    assert info["isa"] in info["runnable_isas"]
    runnable = info["runnable_isas"]
    up_to_best = list(ISAS[: ISAS.index(runnable[-1]) + 1])
    assert [isa for isa in up_to_best if isa in runnable or isa != "avxvnni"] == runnable


def test_isa_is_capped_and_checked():
    def run(value: str) -> subprocess.CompletedProcess[str]:
        env = {"BEBR_ISA": value, "PATH": "/usr/bin:/bin"}
        code = f"import sys; sys.path[:0] = {sys.path!r}; import bebr; print(bebr.info()['isa'])"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)

    assert run("scalar").stdout.strip() == "scalar"
    for unknown in ("sse9", "avx2" if ARM else "neon"):  # another architecture's is refused, and not taken for a cap
        wrong = run(unknown)
        want = f"BEBR_ISA is '{unknown}': want {', '.join(ISAS[:-1])} or {ISAS[-1]}"
        assert wrong.returncode != 0 and want in wrong.stderr


def test_what_packages_leave_out_is_named_from_the_root():
    """A bare "data" would also leave out models/data, in wheels only: an editable installation finds it anyway."""
    settings = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    [left_out] = re.findall(r"^sdist\.exclude = \[(.*)\]$", settings, re.MULTILINE)
    assert all(one.startswith("/") for one in re.findall(r'"([^"]+)"', left_out))


def test_type_checkers_may_use_the_annotations():
    assert (Path(bebr.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", ["_core", "_front", "_cuda"])
def test_an_extension_that_was_built_can_be_loaded(name: str) -> None:
    """Else the server would answer by Python alone, with a warning, and the tests of the front would be skipped."""
    if importlib.util.find_spec(f"bebr.{name}") is None:
        pytest.skip(f"bebr.{name} is not in this build")
    importlib.import_module(f"bebr.{name}")
