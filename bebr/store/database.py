"""`bebr.open`: a catalog and segment files, in a folder or shared by several processes."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from bebr.about import info
from bebr.binarizer import Binarizer
from bebr.collection.checks import check_model, check_name
from bebr.collection.creation import check_creation, check_existing
from bebr.collection.handle import Handle
from bebr.collection.protocol import TARGET_RECALL, AlreadyExists, IndexKind, Keep, Metric, ModelInfo, SnapshotInfo
from bebr.errors import CorruptFile
from bebr.index.pool import DevicePool
from bebr.index.sizes import FLAT_ROWS
from bebr.store.catalog.records import Settings
from bebr.store.collection import Collection
from bebr.store.contents import Contents
from bebr.store.files.opener import Opener
from bebr.store.opening import opened_home
from bebr.store.turns import Turns
from bebr.store.workers.checking import Checker
from bebr.store.workers.compaction import Compactor
from bebr.store.workers.retraining import Trainer
from bebr.store.writes.shared import SEAL_ROWS, Shared
from bebr.store.writes.writer import Writer

_log = logging.getLogger("bebr.store")


class Database(Handle):
    """A database of collections: the folder `path`, created if absent, or, with a URL `postgresql://…`, PostgreSQL and
    the object store `segments` (docs/cluster.md). Safe to use from many threads.

    One process at a time may have a folder open: a second one gets DatabaseLocked. A fork of the process can read what
    existed when it began; its writes get DatabaseLocked. A collection is read when it is first asked for. A damaged one
    then raises CorruptFile, and the others work. Opening deletes only files that were recorded as removed or that a
    killed process was writing; unknown segment files are moved to quarantine/. A folder without its catalog is refused
    with CorruptFile. `bebr.store.files.folder` has the layout.

    seal_rows: rows since the last seal after which a write seals them into a segment file.
    flat_rows: files of more rows are in lists or a graph, as their collection says.
    verify: check every byte of a segment when its collection is read. Files of 64 MiB and more that were checked before
        and not written since are checked in the background. False: check sizes and structure only.
    device: where segment files are searched, for example "cuda:0" (docs/gpu.md). Searches there are exact; of a file in
        lists they look at as many lists as on the CPU. Rows in no file yet, graphs, and files without room there are
        searched on the CPU; the log and `stats().rows_by_device` say which. DeviceUnavailable says why a device cannot
        be used.
    device_memory: bytes, or "20GiB", that rows may take there; by default all but what queries need.
    segments: for a URL only: `s3://…` or another URL that fsspec knows, or `file://…`, a folder that all processes see.
        Several processes may have such a database open. The first one that writes a collection is its writer until it
        closes the database or dies; writes of others get DatabaseLocked. Their searches see its writes within a quarter
        of a second.
    cache, cache_bytes: for a URL only: this process's folder for segments, by default in the user's cache folder, and
        its size, by default 64 GiB.
    lease_seconds: for a URL only: seconds after the writer's death, or its last answer, until another process may write
        (10).
    ConnectionError if PostgreSQL or the object store cannot be reached.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        segments: str | None = None,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int | None = None,
        lease_seconds: float | None = None,
        device: str = "cpu",
        device_memory: int | str | None = None,
        seal_rows: int = SEAL_ROWS,
        flat_rows: int = FLAT_ROWS,
        verify: bool = True,
    ) -> None:
        for what, rows in (("seal_rows", seal_rows), ("flat_rows", flat_rows)):
            if rows < 1:
                raise ValueError(f"{what} is {rows}: want 1 or greater")
        self._collections: dict[str, Collection] = {}
        self._turns = Turns()  # of collections that are being read, made or dropped
        self._damaged: dict[str, CorruptFile] = {}  # files that were found to be, until their collection is closed
        self._guard = threading.Lock()  # over _collections, _damaged and _open; held for moments
        self._open, self._opener = False, Opener()
        if device == "cpu" and device_memory is not None:
            raise ValueError(f"device_memory is {device_memory!r} on 'cpu': want None, for it is of another device")
        pool = None if device == "cpu" else DevicePool(device, device_memory)
        self._home = opened_home(path, segments, cache, cache_bytes, lease_seconds)
        self.path = self._home.path
        self._catalog, self._models = self._home.catalog, self._home.models
        self._writer = Writer(self._catalog)
        # Seals are not of the background: on a busy machine rows in memory and the journal would grow without end.
        self._sealer = Compactor("seal", lambda it, rest: it.seal(rest), "sealing failed, its rows stay in the journal")
        self._merger = Compactor(
            *("merge", lambda it, rest: it.merge(rest), "merging failed, its files stay as they are"), background=True
        )
        self._checker = Checker(self._found_damaged)
        self._shared = Shared(
            files=self._home.files,
            owners=self._home.owners,
            models=self._models,
            catalog=self._catalog,
            writer=self._writer,
            sealer=self._sealer,
            merger=self._merger,
            trainer=Trainer(),
            checker=self._checker,
            seal_rows=seal_rows,
            flat_rows=flat_rows,
            verify=verify,
            pool=pool,
        )
        self._open = True
        self._home.follow(self._contents, self._lost)

    def _contents(self) -> dict[str, Contents]:
        """Of the collections that are open."""
        with self._guard:
            return {name: collection._contents for name, collection in self._collections.items()}

    def _lost(self, name: str) -> None:
        """Another process dropped a collection."""
        with self._guard:
            found = self._collections.pop(name, None)
        if found is not None:
            found.close(_dropped(name))

    def _found_damaged(self, file: str, error: CorruptFile) -> None:
        """A file that was opened unread is not as it was written."""
        self._home.files.note_damaged(file)
        with self._guard:
            self._damaged[file] = error
        self._close_damaged()

    def _close_damaged(self) -> None:
        """Closes the collections that have such a file: whoever asks for one has it read anew, and gets the error."""
        for name, contents in self._contents().items():
            with self._guard:
                error = next((self._damaged.pop(file) for file in contents.state.opened if file in self._damaged), None)
                found = None if error is None else self._collections.pop(name, None)
            if error is not None and found is not None:
                _log.error("collection %r is closed: %s", name, error)
                found.close(error)

    def create_collection(
        self,
        name: str,
        bz: Binarizer | None = None,
        *,
        dim: int | None = None,
        metric: Metric | None = None,
        bytes_per_vector: int | None = None,
        keep: Keep = "auto",
        retrain: bool | None = None,
        text: str | Sequence[str] | None = None,
        index: IndexKind = "auto",
        target_recall: float = TARGET_RECALL,
        exist_ok: bool = False,
    ) -> Collection:
        """Create an empty collection, for vectors of `dim` dimensions or with the model `bz`, which is then registered.

        >>> docs = db.create_collection("docs", dim=384, text="body")

        bz, dim: give one. Without a model the collection trains its own (`retrain`).
        metric: "cosine" (default), "ip" or "l2".
        bytes_per_vector: of a code, by default two bits per dimension.
        keep: "float16" or "int8": keep vectors with the codes, so that the best by code get exact scores; None: codes
            alone; "auto": float16 without a model, None with one.
        retrain: whether it trains a model on its own rows, at 1,000 rows and whenever their number has grown fourfold,
            on up to 65,536 of them; by default only without a model. Up to 2,000 rows of kept vectors, searches are
            exact whatever the model.
        text: a payload field, or several, that `search(text=)` finds by words.
        index: kind of files with more than 75,000 rows: "auto": lists, as in `IVFIndex`; "flat"; "graph", as in
            `GraphIndex`.
        target_recall: the least share of a full scan's results that searches of these files find, whatever their size.
            Merges measure what that takes, with rows as queries. With kept vectors, both sides are the best by exact
            scores, and merges also measure how many of the best by code need exact scores, for flat files of 10,000
            rows or more too; searches without `rescore=` use that number. Rows beyond the best 1,024 by code are not
            considered.
        exist_ok: return the existing collection of that name if it has the same model (or, without one, the same
            dimensions and metric) and the same text fields.
        ValueError names the wrong argument; AlreadyExists (a ValueError) if the name is taken.
        """
        from bebr.training.untrained import untrained  # a server starts without what trains

        new = check_creation(name, bz, dim, metric, bytes_per_vector, keep, retrain, text, index, target_recall)
        model = new.bz or untrained(new.dim, new.bytes_per_vector, metric=new.metric)
        digest = self.register_model(model)
        size = 0 if new.bz else new.bytes_per_vector
        settings = Settings(
            *(new.keep, "", size, new.retrain), text=new.text, index=new.index, target_recall=new.target_recall
        )
        try:
            with self._alone(name):
                self._catalog.create_collection(name, digest, settings)
        except AlreadyExists:
            if not exist_ok:
                raise
            there = self.collection(name)
            check_existing(ModelInfo.of(there.binarizer), there.text, new)
        return self.collection(name)

    def collection(self, name: str) -> Collection:
        """The collection `name`, or that of an alias. KeyError if there is none; CorruptFile if a file of it is
        damaged."""
        name = self.resolved(name)
        found = self._known(name)
        if found is None:
            self._catalog.collection(name)  # names without a collection get no lock
            with self._alone(name):
                found = self._known(name) or self._read(name)
        return found

    def _known(self, name: str) -> Collection | None:
        with self._guard:
            self._check_open()
            return self._collections.get(name)

    def _read(self, name: str) -> Collection:
        row, made = self._catalog.collection(name), None
        while made is None:
            try:
                made = Collection(Contents(row, self._shared))
            except KeyError:  # another process has exchanged or dropped it, or its successor, since somebody looked
                newer = self._home.newer(row)
                if newer is None:
                    raise
                row = newer
        with self._guard:
            still = self._open
            if still:
                self._collections[name] = made
        if not still:
            made.close(self._closed_error())
            raise self._closed_error()
        self._close_damaged()  # its files are read since they were opened
        return made

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Holds back other calls that read, make or drop the same collection, and no others."""
        self._check_open()
        with self._turns.alone(name):
            self._check_open()  # again, after the wait
            yield

    def collections(self) -> list[str]:
        """The names of all collections, sorted, corrupt ones included."""
        self._check_open()
        return self._catalog.collections()

    def __contains__(self, name: object) -> bool:
        """Whether there is a collection of this name, be it corrupt."""
        return name in self.collections()

    def drop_collection(self, name: str) -> None:
        """Deletes a collection with its rows, payloads and files, corrupt or not. KeyError if there is none."""
        self._opener.check()
        with self._alone(name):
            with self._guard:
                found = self._collections.pop(name, None)
            if found is not None:
                found.close(_dropped(name))
            self._home.files.remove(self._catalog.drop_collection(name))

    def set_alias(self, alias: str, collection: str) -> None:
        """Gives a collection another name, or moves that name to another collection: `collection(alias)` and clients
        that hold it go to the one or the other, never to neither. KeyError if there is no such collection;
        AlreadyExists (a ValueError) where `alias` is the name of one."""
        self._check_open()
        self._catalog.set_alias(check_name(alias), self.resolved(collection))

    def drop_alias(self, alias: str) -> None:
        """Removes an alias and leaves its collection. KeyError if there is none."""
        self._check_open()
        self._catalog.drop_alias(alias)

    def aliases(self) -> dict[str, str]:
        """The collection of each alias, in the order of their names."""
        self._check_open()
        return self._catalog.aliases()

    def watch_aliases(self, seen: Callable[[Mapping[str, str]], None]) -> None:
        """Has `seen` called with `aliases()`: now, and whenever these or the names of collections are others, before
        the call that did it returns. It must not fail. Before others use this database."""
        self._check_open()
        self._catalog.watch_aliases(seen)

    def resolved(self, name: str) -> str:
        """The name of the collection that an alias stands for; another name as it is."""
        self._check_open()
        return self._catalog.resolved(name)

    def register_model(self, bz: Binarizer) -> str:
        """Stores a binarizer; returns its digest. Repeating it is harmless."""
        self._check_open()
        self._opener.check()  # its file comes before the catalog, which would refuse it
        return self._models.add(check_model(bz))

    def model(self, digest: str) -> Binarizer:
        """The registered binarizer with this digest. KeyError if there is none."""
        self._check_open()
        return self._models.get(digest)

    def models(self) -> list[ModelInfo]:
        """Every registered binarizer that can be read, ordered by digest; one that cannot is logged."""
        self._check_open()
        return [ModelInfo.of(bz) for bz in self._models.readable()]

    def info(self) -> dict[str, Any]:
        """`bebr.info()` of this process and the path of the data."""
        return {**info(), "path": self._home.name}

    @property
    def shared(self) -> str:
        """What tells a database that several processes have open from others; empty for a folder."""
        return self._home.shared

    def snapshot(self, target: str | os.PathLike[str]) -> SnapshotInfo:
        """Copies all collections and models, as they are at one moment, to a folder or a URL that fsspec knows; writes
        and searches go on. Files that snapshots there have already are not copied again. `bebr.restore` is the way
        back.

        It is there when this returns; a kill on the way leaves older snapshots as they were. CorruptFile names a
        damaged file; LimitExceeded where a disk is full.
        """
        self._check_open()
        self._opener.check()
        return self._home.snapshot(target)

    def restore_collection(
        self,
        source: str | os.PathLike[str],
        collection: str,
        name: str | None = None,
        *,
        snapshot: str | None = None,
    ) -> SnapshotInfo:
        """Brings a collection back as it was in a snapshot, the newest one unless it is named, under `name`, by default
        its own; others go on. `bebr.restore` is for a whole folder. A migration by streamed vectors is left out.

        KeyError for a snapshot or a collection that is not in the place `source`; AlreadyExists (a ValueError) for a
        name that is taken; CorruptFile names a damaged file; LimitExceeded where the disk is full.
        """
        self._opener.check()
        name = check_name(collection if name is None else name)
        with self._alone(name):
            return self._home.restore_collection(source, collection, name, snapshot)

    def close(self) -> None:
        """Waits for writes in progress and frees the folder for another process. Nothing needs saving. Repeating it is
        harmless, and so is a call in a fork."""
        with self._guard:
            if not self._open:
                return
            self._open = False
            collections, self._collections = list(self._collections.values()), {}
        if not self._opener.here:  # the threads to wait for, and the lock, are those of the process that opened it
            return
        self._home.unfollow()
        for collection in collections:
            collection.close(self._closed_error())
        self._turns.wait()  # those in progress; the next ones find the database closed
        self._sealer.close()
        self._merger.close()
        self._checker.close()
        self._writer.close()
        self._home.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Database({self._home.name!r})"

    def _closed_error(self) -> ValueError:
        return ValueError(f"the database {self._home.name} is closed: open it again")

    def _check_open(self) -> None:
        if not self._open:
            raise self._closed_error()


def _dropped(name: str) -> KeyError:
    return KeyError(f"no collection {name!r}: it was dropped")
