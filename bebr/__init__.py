"""bebr: binary embedding-based retrieval. Learned bit codes, SIMD kernels, indexes and a gRPC server.

>>> bz = bebr.train(x, bytes_per_vector=52, metric="cosine")
>>> ix = bebr.FlatIndex(bz); ix.add(x)
>>> scores, ids = ix.search(q, 10)

Importing this package loads numpy and the extension only; torch, grpc and sqlalchemy load with the first call that
needs them. What trains and builds loads when its name is first used: a server starts without it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

# A source tree at the front of sys.path must still find the extension and the generated modules of an installed bebr.
__path__ = extend_path(__path__, __name__)

from bebr.about import info, version
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes
from bebr.collection.filter import F
from bebr.collection.filter_tree import Filter
from bebr.errors import CorruptFile, DeviceUnavailable, Error, IncompatibleModel, LimitExceeded
from bebr.extras import needed
from bebr.index import FlatIndex, GraphIndex, Hits, Index, IVFIndex, MaxSimIndex, open_index
from bebr.threads import get_num_threads, set_num_threads
from bebr.tls import TLS

if TYPE_CHECKING:
    from pathlib import Path

    from bebr.bulk import build
    from bebr.collection.protocol import AlreadyExists, DatabaseLocked, SnapshotInfo
    from bebr.serve.async_client import AsyncClient
    from bebr.serve.client import Client
    from bebr.store.database import Database
    from bebr.training import plan, train
    from bebr.training.released import load_released
    from bebr.training.untrained import untrained

__version__: str = version
HNSWIndex = GraphIndex  # what users look for; it is one flat layer

__all__ = [
    "TLS",
    "AlreadyExists",
    "Binarizer",
    "Codes",
    "CorruptFile",
    "DatabaseLocked",
    "DeviceUnavailable",
    "Error",
    "F",
    "Filter",
    "FlatIndex",
    "GraphIndex",
    "HNSWIndex",
    "Hits",
    "IVFIndex",
    "IncompatibleModel",
    "Index",
    "LimitExceeded",
    "MaxSimIndex",
    "build",
    "connect",
    "connect_async",
    "get_num_threads",
    "info",
    "load_released",
    "open",
    "open_index",
    "plan",
    "restore",
    "set_num_threads",
    "snapshots",
    "train",
    "untrained",
]


_LATER = {
    "AlreadyExists": "bebr.collection.protocol",
    "DatabaseLocked": "bebr.collection.protocol",
    "build": "bebr.bulk",
    "load_released": "bebr.training.released",
    "plan": "bebr.training",
    "train": "bebr.training",
    "untrained": "bebr.training.untrained",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'bebr' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def open(
    path: str | Path,
    *,
    segments: str | None = None,
    cache: str | Path | None = None,
    cache_bytes: int | None = None,
    lease_seconds: float | None = None,
    device: str = "cpu",
    device_memory: int | str | None = None,
) -> Database:
    """Open a database: a folder, created if absent, or a URL ``postgresql://…`` that several processes share.

    >>> db = bebr.open("data/")
    >>> docs = db.create_collection("docs", dim=384)

    segments, cache, cache_bytes, lease_seconds: for a URL only: where segment files are (``s3://…``, ``file://…``), and
        this process's cache and lease. See :class:`bebr.store.database.Database`.
    device, device_memory: where settled rows are searched, ``"cpu"`` or ``"cuda:0"``, and the memory for them there.
    Raises :class:`DatabaseLocked` if another process has the folder open; :class:`CorruptFile`. Needs the extra
    ``store``, and ``cluster`` for a URL.
    """
    with needed("store", "bebr.open"):
        from bebr.store.database import Database

    return Database(
        path,
        segments=segments,
        cache=cache,
        cache_bytes=cache_bytes,
        lease_seconds=lease_seconds,
        device=device,
        device_memory=device_memory,
    )


def snapshots(source: str | Path) -> list[SnapshotInfo]:
    """The snapshots at ``source`` (a path, or a URL that fsspec knows) that ``Database.snapshot`` made, oldest first.
    Needs the extra ``store``, and ``remote`` for a URL."""
    with needed("store", "bebr.snapshots"):
        from bebr.store.backup import snapshots as backup

    return backup.snapshots(source)


def restore(source: str | Path, target: str | Path, *, snapshot: str | None = None) -> SnapshotInfo:
    """Restore a snapshot at ``source``, by default the newest, into the new folder ``target``; then :func:`open` it.
    See :func:`bebr.store.backup.snapshots.restore`.
    Needs the extra ``store``, and ``remote`` for a URL."""
    with needed("store", "bebr.restore"):
        from bebr.store.backup import snapshots as backup

    return backup.restore(source, target, snapshot=snapshot)


def connect(
    target: str,
    *,
    timeout: float | None = 60.0,
    retries: int = 4,
    token: str | None = None,
    tls: TLS | bool | str | Path | None = None,
) -> Client:
    """Connect to a server, ``"host:port"`` or ``"host"`` (port 7777). The client has the methods of a local database.

    >>> docs = bebr.connect("localhost:7777").collection("docs")

    timeout: seconds of one call. retries: of calls that failed because the server was unavailable. token: a key of the
    server. tls: True, the path of a CA's certificate, or a :class:`TLS`. See :class:`bebr.serve.client.Client`.
    Needs the extra ``server``."""
    with needed("server", "bebr.connect"):
        from bebr.serve.client import Client

    return Client(target, timeout=timeout, retries=retries, token=token, tls=tls)


async def connect_async(
    target: str,
    *,
    timeout: float | None = 60.0,
    retries: int = 4,
    token: str | None = None,
    tls: TLS | bool | str | Path | None = None,
) -> AsyncClient:
    """:func:`connect` for an event loop: the same arguments, and methods of the same names that are awaited. See
    :class:`bebr.serve.async_client.AsyncClient`.
    Needs the extra ``server``."""
    with needed("server", "bebr.connect_async"):
        from bebr.serve.async_client import connected
        from bebr.serve.channel import Address

    return await connected(Address.of(target, timeout, retries, token, tls))
