"""Successors: collections in the making that only the catalog names, each to take the place of another."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from bebr.store import schema as t
from bebr.store.listing import Entry
from bebr.store.names import Names, successor_of
from bebr.store.records import CollectionRow, Settings
from bebr.store.versions import Slot


class Successors(Names):
    """Each step is one transaction: the collection is searched by the old rows or by the new ones."""

    def create_successor(
        self, row: CollectionRow, model: str, settings: Settings
    ) -> tuple[CollectionRow, CollectionRow]:
        """An empty collection beside that of `row`, whose settings name it then; returns the row with these, and the
        row of the new one."""
        name = successor_of(row.name)
        changed = replace(row, settings=replace(row.settings, successor=name))

        def work(db: sa.Connection) -> CollectionRow:
            self._set(db, changed)
            return self._insert(db, name, model, settings)

        def done(made: CollectionRow) -> None:
            self._listing.replace(changed)
            self._created(made)

        return changed, self._sql.write(work, done)

    def drop_successor(self, row: CollectionRow) -> tuple[CollectionRow, list[str]]:
        """Removes it again; returns the collection's row, and files to be deleted."""
        name = row.settings.successor
        changed = replace(row, settings=replace(row.settings, successor=""))

        def work(db: sa.Connection) -> list[str]:
            self._set(db, changed)
            return self._delete(db, self._listing.entries[name].id, name)

        def done(_: list[str]) -> None:
            self._listing.replace(changed)
            self._dropped(name)

        return changed, self._sql.write(work, done, frees_space=True)

    def succeed(self, row: CollectionRow, settings: Settings) -> tuple[CollectionRow, list[str]]:
        """The successor of a collection takes its name and its aliases, and these settings; the collection is removed.
        Returns the new row, and files to be deleted."""
        hidden, c = row.settings.successor, t.collections.c
        heir = self.collection(hidden)
        made = CollectionRow(heir.id, row.name, heir.model, settings)

        def work(db: sa.Connection) -> tuple[list[str], int]:
            values = {k: v for k, v in self._row(db, heir.id).items() if k != "crc"}
            files = self._delete(db, row.id, row.name)
            named = t.signed(t.collections, **(values | {"name": row.name, "settings": settings.to_json()}))
            db.execute(sa.update(t.collections).where(c.id == heir.id).values(**named))
            for alias in [alias for alias, of in self._listing.aliases.items() if of == row.name]:
                moved = t.signed(t.aliases, name=alias, target=heir.id)
                db.execute(sa.update(t.aliases).where(t.aliases.c.name == alias).values(**moved))
            return files, values["version"]

        def done(result: tuple[list[str], int]) -> None:
            self._dropped(row.name)
            self._listing.entries.pop(hidden)
            self._listing.entries[row.name] = Entry(heir.id, made)
            self._versions.record(Slot(heir.id, row.name, result[1]))

        return made, self._sql.write(work, done)[0]
