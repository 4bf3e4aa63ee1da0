"""Which leaves a shared database has: a table of addresses, by which roots find them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from bebr.store.catalog.postgres import Postgres, is_empty, lock_names

_own = sa.MetaData()
leaves = sa.Table(
    "leaves",
    _own,
    sa.Column("address", sa.String, primary_key=True),
    sa.Column("seen", sa.DateTime(timezone=True), nullable=False),  # by the server's clock
)
# A leaf that has said nothing for so long is gone.
_LIVE = sa.text("interval '10 seconds'")
_COSTS = "the leaves are not known"


class LeafTable:
    """Of the database at a URL, which is asked by each call: FileNotFoundError where there is none; ConnectionError
    where it cannot be reached."""

    def __init__(self, url: str) -> None:
        self._sql = Postgres(sa.make_url(url), unsure=lambda: None)
        self._there = False

    def _make(self) -> None:
        """Makes the table unless it is there."""
        if not self._there:
            self._sql.write(self._made)
            self._there = True

    def _made(self, db: sa.Connection) -> None:
        lock_names(db)
        if is_empty(db):
            raise FileNotFoundError(f"{self._sql.name}: there is no database in this schema")
        _own.create_all(db)

    def announce(self, address: str) -> None:
        """A leaf is there; to be said again every few seconds."""
        self._make()
        new = insert(leaves).values(address=address, seen=sa.func.clock_timestamp())
        again = new.on_conflict_do_update(index_elements=[leaves.c.address], set_={"seen": new.excluded.seen})
        self._sql.write(lambda db: db.execute(again))

    def retire(self, address: str) -> None:
        """It is there no more."""
        self._make()
        self._sql.write(lambda db: db.execute(sa.delete(leaves).where(leaves.c.address == address)))

    def addresses(self) -> list[str]:
        """Of the leaves that are there, sorted."""
        self._make()
        recent = sa.select(leaves.c.address).where(leaves.c.seen > sa.func.now() - _LIVE).order_by(leaves.c.address)
        return self._sql.glance(recent, _COSTS)

    def close(self) -> None:
        self._sql.close()
