"""Work in processes of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayTaskError

from bebr.errors import LimitExceeded

C = TypeVar("C")
T = TypeVar("T")
R = TypeVar("R")


class RayTasks:
    """By the Ray that this process is connected to; else, for the length of each call, by that of RAY_ADDRESS, or of
    this machine. ``ConnectionError`` where there is none."""

    def map(self, work: Callable[[C, T], R], common: C, items: Sequence[T], memory: int) -> Iterator[R]:
        """As of `bebr.cluster.building.Tasks`: Ray tries anew what a process that died was at."""
        own = not ray.is_initialized()
        if own:
            address = os.environ.get("RAY_ADDRESS", "auto")
            try:
                ray.init(address, log_to_driver=False, logging_level="error")
            except (ConnectionError, RuntimeError) as error:
                raise ConnectionError(f"there is no Ray at {address}: {error}") from error
        try:
            task = ray.remote(num_cpus=1, max_retries=-1, memory=memory)(work)
            _check_room(memory)
            shared = ray.put(common)
            left = [task.remote(shared, item) for item in items]
            while left:
                done, left = ray.wait(left)
                for one in done:
                    yield _result(one)
        finally:
            if own:
                ray.shutdown()


def _check_room(memory: int) -> None:
    """``LimitExceeded`` where no node ever has so much: Ray would wait for one."""
    most = max((int(node["Resources"].get("memory", 0)) for node in ray.nodes() if node["Alive"]), default=0)
    if memory > most:
        raise LimitExceeded(f"memory is {memory:,} bytes for each process: the largest node of Ray has {most:,}")


def _result(one: Any) -> Any:
    try:
        return ray.get(one)
    except RayTaskError as error:
        raise error.cause from error
