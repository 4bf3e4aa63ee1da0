"""What time brings about in a shared database, done at once."""

from __future__ import annotations


def seen(db) -> None:
    """What the thread does every quarter of a second."""
    db._home._follower.look()


def expire(postgres, shared) -> None:
    """As if the holders of leases had said nothing for so long."""
    postgres.execute("UPDATE leases SET expires = now() - interval '1 second'", shared.url)
