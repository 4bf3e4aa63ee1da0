"""What shards are called: shard 0 of the 4 of "docs" is the collection "docs.0of4"; one shard is "docs" itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bebr.collection.checks import check_name, is_shared

MOST_SHARDS = 1024
_SHARD = re.compile(r"(?P<name>.+)\.(?P<number>0|[1-9]\d*)of(?P<of>[1-9]\d*)")


@dataclass(frozen=True)
class Shard:
    """Shard `number` of the `of` of the collection `name`."""

    name: str
    number: int
    of: int

    def __str__(self) -> str:
        return self.name if self.of == 1 else f"{self.name}.{self.number}of{self.of}"


def parsed(collection: str) -> Shard:
    """The shard that a collection of the database is; of another name, the only one."""
    found = _SHARD.fullmatch(collection)
    if found is not None and 1 < int(found["of"]) <= MOST_SHARDS and int(found["number"]) < int(found["of"]):
        return Shard(found["name"], int(found["number"]), int(found["of"]))
    return Shard(collection, 0, 1)


def shards_of(name: str, of: int) -> list[Shard]:
    """All of a collection that is to be made. ``ValueError`` for a name that none may have, or that shards have."""
    shards = [Shard(check_name(name), number, of) for number in range(of)]
    if parsed(name).of > 1:
        raise ValueError(f"name is {name!r}, which is that of a shard: want another one")
    if of > 1 and len(str(shards[-1])) > 128:
        raise ValueError(f"name has {len(name)} characters: want {128 - len(str(shards[-1])) + len(name)} or fewer")
    return shards


def check_url(url: str) -> str:
    """The URL of a shared database; ``ValueError`` for a folder, or for what is of another server."""
    if not is_shared(url):
        raise ValueError(
            f"the database is {url!r}: want the URL of PostgreSQL, postgresql://… (a leaf of a folder: `bebr serve`)"
        )
    return url


class Taken:
    """Which shards a leaf takes. `texts`: "2", those of this number of every collection, or "docs:2", that of one;
    none: all. A collection that is not split is its shard 0. ``ValueError`` for another text."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.texts = tuple(texts)
        self._pairs: set[tuple[str | None, int]] = set()
        for text in self.texts:
            name, colon, number = text.rpartition(":")
            if not (number.isascii() and number.isdigit() and int(number) < MOST_SHARDS) or (colon and not name):
                raise ValueError(f"shards holds {text!r}: want the number of a shard, or one as docs:0")
            self._pairs.add((check_name(name) if colon else None, int(number)))

    def takes(self, shard: Shard) -> bool:
        return not self._pairs or not self._pairs.isdisjoint([(None, shard.number), (shard.name, shard.number)])

    def __call__(self, name: str) -> bool:
        """Whether it takes a collection of the database."""
        return self.takes(parsed(name))
