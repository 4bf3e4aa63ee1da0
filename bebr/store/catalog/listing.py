"""What a catalog says there is, checked against the versions that were acknowledged, damaged collections included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bebr.errors import CorruptFile
from bebr.store.catalog import schema as t
from bebr.store.catalog.records import CollectionRow, Settings
from bebr.store.catalog.sql import Sql
from bebr.store.catalog.versions import Slot, Slots

LOST = "it costs this collection: restore the folder from a backup, or drop the collection"
ALL = "it costs every collection: restore catalog.db from a backup"


@dataclass(frozen=True)
class Entry:
    """A collection: its row and version, or `error`, which says why it cannot be read."""

    id: int
    row: CollectionRow | None = None
    version: int = 0
    error: CorruptFile | None = None


@dataclass
class Listing:
    """`entries` by name; `dropped`: the numbers of collections that are remembered as such; digests of `models`;
    `notices`: damages that cost no collection; `aliases`: the collection of each."""

    entries: dict[str, Entry]
    dropped: list[int]
    models: set[str]
    notices: list[str]
    aliases: dict[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether no collection is damaged as far as the catalog tells."""
        return all(entry.error is None for entry in self.entries.values())

    def replace(self, row: CollectionRow) -> None:
        """What the catalog says of a collection has changed."""
        self.entries[row.name] = replace(self.entries[row.name], row=row)


def read_listing(sql: Sql, versions: Slots) -> Listing:
    """Every collection and model. Later, names are looked up in this answer: an index of the database could be damaged
    where its table is not. CorruptFile where not even names are known."""
    listing = Listing({}, [], set(), [])
    _read_collections(sql, versions, listing)
    for where, problem in versions.wrong.items():
        listing.notices.append(
            f"{versions.path}: slot {where} {problem}; it costs nothing, but commits of its collection that were lost "
            "before now cannot be noticed"
        )
    if versions.expected and listing.entries and not versions.found:
        listing.notices.append(
            f"{versions.path} is missing or empty; it costs nothing, but commits that were lost before now cannot be "
            "noticed"
        )
    _read_aliases(sql, listing)
    again = "it costs no collection: register the model again"
    try:
        with sql.read(again) as db:
            for row in db.execute(sa.select(t.models)).all():
                try:
                    listing.models.add(sql.verified(t.models, row, f"model {row.digest!r}", again)["digest"])
                except CorruptFile as error:
                    listing.notices.append(str(error))
    except CorruptFile as error:
        listing.notices.append(str(error))
    return listing


def _read_aliases(sql: Sql, listing: Listing) -> None:
    costs = "it costs no collection: set the alias again"
    names = {entry.id: name for name, entry in listing.entries.items()}
    try:
        with sql.read(costs) as db:
            for row in db.execute(sa.select(t.aliases)).all():
                try:
                    alias = sql.verified(t.aliases, row, f"alias {row.name!r}", costs)
                except CorruptFile as error:
                    listing.notices.append(str(error))
                else:
                    listing.aliases[alias["name"]] = names.get(alias["target"], f"collection {alias['target']}")
    except CorruptFile as error:
        listing.notices.append(str(error))


def _read_collections(sql: Sql, versions: Slots, listing: Listing) -> None:
    fault: CorruptFile | None = None
    seen = set()
    try:
        with sql.read(ALL) as db:
            for row in db.execute(sa.select(t.collections)):
                seen.add(row.id)
                slot = versions.found.get(row.id)
                name = slot.name if slot else row.name if isinstance(row.name, str) else f"collection {row.id}"
                entry = _entry(sql, row, name, slot, versions.path)
                if entry is None:
                    listing.dropped.append(row.id)
                else:  # a slot may have the name that it had before a successor took its place
                    listing.entries.setdefault(entry.row.name if entry.row else name, entry)
    except CorruptFile as error:
        if not versions.found:
            raise
        fault = error
    for slot in versions.found.values():
        if slot.id not in seen and not slot.dropped:
            lost = fault or behind(sql.name, slot, 0, versions.path)
            listing.entries.setdefault(slot.name, Entry(slot.id, error=lost))


def _entry(sql: Sql, row: sa.Row[Any], name: str, slot: Slot | None, path: Path) -> Entry | None:
    """None for a collection that was dropped."""
    try:
        good = sql.verified(t.collections, row, f"collection {name!r}", LOST)
    except CorruptFile as error:
        return Entry(row.id, error=error)
    if good["dropped"]:
        return None
    if slot and (slot.dropped or slot.version > good["version"]):
        return Entry(row.id, error=behind(sql.name, slot, good["version"], path))
    try:
        settings = Settings.of_json(good["settings"])
    except (ValueError, TypeError) as error:
        return Entry(row.id, error=CorruptFile(f"{sql.name}: collection {name!r}: {error}; {LOST}"))
    return Entry(row.id, CollectionRow(row.id, good["name"], good["model"], settings), good["version"])


def behind(catalog: str, slot: Slot, version: int, versions: Path) -> CorruptFile:
    """The error of a collection whose catalog is older than what was acknowledged."""
    missing = f"the last {slot.version - version} of {slot.version} acknowledged writes and seals"
    return CorruptFile(
        f"{catalog} lacks {'its drop' if slot.dropped else missing} of collection {slot.name!r}, says {versions.name}: "
        f"its write-ahead log was damaged or removed, or it is an older copy; {LOST}, or delete {versions.name} to go "
        "on, in all collections, with what is left"
    )


def damaged_rows(sql: Sql) -> Iterator[tuple[int | None, CorruptFile]]:
    """Every row that is not as it was written, with the number of its collection, where it has one; of a table that
    cannot be read to its end, those before."""
    for table in t.metadata.sorted_tables:
        keys = [column.name for column in table.primary_key.columns]
        with suppress(CorruptFile), sql.read(ALL) as db:
            for row in db.execution_options(yield_per=8).execute(sa.select(table)):
                values = dict(row._mapping)
                key = ", ".join(f"{name} {values[name]!r}" for name in keys)
                id = values.get("collection", values["id"] if table is t.collections else None)
                try:
                    sql.verified(table, row, key, LOST if id else "it costs no collection: restore catalog.db")
                except CorruptFile as error:
                    yield id, error
