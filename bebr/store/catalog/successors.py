"""Successors: collections in the making that only the catalog names, each to take the place of another."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from bebr.store.catalog import schema as t
from bebr.store.catalog.listing import Entry
from bebr.store.catalog.names import Names, aside_of, successor_of
from bebr.store.catalog.records import CollectionRow, Settings
from bebr.store.catalog.versions import Slot


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

        return changed, self._write_names(work, done)

    def drop_successor(self, row: CollectionRow) -> tuple[CollectionRow, list[str]]:
        """Removes it again, or what the collection took the place of; returns the collection's row, and files to be
        deleted."""
        name = row.settings.successor
        changed = replace(row, settings=replace(row.settings, successor="", cut_over=False))

        def work(db: sa.Connection) -> list[str]:
            self._set(db, changed)
            return self._delete(db, self._listing.entries[name].id, name)

        def done(_: list[str]) -> None:
            self._listing.replace(changed)
            self._dropped(name)

        return changed, self._write_names(work, done, frees_space=True)

    def exchange(self, row: CollectionRow, settings: Settings, former: Settings) -> tuple[CollectionRow, CollectionRow]:
        """The successor of a collection takes its name, its aliases and `settings`, and the collection the place of the
        successor, with the settings `former`. Returns the new rows of both."""
        hidden, c = row.settings.successor, t.collections.c
        heir = self.collection(hidden)
        first = CollectionRow(heir.id, row.name, heir.model, settings)
        second = CollectionRow(row.id, hidden, row.model, former)

        def work(db: sa.Connection) -> dict[int, int]:
            found = {id: self._own_row(db, id) for id in sorted((row.id, heir.id))}
            for id, name, own in (
                (row.id, aside_of(row.name), former),  # no two have one name, not for a moment
                (heir.id, row.name, settings),
                (row.id, hidden, former),
            ):
                values = {k: v for k, v in found[id].items() if k != "crc"} | {"name": name, "settings": own.to_json()}
                db.execute(sa.update(t.collections).where(c.id == id).values(**t.signed(t.collections, **values)))
            for alias in [alias for alias, of in self._listing.aliases.items() if of == row.name]:
                moved = t.signed(t.aliases, name=alias, target=heir.id)
                db.execute(sa.update(t.aliases).where(t.aliases.c.name == alias).values(**moved))
            return {id: values["version"] for id, values in found.items()}

        def done(versions: dict[int, int]) -> None:
            for each in (first, second):
                self._listing.entries[each.name] = Entry(each.id, each, versions[each.id])
                self._versions.record(Slot(each.id, each.name, versions[each.id]))

        self._write_names(work, done)
        return first, second
