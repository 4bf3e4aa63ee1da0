"""Routes of the server itself: what it is, how long calls took, its snapshots, and files of a collection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bebr.collection.checks import check_name
from bebr.http.fields import field
from bebr.http.routes import Asked, Route
from bebr.http.values import snapshot_of
from bebr.v1 import bebr_pb2 as pb

_SNAPSHOT = {"name": "20261128T180000.123456Z", "created": "2026-11-28T18:00:00Z", "collections": {"docs": 7}}


async def _info(asked: Asked) -> Any:
    reply = await asked.call("Admin/Info", pb.InfoRequest)
    limits = {one.name: getattr(reply.limits, one.name) for one in pb.Limits.DESCRIPTOR.fields}
    about = {"version": reply.version, "isa": reply.isa, "threads": reply.threads, "uptime": reply.uptime_us / 1e6}
    return {**about, "coalesce": reply.coalesce, "limits": limits}


async def _flush(asked: Asked) -> Any:
    await asked.call("Admin/Flush", lambda: pb.FlushRequest(collection=asked.name))
    return {}


async def _snapshots(asked: Asked) -> Any:
    reply = await asked.call("Snapshots/List", pb.ListSnapshotsRequest)
    return {"snapshots": [snapshot_of(one) for one in reply.snapshots]}


async def _snapshot(asked: Asked) -> Any:
    reply = await asked.call("Snapshots/Create", pb.CreateSnapshotRequest)
    return snapshot_of(reply.snapshot)


async def _restore(asked: Asked) -> Any:
    name = check_name(asked["name"] or asked["collection"])
    what = {"collection": asked["collection"], "name": name, "snapshot": asked["snapshot"]}
    reply = await asked.call("Snapshots/Restore", lambda: pb.RestoreSnapshotRequest(**what))
    return snapshot_of(reply.snapshot)


def routes(latency: Callable[[], dict[str, Any]]) -> tuple[Route, ...]:
    """``latency``: how long calls took lately."""

    async def _latency(asked: Asked) -> Any:
        await asked.call("Admin/Info", pb.InfoRequest)  # who may see that may see this
        return latency()

    slot = {"time": 1_790_000_000, "calls": 120, "p50_ms": 0.4, "p99_ms": 1.9}
    return (
        Route(
            *("GET", "/v1/info", "Admin/Info"),
            *("Version, kernels, threads and limits.", _info),
            {"version": "0.1.0", "isa": "avx512", "threads": 8, "uptime": 60.1, "coalesce": True, "limits": {}},
        ),
        Route(
            *("GET", "/v1/latency", "Admin/Info"),
            *("How long calls of each method took in the last ten minutes.", _latency),
            {"seconds": 10, "slots": 60, "time": 1_790_000_000, "methods": {"Points/Search": [slot]}},
        ),
        Route(
            *("POST", "/v1/collections/{name}/flush", "Admin/Flush"),
            *("Write rows that are not in a segment file yet into one.", _flush, {}),
        ),
        Route(
            *("GET", "/v1/snapshots", "Snapshots/List"),
            *("Snapshots at the server's place, the oldest first.", _snapshots, {"snapshots": [_SNAPSHOT]}),
        ),
        Route(
            *("POST", "/v1/snapshots", "Snapshots/Create"),
            *("Copy all collections and models, as they are now, to that place.", _snapshot, _SNAPSHOT),
        ),
        Route(
            *("POST", "/v1/snapshots/restore", "Snapshots/Restore"),
            *("Bring a collection of a snapshot back, beside those that there are.", _restore, _SNAPSHOT),
            {
                "collection": field("string", "Its name in the snapshot.", required=True),
                "name": field("string", "Its name here; by default the same."),
                "snapshot": field("string", "By default the newest."),
            },
        ),
    )
