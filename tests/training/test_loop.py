"""Training that is stopped goes on from its checkpoint, to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bebr
from tests.conftest import clustered

torch = pytest.importorskip("torch", reason="the gradient recipes need torch")

X = clustered(500, 32)
PAIRS = (X + 0.05 * clustered(500, 32, seed=5), X)
RECIPES: dict[str, dict[str, Any]] = {
    "recurrent": {"architecture": "recurrent", "widths": [24, 8], "epochs": 4},
    "pairs": {"widths": [24, 8], "pairs": PAIRS, "hidden": 64, "epochs": 4, "queue": 2, "distill": 0.5, "rounds": 2},
}


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def train(recipe: str, **options: Any) -> bebr.Binarizer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the plain code often wins on few vectors
        return bebr.train(X, **RECIPES[recipe] | options)


class Stopped(Exception):
    pass


def stopping(stage: str, at: int, told: list[int]) -> Callable[[str, int, int], None]:
    """Progress that notes the epochs of ``stage`` and ends the run before epoch ``at``."""

    def progress(name: str, done: int, total: int) -> None:
        if name == stage:
            told.append(done)
            if done == at:
                raise Stopped

    return progress


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_stopped_run_goes_on_to_the_same_bits(recipe: str, tmp_path: Path) -> None:
    file, told = tmp_path / "run.pt", []
    with pytest.raises(Stopped):
        train(recipe, checkpoint=file, progress=stopping(recipe, 2, told))
    resumed = train(recipe, checkpoint=file, progress=stopping(recipe, -1, told))
    assert told == [0, 1, 2, 2, 3, 4]
    assert resumed.digest == train(recipe).digest
    again = train(recipe, checkpoint=str(file), progress=stopping(recipe, 0, told))  # nothing is left to do
    assert again.digest == resumed.digest
    assert list(tmp_path.iterdir()) == [file]


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """kill -9 some time after the first epoch: what is found there is a whole state."""
    script = (
        "import sys; from tests.training.test_loop import *; torch.set_num_threads(1)\n"
        "train('recurrent', checkpoint=sys.argv[1], epochs=2000, progress=lambda *told: print(*told, flush=True))"
    )
    file = tmp_path / "run.pt"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.split()[:2] == ["recurrent", "3"]:
                break
        os.kill(process.pid, signal.SIGKILL)
    told: list[int] = []

    def two_epochs(stage: str, done: int, total: int) -> None:
        if stage == "recurrent":
            told.append(done)
            if len(told) == 3:
                raise Stopped

    with pytest.raises(Stopped):
        train("recurrent", checkpoint=file, epochs=2000, progress=two_epochs)
    assert told[0] >= 3 and told == [told[0], told[0] + 1, told[0] + 2]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_checkpoint_of_another_run_is_refused(recipe: str, tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    with pytest.raises(Stopped):
        train(recipe, checkpoint=file, progress=stopping(recipe, 1, []))
    kept = file.read_bytes()
    for other in ({"epochs": 5}, {"seed": 1}, {"learning_rate": 0.01}):
        with pytest.raises(ValueError, match=r"run\.pt is of a run with other data or settings"):
            train(recipe, checkpoint=file, **other)
    assert file.read_bytes() == kept


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "cut"])
def test_a_damaged_checkpoint_is_said(content: bytes | str, tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    if content == "cut":
        with pytest.raises(Stopped):
            train("recurrent", checkpoint=file, progress=stopping("recurrent", 1, []))
        content = file.read_bytes()[:-100]
    assert isinstance(content, bytes)
    file.write_bytes(content)
    with pytest.raises(bebr.CorruptFile, match=r"run\.pt.*delete it"):
        train("recurrent", checkpoint=file)


def test_bad_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder .* does not exist"):
        train("recurrent", checkpoint=tmp_path / "none" / "run.pt")
    with pytest.raises(ValueError, match="unknown option 'checkpoint' for architecture='linear'"):
        bebr.train(X, widths=[24, 8], checkpoint=tmp_path / "run.pt")
    assert not list(tmp_path.iterdir())
