"""The light client of servers, benchmarks/call_load.cpp: searches of one query over HTTP/2, so many at a time."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.kernels import built

__all__ = ["Answered", "loaded"]


@dataclass(frozen=True)
class Answered:
    """Times in µs. ``quantiles_us``: of the calls' latency, 0, .001, … 1; ``each_us``: CPU time of each server's
    process for a call of any; ``client_us``: the client's."""

    calls_per_second: float
    quantiles_us: Sequence[float]
    each_us: Sequence[float]
    client_us: float
    calls: int

    @property
    def p50_us(self) -> float:
        return self.quantiles_us[500]

    @property
    def p99_us(self) -> float:
        return self.quantiles_us[990]

    @property
    def server_us(self) -> float:
        """CPU time of all servers for a call."""
        return sum(self.each_us)


def loaded(
    addresses: Sequence[str],
    collections: Sequence[str],
    pids: Sequence[int],
    dim: int,
    outstanding: int,
    connections: int,
    seconds: float,
    on: Sequence[int] = (),
) -> Answered:
    """What a load of `seconds` says, after half a second that is not counted. Connections take addresses and
    collections by turns; calls, `outstanding` in all, take connections by turns. `pids`: of servers; `on`: cores of the
    client, any where empty. ``RuntimeError``: a call failed."""
    hosts = {address.rpartition(":")[0] for address in addresses}
    if len(hosts) != 1:
        raise ValueError(f"addresses are of {', '.join(sorted(hosts)) or 'none'}: want ports of one host")
    ports = ",".join(address.rpartition(":")[2] for address in addresses)
    about = [hosts.pop(), ports, ",".join(collections), dim, outstanding, connections, seconds]
    command = [str(part) for part in [built("bebr_call_load"), *about, ",".join(map(str, pids))]]
    pin = ["taskset", "-c", ",".join(map(str, on))] if on and shutil.which("taskset") else []
    said = subprocess.run([*pin, *command], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = json.loads(said)
    if found.pop("wrong"):
        raise RuntimeError(f"calls were not answered OK: {found}")
    return Answered(**found)
