"""All that runs on a GPU (test_cuda.py, benchmarks/gpu.py) at small sizes on the emulated device, where the build has
it; and what both say where there is no GPU."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bebr import device
from benchmarks import gpu
from tests import conftest
from tests.index import on_a_gpu
from tests.index.test_device import emulated

CUDA = device.found()


@pytest.fixture(scope="module")
def machine() -> Any:
    return pytest.importorskip("bebr._emulated")


@emulated
def test_what_runs_on_a_gpu_is_right(machine: Any, tmp_path: Path) -> None:
    on_a_gpu.awkward_sizes("emulated", "l2", 64, 33, [9], [10])
    on_a_gpu.many_rows_and_queries("emulated", 32, 100, 3, 40)
    on_a_gpu.threads_search_at_once("emulated", 20, 2)
    on_a_gpu.what_does_not_fit("emulated", 3000, 256, (1 << 20) + (290 << 10), on_a_gpu.emulated_short(machine))
    on_a_gpu.codes_equal("emulated", "ip", 20, [1, 129])
    on_a_gpu.a_build_is_the_cpus_file("emulated", tmp_path, 60, 7)
    on_a_gpu.lists_in_groups_are_near(machine, 90, 8, 100, most_direct=50)


@emulated
def test_the_benchmark_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_SIZES", {8: 16, 196: 16})
    small = "--rows 60 --queries 3 --bytes 8 --nlist 6 --nprobe 2 --rounds 1 --vectors 30 --lists 9 --device emulated"
    assert gpu.main([*small.split(), "--json", str(tmp_path / "x.json")]) == 0
    said = capsys.readouterr().out
    assert all(kind in said for kind in ("flat", "ivf", "encode", "assign"))
    assert (tmp_path / "x.json").stat().st_size > 200


@pytest.mark.skipif(isinstance(CUDA, list), reason="there is a CUDA device")
def test_without_a_device_both_end_with_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    said = f"no CUDA device: {CUDA}"
    assert gpu.main([]) == 3
    assert capsys.readouterr().err == said + "\n"
    asked = SimpleNamespace(option=SimpleNamespace(markexpr="cuda"))  # pytest -m cuda
    item = SimpleNamespace(get_closest_marker=lambda name: name == "cuda")
    with pytest.raises(pytest.exit.Exception) as left:
        conftest.pytest_collection_modifyitems(asked, [item])  # type: ignore[arg-type]
    assert (left.value.msg, left.value.returncode) == (said, 3)
