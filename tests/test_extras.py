"""bebr with its base alone: numpy, safetensors and threadpoolctl. What needs more says which extra brings it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_WITHOUT = """
import sys
names = "google grpc grpc_health grpc_reflection matplotlib pyarrow rich sqlalchemy starlette torch typer uvicorn"
for name in names.split():
    sys.modules[name] = None
import bebr, numpy as np
x = np.random.default_rng(0).standard_normal((500, 16)).astype("f4")
"""


def _run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT + code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_base_trains_encodes_searches_saves_and_opens(tmp_path: Path) -> None:
    code = """
from bebr.vectors import read_vectors, write_vectors
bz = bebr.train(x, bytes_per_vector=6)
bz.save("m.safetensors")
for made in (bebr.FlatIndex(bz), bebr.IVFIndex(bz, nlist=4), bebr.GraphIndex(bz)):
    made.add(x)
    made.save("x.bebr")
    opened = bebr.open_index("x.bebr")
    assert (opened.search(x[:9], 3).ids == made.search(x[:9], 3).ids).all()
write_vectors("x.npy", x)
bebr.build("x.npy", "built.bebr", binarizer=bebr.Binarizer.load("m.safetensors"), nlist=4)
assert len(read_vectors("x.npy")) == len(bebr.open_index("built.bebr")) == 500
print("done")
"""
    done = _run(code, tmp_path)
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize(
    "call, message",
    [
        ("bebr.open('data')", "bebr.open needs sqlalchemy: pip install 'bebr[store]'"),
        ("bebr.connect('localhost:7777')", "bebr.connect needs grpc: pip install 'bebr[server]'"),
        ("import bebr.http", "bebr serve --http needs uvicorn: pip install 'bebr[http]'"),
        ("from bebr.serve import serve", "bebr.serve needs grpc: pip install 'bebr[server]'"),
        (
            "from bebr.vectors import write_vectors; write_vectors('x.parquet', x)",
            "a .parquet file needs pyarrow: pip install 'bebr[parquet]'",
        ),
        (
            "from bebr.vectors import read_vectors; open('x.parquet', 'w').close(); read_vectors('x.parquet')",
            "a .parquet file needs pyarrow: pip install 'bebr[parquet]'",
        ),
        (
            "bebr.train(x, bytes_per_vector=6, pairs=(x, x))",
            "pairs= needs torch: pip install 'bebr[train]'",
        ),
    ],
)
def test_what_is_missing_is_named_with_its_extra(call: str, message: str, tmp_path: Path) -> None:
    done = _run(call, tmp_path)
    assert done.returncode == 1 and done.stderr.endswith(f"ModuleNotFoundError: {message}\n"), done.stderr
    assert not (tmp_path / "data").exists()


def test_the_command_without_its_extra_says_so_in_one_line(tmp_path: Path) -> None:
    done = _run("from bebr.cli import main; main()", tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: the bebr command needs typer: pip install 'bebr[cli]'\n")
