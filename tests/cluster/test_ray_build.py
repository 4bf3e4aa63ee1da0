"""A build on three nodes of Ray, whose driver is killed, and then a worker: `pytest -m cluster`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bebr
from bebr.vectors import write_columns
from tests.cluster.running import until
from tests.conftest import clustered, model_of

pytestmark = pytest.mark.cluster

ROWS, FILES, RUNS = 50_000, 5, 25
DRIVER = """
import sys, bebr
from bebr.cluster import building
building._RUN_ROWS = 2000
source, output, model = sys.argv[1:]
options = {"nlist": 64, "binarizer": bebr.Binarizer.load(model), "memory": "256MiB"}
print(bebr.build(source, output, on="ray", shards=1, **options))
"""


@pytest.fixture(scope="module")
def ray_address(tmp_path_factory):
    pytest.importorskip("ray", reason="needs ray: pip install 'bebr[ray]'")
    from bebr.cluster.ray_local import LocalNodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("nodes")))
        nodes = LocalNodes("builds")
        try:
            nodes.start(3)
            yield nodes.address
        finally:
            nodes.stop()


def workers() -> list[int]:
    """Processes of Ray that are at a run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::encode"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_the_bytes_are_those_of_one_machine_though_a_driver_and_a_worker_are_killed(ray_address, tmp_path):
    x = clustered(ROWS, 32)
    (tmp_path / "x").mkdir()
    each = ROWS // FILES
    for part in range(FILES):
        write_columns(tmp_path / "x" / f"{part}.parquet", {"vector": x[part * each : (part + 1) * each]})
    bz = model_of(x[:5000], bytes_per_vector=12)
    bz.save(tmp_path / "model.safetensors")
    begun = time.monotonic()
    bebr.build(x, tmp_path / "plain.bebr", nlist=64, binarizer=bz)
    print(f"plain: {time.monotonic() - begun:.1f} s")

    output = tmp_path / "many.bebr"
    arguments = [f"file://{tmp_path}/x", f"file://{output}", str(tmp_path / "model.safetensors")]
    environment = {**os.environ, "RAY_ADDRESS": ray_address}

    def driver() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", DRIVER, *arguments], env=environment)

    def done() -> int:
        return len(list((tmp_path / "many.bebr.build").glob("done-*")))

    first = driver()
    until(lambda: done() >= 2 or first.poll() is not None)
    first.kill()
    first.wait()
    assert 2 <= done() < RUNS and not output.exists()
    before, begun = done(), time.monotonic()
    second = driver()
    until(lambda: workers() or second.poll() is not None)
    for worker in workers()[:1]:
        os.kill(worker, signal.SIGKILL)
        print(f"worker {worker} killed")
    assert second.wait(600) == 0
    print(f"the rest, {RUNS - before} runs of {RUNS}: {time.monotonic() - begun:.1f} s")
    assert output.read_bytes() == (tmp_path / "plain.bebr").read_bytes()
