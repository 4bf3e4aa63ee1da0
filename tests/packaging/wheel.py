"""The wheel that `make wheel` built: what is in it, how large it is, and whether it works where it is alone.

python -m tests.packaging.wheel FOLDER
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.packaging import smoke

ROOT = Path(__file__).parents[2]
MEGABYTE = 1e6
MOST_WHEEL, MOST_INSTALLED = 4 * MEGABYTE, 120 * MEGABYTE
# The goal is 60 ms of an idle machine (benchmarks/README.md has the figure); a busy one takes up to twice as long.
MOST_IMPORT = 0.120
_IMPORT = """
import json, sys, time
import numpy
before, begin = set(sys.modules), time.process_time()
import bebr
took = time.process_time() - begin
print(json.dumps([took, sorted({name.partition(".")[0] for name in set(sys.modules) - before})]))
"""


def packed(wheel: Path) -> set[str]:
    """Names of the files in it. ``AssertionError`` where one is missing, or is not to be there."""
    with zipfile.ZipFile(wheel) as archive:
        names = {one.filename for one in archive.infolist() if not one.is_dir()}
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "bebr" / "http" / "static").rglob("*") if path.is_file()}
    assert len(wanted) >= 3
    wanted |= {
        f"bebr/{name}" for name in ("py.typed", "_core.pyi", "_front.pyi", "serve/server.py", "models/data/__init__.py")
    }
    wanted |= {f"bebr/v1/bebr_pb2{end}" for end in (".py", ".pyi", "_grpc.py")}
    assert wanted <= names, f"not in the wheel: {sorted(wanted - names)}"
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith((".dist-info", ".libs"))} == {"bebr"}, f"in the wheel: {tops}"
    extensions = {Path(name).name.partition(".")[0] for name in names if name.endswith(".so")}
    assert {"_core"} <= extensions <= {"_core", "_front", "_cuda"}, f"extensions in the wheel: {extensions}"
    return names


def installed(wheel: Path, folder: Path) -> Path:
    """Python of a new environment in ``folder`` with the wheel and what it depends on, without pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--progress-bar", "off", wheel], check=True)
    return python


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def import_costs(python: Path, folder: Path) -> tuple[float, list[str]]:
    """Seconds of CPU for ``import bebr`` after numpy's, the least of seven processes, and the packages it brought."""
    runs = []
    for _ in range(7):
        done = subprocess.run([python, "-I", "-c", _IMPORT], cwd=folder, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
    return min(took for took, _ in runs), runs[0][1]


def main() -> None:
    [wheel] = Path(sys.argv[1]).glob("bebr-*.whl")
    names = packed(wheel)
    assert wheel.stat().st_size < MOST_WHEEL, f"{wheel.name} has {wheel.stat().st_size} bytes: want less than 4 MB"
    with tempfile.TemporaryDirectory(prefix="bebr-wheel-") as place:
        folder = Path(place)
        python = installed(wheel, folder / "venv")
        [packages] = (folder / "venv" / "lib").glob("python3*/site-packages")
        size = bytes_of(packages)
        assert size < MOST_INSTALLED, f"installed: {size} bytes, want less than 120 MB"
        took, brought = import_costs(python, folder)
        others = {name for name in brought if (packages / name).exists() or (packages / f"{name}.py").exists()}
        assert others - {"numpy"} == {"bebr"}, f"import bebr loads {sorted(others)} beside numpy"
        assert took < MOST_IMPORT, (
            f"import bebr takes {took * 1e3:.0f} ms of CPU: want less than {MOST_IMPORT * 1e3:.0f}"
        )
        parts = [f"--{part}" for part in ("front", "cuda") if any(f"/_{part}." in name for name in names)]
        subprocess.run([python, "-I", "-W", "error", smoke.__file__, *parts], cwd=folder, check=True)
    print(
        f"{wheel.name}: {wheel.stat().st_size / MEGABYTE:.2f} MB, installed with its dependencies "
        f"{size / MEGABYTE:.1f} MB, import bebr {took * 1e3:.0f} ms of CPU beside numpy's"
    )


if __name__ == "__main__":
    main()
