"""The service of snapshots: at the place that the server was started with, and nowhere else."""

from __future__ import annotations

import asyncio

from bebr.collection.protocol import SnapshotInfo
from bebr.serve import convert
from bebr.serve.registry import CollectionRegistry
from bebr.store.backup import snapshots as backup
from bebr.v1 import bebr_pb2 as pb


class Snapshots:
    """`place`: a folder or a URL that fsspec knows; None: there is none, and every call is refused."""

    def __init__(self, registry: CollectionRegistry, place: str | None) -> None:
        self._registry = registry
        self._place = place
        self._turn = asyncio.Lock()  # a copy is bound by the disk: two at a time would take twice as long

    async def Create(self, request: pb.CreateSnapshotRequest) -> pb.CreateSnapshotResponse:
        place = self._where()
        async with self._turn:
            made = await asyncio.to_thread(self._registry.db.snapshot, place)
        return pb.CreateSnapshotResponse(snapshot=convert.snapshot_to_message(made))

    async def List(self, request: pb.ListSnapshotsRequest) -> pb.ListSnapshotsResponse:
        found = await asyncio.to_thread(backup.snapshots, self._where())
        return pb.ListSnapshotsResponse(snapshots=map(convert.snapshot_to_message, found))

    async def Restore(self, request: pb.RestoreSnapshotRequest) -> pb.RestoreSnapshotResponse:
        place = self._where()

        def restore() -> SnapshotInfo:
            name = request.name or request.collection
            how = {"snapshot": request.snapshot or None}
            return self._registry.db.restore_collection(place, request.collection, name, **how)

        async with self._turn:
            there = await self._registry.read(self._registry.db.collections)
            with self._registry.budgets.new_collection(len(there)):
                made = await asyncio.to_thread(restore)
        return pb.RestoreSnapshotResponse(snapshot=convert.snapshot_to_message(made))

    def _where(self) -> str:
        if self._place is None:
            raise KeyError("this server has no place for snapshots: start it with --snapshots")
        return self._place
