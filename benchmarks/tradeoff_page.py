"""A picture of the page that ``bebr tradeoff --html`` makes: a real set, every installed peer beside bebr.

    python -m benchmarks.tradeoff_page glove --limit 5000 --bytes 12,24,36,52

Needs Chromium (apt-get install chromium). The picture is of the page's head: recommendation and curves. Options that
are not of this command go to ``bebr tradeoff``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import datasets
from benchmarks.browser import find_chromium, opened

_WIDTH, _HEIGHT = 1180, 1400


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.tradeoff_page``; 1 where a source, a package or Chromium is absent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tradeoff_page", description=__doc__.partition("\n")[0])
    parser.add_argument("set", nargs="?", default="docstrings", choices=datasets.names(), metavar="SET")
    parser.add_argument("--output", type=Path, default=Path("docs/pictures/tradeoff.png"), help="the picture")
    parser.add_argument("--html", type=Path, help="keep the page, too")
    parser.add_argument("--height", type=int, default=_HEIGHT, help="of the picture")
    options, more = parser.parse_known_args(arguments)
    chromium = find_chromium()
    if chromium is None:
        print("no Chromium is installed: apt-get install chromium")
        return 1
    data = datasets.load_or_say(options.set, print)
    if data is None:
        return 1
    with tempfile.TemporaryDirectory() as name, opened(chromium) as page:
        folder = Path(name)
        np.save(folder / f"{options.set}.npy", data.base)
        command = ["tradeoff", f"{options.set}.npy", "--metric", data.metric, *more, "--peers", "--html", "report.html"]
        subprocess.run([sys.executable, "-m", "bebr", *command], cwd=folder, check=True)
        report = folder / "report.html"
        page.show(report.as_uri(), _WIDTH)
        page.picture(options.output, options.height)
        if options.html:
            options.html.write_bytes(report.read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
