"""`bebr plan`: what it prints, what it ends with, and what it says to bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import bebr
from bebr.cli import plan as verb
from bebr.vectors import write_vectors
from tests.commands import done, refused, run


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray) -> Path:
    path: Path = tmp_path_factory.mktemp("plan") / "x.npy"
    write_vectors(path, vectors[:600, :32])
    return path


def test_the_plan_is_that_of_python_and_names_the_next_commands(file: Path) -> None:
    plan = bebr.plan(np.load(file), target_recall=0.7, k=5, seed=3)
    asked = ("plan", file, "--target-recall", 0.7, "-k", 5, "--seed", 3)
    assert json.loads(done(*asked, "--json").stdout) == plan.to_dict() | {"memory_limit": None, "holds": True}
    told = done(*asked).stdout
    assert told.startswith(
        f"{plan.bytes_per_vector} bytes a vector, planes {'+'.join(map(str, plan.widths))}: recall@5"
    )
    assert f"{plan.adc.recall:.3f} ± {plan.adc.error:.3f} of float queries" in told
    assert f"bebr train VECTORS -o model.safetensors --bytes {plan.bytes_per_vector} --metric cosine" in told
    assert "--index flat" in told and told.count("±") == 2 + 2 * len(plan.trials)


def test_a_memory_and_a_recall_that_no_code_holds_end_with_1(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run("plan", file, "--target-recall", 0.95, "--memory", "9kB", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["bytes_per_vector"] == 7 and found["memory"] == 9000 and not found["holds"]
    assert found["wanted"]["adc"]["recall"] >= 0.95 and found["wanted"]["memory"] > 9000
    verb._show(found)
    told = capsys.readouterr().out
    assert told.startswith("7 bytes a vector") and "No code holds both: recall 0.95 takes" in told
    assert "and there are 9 kB." in told


def test_without_vectors_the_largest_code_that_fits() -> None:
    told = done("plan", "--dim", 384, "--rows", "1e8", "--memory", "8GiB").stdout
    assert (
        "recall unknown without vectors; 100,000,000 rows take" in told and "in an IVF index, 154 GB as float32" in told
    )
    found = json.loads(done("plan", "--dim", 384, "--rows", "100M", "--memory", "8GiB", "--json").stdout)
    assert found["bytes_per_vector"] == 73 and found["widths"] == list(bebr.untrained(384, 73).widths)
    assert found["memory"] <= found["memory_limit"] == 8 << 30
    flat = json.loads(
        done("plan", "--dim", 384, "--rows", "1,000", "--memory", "60k", "--index", "flat", "--json").stdout
    )
    assert flat["bytes_per_vector"] == 52 and flat["memory"] == 60_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "got neither VECTORS nor --dim"),
        (("x.npy", "--dim", 8), "got VECTORS and --dim"),
        (("--dim", 8, "--memory", "1GiB"), "got no --rows"),
        (("--dim", 8, "--rows", 9), "got no --memory"),
        (("--dim", 5000, "--rows", 9, "--memory", "1GiB"), "--dim"),
        (("--dim", 8, "--rows", 9, "--memory", "1GiB", "--target-recall", 0.9), "--target-recall: got no VECTORS"),
        (("--dim", 8, "--rows", "0", "--memory", "1GiB"), "--rows: got '0'"),
        (("--dim", 8, "--rows", "1e20", "--memory", "1GiB"), "--rows: got '1e20'"),
        (("--dim", 8, "--rows", "1e9", "--memory", "1GiB"), "the smallest code, take"),
        (("none.npy",), "none.npy: no such file"),
        (("x.npy", "--memory", "lots"), "--memory is 'lots'"),
        (("x.npy", "--target-recall", 2), "target_recall is 2.0"),
    ],
)
def test_bad_input_is_one_line(
    file: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], message: str
) -> None:
    monkeypatch.chdir(file.parent)
    assert message in refused("plan", *arguments)
