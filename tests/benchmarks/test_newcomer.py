"""What `make newcomer` times is what docs/index.md has a newcomer run."""

from __future__ import annotations

import sys

import pytest

from benchmarks import newcomer


def test_it_runs_the_programs_of_the_page_without_the_model_first():
    first, whole = newcomer.programs((newcomer.ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    assert "bebr.open" in first and "models" not in first
    assert whole.startswith(first) and 'load("minilm")' in whole


def test_a_step_that_fails_ends_it(tmp_path):
    assert newcomer.run(sys.executable, "-c", "print(1)", folder=tmp_path) == "1\n"
    with pytest.raises(newcomer.subprocess.CalledProcessError):
        newcomer.run(sys.executable, "-c", "raise SystemExit(3)", folder=tmp_path)
