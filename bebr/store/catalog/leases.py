"""Who writes what of a database that several processes have open."""

from __future__ import annotations

from bebr.store.catalog.owners import Ownable
from bebr.store.catalog.shared import SharedCatalog


class Leases:
    """By the leases of a catalog that several processes have open."""

    def __init__(self, catalog: SharedCatalog) -> None:
        self._catalog = catalog
        self.taken: list[int] = []
        """Collections whose leases were taken, and not yet looked at by `Leftovers`."""

    def holds(self, collection: int) -> bool:
        return self._catalog.holds(collection)

    def own(self, collection: Ownable) -> None:
        """Takes the lease, if need be, and then reads what was written until then."""
        if self._catalog.holds(collection.number):
            return
        another = False
        while True:
            self._catalog.refresh()
            row = self._catalog.collection(collection.name)
            if self._catalog.holds(row.id):
                break
            another |= self._catalog.take(row.id)  # after it, nobody else changes the row
            self.taken.append(row.id)
        try:
            collection.reload(row, -1 if another else self._catalog.version(collection.name))
        except BaseException:
            self._catalog.lose(row.id)
            raise
