"""What the collections of a database have in common: where their files are, and who works for them."""

from __future__ import annotations

from dataclasses import dataclass

from bebr.index.pool import DevicePool
from bebr.store.catalog.owners import Owners
from bebr.store.catalog.protocol import Catalog
from bebr.store.segments.models import Models
from bebr.store.segments.segment_files import SegmentFiles
from bebr.store.workers.checking import Checker
from bebr.store.workers.compaction import Compactor
from bebr.store.workers.retraining import Trainer
from bebr.store.writes.writer import Writer

# Rows written or removed since the last seal that make a write ask for a seal. Fewer: each seal costs an fsync and a
# merge. More: a start replays them.
SEAL_ROWS = 50_000


@dataclass(frozen=True)
class Shared:
    """`files`: of segments; `owners`: which collections this process writes; `seal_rows`, `flat_rows` and `verify` as
    of `Database`; `pool`: of the device that settled segments are searched on, None for the CPU."""

    files: SegmentFiles
    owners: Owners
    models: Models
    catalog: Catalog
    writer: Writer
    sealer: Compactor
    merger: Compactor
    trainer: Trainer
    checker: Checker
    seal_rows: int
    flat_rows: int
    verify: bool
    pool: DevicePool | None = None
