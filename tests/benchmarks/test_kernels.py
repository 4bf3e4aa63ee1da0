"""What the kernel table derives from the times of kernels: rates, bytes, and the share of a plain read."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import kernels


@pytest.fixture
def times(monkeypatch):
    """A machine that reads 10 GB/s and runs every kernel at 8 GB/s of codes; returns the calls it got."""
    calls = []

    def bench(isa, kernel, dims, planes, rows, queries, repeats):
        calls.append((isa, kernel, rows))
        speed = 10e9 if kernel == "read" else 8e9
        return [rows * planes * dims / 8 / speed] * repeats

    monkeypatch.setattr(kernels, "seconds_of", bench)
    return calls


def test_rates_and_share(times):
    case = kernels.Case("scan_table", "scan", 1, 4, 64)
    row = kernels.measure("avx2", case, "memory", 512, 64_000_000, 3)
    assert [kernel for _, kernel, _ in times] == ["read", "scan_table", "read"]
    assert row.rows == 1_000_000
    assert row.bytes_per_second == pytest.approx(8e9)
    assert row.vectors_per_second == pytest.approx(8e9 / 64)
    assert row.pairs_per_second == pytest.approx(4 * 8e9 / 64)
    assert row.share == pytest.approx(0.8)


def test_data_in_cache_has_no_share(times):
    case = kernels.Case("complete", "scan", 4, 1, 256)
    row = kernels.measure("avx2", case, "cache", 512, 1 << 19, 3)
    assert row.share is None and row.rows * 256 <= 1 << 19
    assert [kernel for _, kernel, _ in times] == ["complete"]


def test_the_command_covers_every_kernel_and_faiss(times, tmp_path):
    pytest.importorskip("faiss", reason="pip install faiss-cpu")
    path = tmp_path / "kernels.json"
    small = ["--dims", "64", "--isa", "scalar", "--memory-mib", "0", "--cache-kib", "32", "--repeats", "1"]
    assert kernels.main([*small, "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    measured = {row["kernel"] for row in rows}
    ours = {"scan_table", "scan_batch", "complete", "dot_bits16", "lut_sdc", "popcount_sdc"}
    assert measured == ours | {"BinaryFlat", "PQ16x4fs", "RaBitQfs1"}


def test_times_are_read_from_the_program(monkeypatch, tmp_path):
    program = tmp_path / "program"
    program.write_text(f"#!{sys.executable}\nimport sys\nprint(len(sys.argv[1:]))\nprint('2.5e-05')\n")
    program.chmod(0o755)
    monkeypatch.setattr(kernels, "built", lambda name: program)
    assert kernels.seconds_of("avx2", "read", 64, 1, 1024, 1, 2) == [7.0, 2.5e-05]


def test_a_program_that_cannot_be_built_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(kernels.shutil, "which", lambda name, path=None: None)
    with pytest.raises(RuntimeError, match="cmake and ninja not found"):
        kernels.built.__wrapped__("bebr_bench")
