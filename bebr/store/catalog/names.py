"""What the catalog calls things: models by digest, collections by name, and their aliases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bebr.collection.protocol import AlreadyExists
from bebr.errors import CorruptFile
from bebr.store.catalog import schema as t
from bebr.store.catalog.listing import Entry
from bebr.store.catalog.records import CollectionRow, Settings
from bebr.store.catalog.tables import COUNTS, CatalogTables, note_removed, update_rows
from bebr.store.catalog.versions import Slot

_log = logging.getLogger("bebr.store")


# In names that only the catalog has; no name of a collection has a space.
_HIDDEN = " "


def successor_of(name: str) -> str:
    """The hidden name of the collection that is to take the place of another."""
    return f"{name}{_HIDDEN}next"


def aside_of(name: str) -> str:
    """A name that a collection has within a transaction, while another one takes its own."""
    return f"{name}{_HIDDEN}aside"


class Names(CatalogTables):
    """Models, collections and aliases of a catalog."""

    _aliases_seen: Callable[[Mapping[str, str]], None] | None = None

    # Models

    def add_model(self, digest: str) -> None:
        def work(db: sa.Connection) -> None:
            db.execute(sa.delete(t.models).where(t.models.c.digest == digest))
            db.execute(sa.insert(t.models).values(**t.signed(t.models, digest=digest)))

        self._write_names(work, lambda _: self._listing.models.add(digest))

    def models(self) -> list[str]:
        """Digests, sorted."""
        return sorted(self._listing.models)

    def has_model(self, digest: str) -> bool:
        return digest in self._listing.models

    # Collections

    def create_collection(self, name: str, model: str, settings: Settings | None = None) -> CollectionRow:
        """AlreadyExists for a name that is taken."""

        def work(db: sa.Connection) -> CollectionRow:
            self._check_free(name)
            return self._insert(db, name, model, settings or Settings())

        return self._write_names(work, self._created)

    def _check_free(self, name: str) -> None:
        if name in self._listing.aliases:
            raise AlreadyExists(f"{name!r} is an alias of {self._listing.aliases[name]!r}: drop_alias it first")

    def _insert(self, db: sa.Connection, name: str, model: str, settings: Settings) -> CollectionRow:
        taken = AlreadyExists(f"collection {name!r} already exists: use collection({name!r}) or drop it first")
        if name in self._listing.entries:
            raise taken
        key = "next_collection"
        id = int(self._meta(db, key, "no collection can be created: restore catalog.db from a backup"))
        id = max(id, 1 + max(self._versions.found, default=0))
        following = t.signed(t.meta, key=key, value=str(id + 1))
        db.execute(sa.update(t.meta).where(t.meta.c.key == key).values(**following))
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        fields = {"model": model, "created": created, "settings": settings.to_json()}
        counts = {"dropped": 0, "version": 0, "sealed": 0, **dict.fromkeys(COUNTS, 0)}
        try:
            db.execute(sa.insert(t.collections).values(**t.signed(t.collections, id=id, name=name, **fields, **counts)))
        except IntegrityError as error:  # it was created, but the call was interrupted before it returned
            raise taken from error
        return CollectionRow(id, name, model, settings)

    def _created(self, row: CollectionRow, version: int = 0) -> None:
        self._versions.record(Slot(row.id, row.name, version))
        self._listing.entries[row.name] = Entry(row.id, row, version)
        self._show_aliases(self._listing.aliases)

    def collection(self, name: str) -> CollectionRow:
        """KeyError if there is none, CorruptFile if what the catalog says of it is damaged."""
        found = self._listing.entries.get(name)
        if found is None:
            raise KeyError(f"no collection {name!r}")
        if found.row is None:
            raise CorruptFile(*(found.error.args if found.error else ()))
        return found.row

    def set_settings(self, row: CollectionRow) -> None:
        """The model and the settings of a collection become those of `row`."""
        self._sql.write(lambda db: self._set(db, row), lambda _: self._listing.replace(row))

    def _set(self, db: sa.Connection, row: CollectionRow) -> None:
        values = self._own_row(db, row.id)
        update_rows(db, values | {"model": row.model, "settings": row.settings.to_json()})

    def number(self, name: str) -> int:
        """Of a collection, be it damaged."""
        return self._listing.entries[name].id

    def collections(self, hidden: bool = False) -> list[str]:
        """Names, sorted, of damaged collections too; with `hidden`, those that only the catalog names."""
        names = list(self._listing.entries)  # a list at once, since a writer may add one
        return sorted(name for name in names if hidden or _HIDDEN not in name)

    def drop_collection(self, name: str) -> list[str]:
        """Removes the collection and everything of it; returns its segment files, now to be deleted. A damaged one goes
        too; files that damaged rows name stay. KeyError if there is none."""
        gone: list[str] = []

        def work(db: sa.Connection) -> list[str]:
            entries = self._listing.entries
            if name not in entries:
                raise KeyError(f"no collection {name!r}")
            gone[:] = [each for each in (name, successor_of(name)) if each in entries]
            db.execute(sa.delete(t.aliases).where(t.aliases.c.target == entries[name].id))
            return [file for each in gone for file in self._delete(db, entries[each].id, each)]

        def done(_: list[str]) -> None:
            for each in gone:
                self._dropped(each)
            self._show_aliases({a: of for a, of in self._listing.aliases.items() if of != name})

        return self._write_names(work, done, frees_space=True)

    def _delete(self, db: sa.Connection, id: int, name: str) -> list[str]:
        """Removes what there is of a collection, but its aliases, and remembers its number; returns its files."""
        c, s = t.collections, t.segments
        nothing = {"model": "", "created": "", "settings": "", "version": 0, "sealed": 0}
        counts = dict.fromkeys(COUNTS, 0)
        grave = t.signed(c, id=id, name=f"dropped{_HIDDEN}{id}", dropped=1, **nothing, **counts)
        files = []
        for row in db.execute(sa.select(s).where(s.c.collection == id)).all():
            try:
                files.append(self._sql.verified(s, row, f"collection {name!r}, file {row.file!r}", "")["file"])
            except CorruptFile as error:
                _log.warning("%s its file is left alone", error)
        note_removed(db, files)
        for table in (t.operations, t.segments):
            db.execute(sa.delete(table).where(table.c.collection == id))
        db.execute(sa.delete(c).where(c.c.id == id))
        db.execute(sa.insert(c).values(**grave))
        return files

    def _dropped(self, name: str) -> None:
        id = self._listing.entries.pop(name).id
        slot = self._versions.found.get(id)
        self._versions.record(Slot(id, name, slot.version if slot else 0, dropped=True))

    # Aliases

    def aliases(self) -> dict[str, str]:
        """The collection of each."""
        return dict(sorted(self._listing.aliases.items()))

    def watch_aliases(self, seen: Callable[[Mapping[str, str]], None]) -> None:
        """Has `seen` called with the collection of each alias: now, and whenever names of collections or aliases are
        others, before the write that did it returns. Before there are other writers."""
        self._aliases_seen = seen
        seen(self._listing.aliases)

    def _show_aliases(self, aliases: dict[str, str]) -> None:
        self._listing.aliases = aliases
        if self._aliases_seen is not None:
            self._aliases_seen(aliases)

    def resolved(self, name: str) -> str:
        """The collection of an alias; another name as it is."""
        return self._listing.aliases.get(name, name)

    def set_alias(self, alias: str, name: str) -> None:
        """KeyError if there is no collection `name`, AlreadyExists where `alias` is the name of one."""

        def work(db: sa.Connection) -> None:
            if alias in self._listing.entries:
                raise AlreadyExists(f"{alias!r} is a collection: want a name that none has")
            if name not in self._listing.entries:
                raise KeyError(f"no collection {name!r}")
            db.execute(sa.delete(t.aliases).where(t.aliases.c.name == alias))
            row = t.signed(t.aliases, name=alias, target=self._listing.entries[name].id)
            db.execute(sa.insert(t.aliases).values(**row))

        def done(_: None) -> None:
            self._show_aliases({**self._listing.aliases, alias: name})

        self._write_names(work, done)

    def drop_alias(self, alias: str) -> None:
        """KeyError if there is none."""

        def work(db: sa.Connection) -> None:
            if alias not in self._listing.aliases:
                raise KeyError(f"no alias {alias!r}")
            db.execute(sa.delete(t.aliases).where(t.aliases.c.name == alias))

        def done(_: None) -> None:
            self._show_aliases({a: of for a, of in self._listing.aliases.items() if a != alias})

        self._write_names(work, done, frees_space=True)
