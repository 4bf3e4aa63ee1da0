"""The command line of each process of a cluster."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from bebr.cluster.names import check_url
from bebr.cluster.placing import Member
from bebr.device import parsed


@dataclass(frozen=True)
class Commands:
    """What all processes of a cluster are told: options of `bebr leaf` and `bebr root` by their names. `port`: of the
    first root; others have those after it. `device`, `device_memory_mb`: of each leaf. `keys`: those that callers of
    roots need; leaves are for roots alone, and want `insecure` where other machines reach them."""

    url: str
    segments: str
    shards: int
    port: int = 7777
    lease_seconds: float | None = None
    keys: str | None = None
    insecure: bool = False
    device: str = "cpu"
    device_memory_mb: int | None = None

    def __post_init__(self) -> None:
        check_url(self.url)
        if "://" not in self.segments:
            raise ValueError(f"segments is {self.segments!r}: want s3://… or file:///…")
        if self.device != "cpu":
            parsed(self.device)  # whether it is there, each leaf says
        elif self.device_memory_mb is not None:
            raise ValueError(f"--device-memory-mb is {self.device_memory_mb}: want --device with it")

    def of(self, member: Member, host: str) -> list[str]:
        """Of a member at a node with the address `host`, to be run by the process that watches it."""
        command = [sys.executable, "-m", "bebr.cli.tied", str(os.getpid()), member.kind, self.url, "--host", host]
        if member.kind == "leaf":
            command += ["--segments", self.segments, "--shards", str(member.number), "--port", "0"]
            if self.lease_seconds is not None:
                command += ["--lease-seconds", str(self.lease_seconds)]
            if self.device != "cpu":
                command += ["--device", self.device]
            if self.device_memory_mb is not None:
                command += ["--device-memory-mb", str(self.device_memory_mb)]
        else:
            command += ["--shards", str(self.shards), "--port", str(self.port + member.number), "--share-port"]
        if member.kind == "root" and self.keys is not None:
            command += ["--keys", self.keys]
        elif self.insecure:
            command += ["--insecure"]
        return command
