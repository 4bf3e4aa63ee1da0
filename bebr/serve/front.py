"""The native front of a server (csrc/server): it owns the port, answers searches that it understands as a whole, and
forwards every other call to the gRPC server behind it, at a socket in a folder that only this user may enter."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from bebr import core
from bebr.collection.options import SearchOptions
from bebr.collection.protocol import BatchingStats
from bebr.serve.batching import MAX_BATCH
from bebr.serve.calls import Call, Calls, Search
from bebr.serve.limits import Limits
from bebr.serve.tls import Tls
from bebr.store.collection import Collection

_log = logging.getLogger("bebr.serve")

# A path of a Unix socket has at most 107 bytes.
_MOST_PATH = 100
_MOST_LOOPS = 4
# Seconds between looks at what searches did, and of how many of them it is kept meanwhile.
_TELL_EVERY, _MOST_FINISHED = 0.05, 100_000


def built() -> Any | None:
    """The extension; None where libnghttp2 was not there when bebr was built."""
    try:
        return importlib.import_module("bebr._front")
    except ImportError:
        return None


def make_front(
    limits: Limits, budget: core.ByteBudget, coalesce: bool, tls: Tls | None, open: bool, traced: bool
) -> Front | None:
    """None, said in one line of the log, where there is none. ``open``: anybody may call; else every call is forwarded,
    for keys are checked in Python. ``traced``: calls of a trace that is being recorded are forwarded, too."""
    extension = built()
    missing = "libnghttp2" if extension is None else "libssl" if tls and not extension.tls else None
    if missing is not None:
        _log.warning(
            "Python answers every call: this bebr was built without %s (apt-get install %s-dev pkg-config, then build "
            "it again)",
            *(missing, missing),
        )
        return None
    return Front(extension, limits, budget, coalesce, tls, open, traced)


class Front:
    """Made before the server behind it, started after it. `show` may be called from any thread."""

    def __init__(
        self,
        extension: Any,
        limits: Limits,
        budget: core.ByteBudget,
        coalesce: bool,
        tls: Tls | None,
        open: bool,
        traced: bool,
    ) -> None:
        self._open, self._traced = open, traced
        self._extension, self._limits, self._budget, self._tls = extension, limits, budget, tls
        self._batch = MAX_BATCH if coalesce else 1
        self._folder = _private_folder()
        self._front: Any = None
        self._shown: dict[str, Collection] = {}

    @property
    def upstream(self) -> str:
        """Where the server behind it is to listen."""
        return str(self._folder / "grpc.sock")

    def start(self, host: str, port: int) -> int:
        """Listens; the port. ``OSError`` if the address cannot be used; ``ValueError`` for a file of TLS."""
        cores = len(os.sched_getaffinity(0))
        tls = self._tls
        front = self._extension.Front(
            host=host,
            port=port,
            upstream=self.upstream,
            budget=self._budget,
            loops=min(_MOST_LOOPS, cores),
            threads=max(2, cores),
            most_batch=self._batch,
            queries=self._limits.queries,
            k=self._limits.k,
            answers=self._limits.answers,
            calls=self._limits.calls,
            certificate=str(tls.certificate) if tls else "",
            key=str(tls.key) if tls else "",
            client_ca=str(tls.client_ca) if tls and tls.client_ca else "",
        )
        front.set_open(self._open)
        front.set_traced(self._traced)
        bound = int(front.start())
        self._front = front
        return bound

    def show(self, collection: Collection) -> None:
        """Has searches of a collection answered from what it holds now and after every write, as far as they are of
        ints and of one model."""

        def publish() -> None:
            try:
                self._publish(collection)
            except Exception:  # a write that is done does not fail for it
                _log.exception("searches of %r are not answered in C++", collection.name)
                self._front.publish(collection.name, "", None)

        self._shown[collection.name] = collection
        collection.watch(publish)

    def _publish(self, collection: Collection) -> None:
        engine, model = None, ""
        if not collection.closed:
            snapshot = collection.snapshot
            model = snapshot.bz.digest
            if not snapshot.keyed and snapshot.engine is not None and snapshot.by_model[0][0].digest == model:
                engine = snapshot.engine
        self._front.publish(collection.name, model, engine)

    def batching(self, collection: str) -> BatchingStats:
        """What joining searches of a collection did here."""
        return BatchingStats(*self._front.batching(collection))

    async def tell(self, calls: Calls, wanted: Callable[[], bool]) -> None:
        """Tells of searches that were answered here, as long as somebody wants to know, until it is cancelled."""
        codes = {code.value[0]: code.name for code in grpc.StatusCode}
        while True:
            self._front.record(_MOST_FINISHED if wanted() else 0)
            await asyncio.sleep(_TELL_EVERY)
            for name, code, elapsed, queued, searched, queries, batch, asked in self._front.take_finished():
                k, coded, exact, oversampling, radius, rescore = asked
                options = SearchOptions(k, "code" if coded else "float", oversampling, exact, radius, rescore)
                collection = self._shown.get(name)
                snapshot = None if collection is None or collection.closed else collection.snapshot
                calls.tell(
                    Call(
                        "Points/Search",
                        collection=name,
                        code=codes[code],
                        elapsed=elapsed,
                        queued=queued,
                        searched=searched,
                        search=Search(options, queries, batch, snapshot),
                    )
                )

    async def drain(self, grace: float) -> None:
        """Takes no more calls, and waits for those in progress, up to ``grace`` seconds."""
        if self._front is not None:
            await asyncio.to_thread(self._front.drain, grace)

    async def stop(self) -> None:
        if self._front is not None:
            await asyncio.to_thread(self._front.stop)
        shutil.rmtree(self._folder, ignore_errors=True)


def _private_folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="bebr-"))  # of mode 0700
    if len(os.fsencode(made)) > _MOST_PATH:
        made.rmdir()
        made = Path(tempfile.mkdtemp(prefix="bebr-", dir="/tmp"))
    return made
