"""All that runs on a GPU (test_cuda.py, benchmarks/gpu.py) at small sizes on the emulated device, where the build has
it; and what both say where there is no GPU."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import threadpoolctl

from bebr import device
from benchmarks import gpu, gpu_peers
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
    assert all(kind in said for kind in ("flat", "ivf", "encode", "assign", "build"))
    assert (tmp_path / "x.json").stat().st_size > 200


def test_rates_are_shares_of_what_the_device_does() -> None:
    ceilings = {"copied_gigabytes_per_second": 3000, "int8_tera_products": 500, "float32_tera_products": 30}
    search = gpu.shared(gpu.Row("ivf", 1, 52, 1, 1.0, 1500, 100), ceilings)
    encoding = gpu.shared(gpu.Row("encode on the device", 1, 52, 1, 1.0, 300, 24), ceilings)
    assert (search.of_copies, search.of_products) == (0.5, 0.2)
    assert (encoding.of_copies, encoding.of_products) == (0.1, 0.8)
    assert gpu.shared(encoding, {}) is encoding  # without torch none is measured


@emulated
def test_the_benchmark_of_peers_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("faiss")
    monkeypatch.setattr(gpu_peers, "_FAISS_PARTS", (1,))  # of 256 centroids each
    monkeypatch.setattr(gpu_peers, "_CENTERS", 5)
    small = "--rows 260 --dim 16 --bytes 8 --queries 3 --nlist 3 --nprobes 1 3 --rounds 1 --device emulated"
    with threadpoolctl.threadpool_limits(1):  # more of them wait busily for a processor that others have
        assert gpu_peers.main([*small.split(), "--json", str(tmp_path / "x.json")]) == 0
    rows = json.loads((tmp_path / "x.json").read_text())["rows"]
    recall = {(row["system"], row["setting"]): row["recall"] for row in rows}
    assert min(recall["torch", "matmul and topk"], recall["faiss", "flat"]) > 0.9
    assert recall["bebr", "IVF, nprobe 1"] <= recall["bebr", "IVF, nprobe 3"] == recall["bebr", "flat"] > 0.3
    assert "cuVS: not installed" in capsys.readouterr().out


@pytest.mark.skipif(isinstance(CUDA, list), reason="there is a CUDA device")
def test_without_a_device_all_end_with_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    said = f"no CUDA device: {CUDA}"
    for benchmark in (gpu, gpu_peers):
        assert benchmark.main([]) == 3
        assert capsys.readouterr().err == said + "\n"
    asked = SimpleNamespace(option=SimpleNamespace(markexpr="cuda"))  # pytest -m cuda
    item = SimpleNamespace(get_closest_marker=lambda name: name == "cuda")
    with pytest.raises(pytest.exit.Exception) as left:
        conftest.pytest_collection_modifyitems(asked, [item])  # type: ignore[arg-type]
    assert (left.value.msg, left.value.returncode) == (said, 3)
