"""A build on three local nodes of Ray, of which a worker is killed on the way, beside the same build in one process.

    python -m benchmarks.cluster_build [--rows 1e6] [--dim 96] [--bytes 24] [--nodes 3] [--kills 1] [--json FILE]

Needs Linux and `pip install 'bebr[ray,parquet,bench]'`. Rows are a mixture of Gaussians, in Parquet files; both builds
train their model on the same sample. A worker is killed by kill -9 each time so many runs are done. Exits with 1 where
the bytes are not the same, or nobody was killed. The nodes are processes of this machine: they share its cores, so this
shows that the build works and what it costs, not how fast several machines are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from rich.table import Table

import bebr
from bebr.cluster.ray_local import LocalNodes
from bebr.vectors import write_columns
from benchmarks.cluster_faults.running import descended
from benchmarks.filters import blocks, mixture
from benchmarks.machine import facts
from benchmarks.output import console, save

_NAME = "cluster-build"
# One build, in a process of its own: "plain" or on Ray.
_BUILD = """
import sys, bebr
where, source, output, size, lists, memory = sys.argv[1:]
about = {"on": "ray"} if where == "ray" else {}
about |= {"nlist": int(lists)} if int(lists) else {}
bebr.build(source, output, bytes_per_vector=int(size), memory=memory, **about)
"""
_PATIENCE = 7200.0  # seconds for a build


def written(folder: Path, rows: int, dim: int) -> None:
    """Parquet files, of a block each."""
    folder.mkdir()
    for first, block in blocks(mixture(dim, 0), rows):
        write_columns(folder / f"{first:012d}.parquet", {"vector": block})


def begun(where: str, source: Path, output: Path, options: argparse.Namespace, env: dict[str, str]) -> subprocess.Popen:
    """A build."""
    about = (where, str(source), str(output), str(options.bytes), str(options.lists), options.memory)
    return subprocess.Popen([sys.executable, "-c", _BUILD, *about], env={**os.environ, **env})


def ended(build: subprocess.Popen) -> None:
    """Waits for a build; RuntimeError where it fails."""
    if build.wait(_PATIENCE):
        raise RuntimeError(f"a build ended with {build.returncode}")


def workers(nodes: LocalNodes) -> list[int]:
    """Processes of these nodes that are at a run."""
    found = []
    for pid in {one for first in nodes.pids().values() for one in descended(first)}:
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::encode"):
                found.append(pid)
        except OSError:
            continue
    return found


def killed(build: subprocess.Popen, nodes: LocalNodes, work: Path, kills: int) -> list[int]:
    """Kills a worker that is at a run once some run is done, and again, until the build has ended; how many runs were
    done each time."""
    deaths: list[int] = []
    end = time.monotonic() + _PATIENCE
    while build.poll() is None and time.monotonic() < end:
        done = len(list(work.glob("done-*")))
        if len(deaths) < kills and done > (deaths[-1] if deaths else 0):
            for pid in workers(nodes)[:1]:
                os.kill(pid, signal.SIGKILL)
                deaths.append(done)
        time.sleep(0.05)
    return deaths


def same(one: Path, other: Path) -> bool:
    """Whether two files have the same bytes."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as a, other.open("rb") as b:
        return all(a.read(1 << 24) == b.read(1 << 24) for _ in range(-(-one.stat().st_size // (1 << 24))))


def run(options: argparse.Namespace, folder: Path, stack: ExitStack) -> dict[str, object]:
    """Both builds."""
    rows, source = int(options.rows), folder / "x"
    plain, many = folder / "plain.bebr", folder / "many.bebr"
    written(source, rows, options.dim)
    start = time.monotonic()
    ended(begun("plain", source, plain, options, {}))
    seconds = {"plain": round(time.monotonic() - start, 1)}
    print(f"plain: {seconds['plain']} s", flush=True)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    nodes = LocalNodes(_NAME)
    stack.callback(nodes.stop)
    nodes.start(options.nodes)
    address = {"RAY_ADDRESS": str(nodes.address)}
    start = time.monotonic()
    build = begun("ray", source, many, options, address)
    stack.callback(build.kill)
    deaths = killed(build, nodes, folder / "many.bebr.build", options.kills)
    ended(build)
    seconds["ray"] = round(time.monotonic() - start, 1)
    index = bebr.open_index(plain)
    assert isinstance(index, bebr.IVFIndex)
    lists = index.nlist
    return {
        **{"rows": rows, "dim": options.dim, "bytes": options.bytes, "lists": lists},
        **{"nodes": options.nodes, "seconds": seconds, "killed_after_runs": deaths},
        **{"same_bytes": same(plain, many), "file_bytes": plain.stat().st_size},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--dim", type=int, default=96)
    parser.add_argument("--bytes", type=int, default=24, help="of a code")
    parser.add_argument("--lists", type=int, default=0, help="0: as many as bebr.build makes")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--memory", default="1GiB", help="of each process, as of bebr.build")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="where rows and files are meanwhile")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bebr-build-", dir=options.folder))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        load = os.getloadavg()
        found = run(options, folder, stack)
    table = Table("rows", "dims", "bytes", "lists", "plain s", "on Ray s", "killed after runs", "same bytes")
    about = (f"{found['rows']:,}", found["dim"], found["bytes"], found["lists"])
    seconds, deaths = found["seconds"], found["killed_after_runs"]
    assert isinstance(seconds, dict) and isinstance(deaths, list)
    times = (seconds["plain"], seconds["ray"], ", ".join(map(str, deaths)), found["same_bytes"])
    table.add_row(*map(str, (*about, *times)))
    console().print(table)
    print(f"load before: {load[0]:.1f}; {bebr.info()['threads']} threads")
    if options.json:
        save(options.json, facts(1), [found], load=load)
    return 0 if found["same_bytes"] and len(deaths) == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
