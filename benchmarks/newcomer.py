"""How long does a newcomer need from nothing to first answers? ``make newcomer``.

A fresh copy of the repository, or a wheel, is installed in a fresh environment, nothing from pip's cache; then the
programs of docs/index.md run as a reader runs them: the first answers, and with ``--model`` those of a real model.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bebr
from benchmarks import machine, output

ROOT = Path(__file__).parents[1]
AIM = 300.0  # seconds until the first answers


def programs(page: str) -> tuple[str, str]:
    """The Python of docs/index.md: what comes before its model, and all of it."""
    before, heading, after = page.partition("## With a real model")
    if not heading:
        raise ValueError("docs/index.md has no heading 'With a real model'")
    first, second = ("\n".join(re.findall(r"```python\n(.*?)```", part, re.DOTALL)) for part in (before, after))
    return first, f"{first}\n{second}"


def run(*command: str | Path, folder: Path) -> str:
    """What a command printed; its errors go to the terminal."""
    return subprocess.run(list(map(str, command)), cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.newcomer``; 1 where the first answers took longer than the aim."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.newcomer", description=__doc__.partition("\n")[0])
    parser.add_argument("--wheel", type=Path, help="install this file, not the repository")
    parser.add_argument("--model", action="store_true", help="also install PyTorch and MiniLM, and ask by them")
    parser.add_argument("--json", type=Path, help="keep the seconds of each step here")
    options = parser.parse_args(arguments)
    first, whole = programs((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    seconds: dict[str, float] = {}

    def timed(step: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        seconds[step] = round(time.perf_counter() - start, 1)
        print(f"{seconds[step]:8.1f} s  {step}", flush=True)
        return result

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python, pip = folder / "env" / "bin" / "python", ("-m", "pip", "install", "--quiet", "--no-cache-dir")
        what = str(options.wheel.resolve()) if options.wheel else "./bebr"
        if not options.wheel:
            timed("copy the repository", lambda: run("git", "clone", "--quiet", ROOT, folder / "bebr", folder=folder))
        timed("make an environment", lambda: run(sys.executable, "-m", "venv", folder / "env", folder=folder))
        timed("install", lambda: run(python, *pip, f"{what}[store]", folder=folder))
        told = timed("first answers", lambda: run(python, "-c", first, folder=folder))
        reached = round(sum(seconds.values()), 1)
        print(told, end="")
        if options.model:
            timed("install a model", lambda: run(python, *pip, f"{what}[store,models]", folder=folder))
            (folder / "second").mkdir()
            print(timed("answers by a model", lambda: run(python, "-c", whole, folder=folder / "second")), end="")
    print(f"{reached} s from nothing to first answers (aim {AIM:.0f})")
    if options.json:
        rows = [{"step": step, "seconds": took} for step, took in seconds.items()]
        source = str(options.wheel or "the repository")
        output.save(options.json, machine.facts(bebr.get_num_threads()), rows, reached=reached, aim=AIM, source=source)
    return 1 if reached > AIM else 0


if __name__ == "__main__":
    sys.exit(main())
