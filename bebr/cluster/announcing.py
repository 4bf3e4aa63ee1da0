"""A leaf says in its database where it is."""

from __future__ import annotations

import logging
import threading

from bebr.collection.protocol import DatabaseLocked
from bebr.serve.target import parse_target
from bebr.store.catalog.leaf_table import LeafTable

_log = logging.getLogger("bebr.cluster")

_EVERY = 2.0
_MOMENT = 0.25  # seconds that the end of a program may wait for a thread


class Announcing:
    """Says it once, then every two seconds by a thread of its own, until it is closed. Errors of the first time are the
    caller's; later PostgreSQL may be away for a while."""

    def __init__(self, url: str, address: str) -> None:
        self._address = parse_target(address)
        self._table = LeafTable(url)
        try:
            self._table.announce(self._address)
        except BaseException:
            self._table.close()
            raise
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="bebr-announce")
        self._thread.start()

    def close(self) -> None:
        """It is there no more."""
        self._stopping.set()
        self._thread.join()
        try:
            self._table.retire(self._address)
        except (ConnectionError, DatabaseLocked) as error:
            _log.warning("roots will find out by themselves that this leaf is gone: %s", error)
        self._table.close()

    def _go_on(self) -> None:
        waited, failing = 0.0, False
        while not self._stopping.wait(_MOMENT) and threading.main_thread().is_alive():
            waited += _MOMENT
            if waited < _EVERY:
                continue
            waited = 0.0
            try:
                self._table.announce(self._address)
                failing = False
            except Exception as error:
                if not failing:
                    _log.warning("roots are not told of this leaf at the moment: %s", error)
                failing = True
