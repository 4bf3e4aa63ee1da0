"""Ids of rows as callers write them, and as rows carry them: a number, and beside it a key where the id is none.

An int stands for itself. A string or a UUID has a key (its kind, then its bytes) and a number that a hash
of the key gives: a *place*, 2^62 or above, so that smaller ints need no second look. Where a place is taken by another
id, the next few are tried; an int whose own number is taken gets a key and a place too. So the number finds a row, and
the key says whose it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias, cast
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Ids, as_ids

Id: TypeAlias = int | str | UUID
IdsLike: TypeAlias = ArrayLike | Sequence[Id]

FIRST_PLACE = 1 << 62
# Places that one id may have. More ids than this with one hash are refused: with 62 bits that is not chance.
PLACES = 4
MOST_BYTES = 1024
_INT, _TEXT, _UUID = b"i", b"s", b"u"
_BOOLS = {bool, np.bool_}
_MASK = FIRST_PLACE - 1


@dataclass(frozen=True)
class Named:
    """n ids: `numbers` int64[n], of a key its first place; `keys` b"" for an int, None: all of them are ints."""

    numbers: Ids
    keys: list[bytes] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Any) -> Named:
        """Those at ``rows``, a slice or int64[m]."""
        if self.keys is None:
            return Named(self.numbers[rows])
        return Named(self.numbers[rows], [self.keys[i] for i in np.arange(len(self))[rows].tolist()])

    def key(self, row: int) -> bytes:
        return b"" if self.keys is None else self.keys[row]

    def ids(self) -> list[Id]:
        """As callers write them."""
        numbers: list[int] = self.numbers.tolist()
        if self.keys is None:
            return list(numbers)
        return [id_of(number, key) for number, key in zip(numbers, self.keys, strict=True)]

    def last_of_each(self) -> Ids | None:
        """Which to keep, int64[m] ascending, so that each id stays once, where it comes last; None: all."""
        if len(self) == 1:
            return None
        if self.keys is None:
            if (self.numbers[1:] > self.numbers[:-1]).all():  # as they mostly come
                return None
            if len(np.unique(self.numbers)) == len(self):
                return None
            _, backwards = np.unique(self.numbers[::-1], return_index=True)
            return np.sort(len(self) - 1 - backwards)
        pairs = self.numbers.tolist(), self.keys
        places = {key or number: row for row, (number, key) in enumerate(zip(*pairs, strict=True))}
        return None if len(places) == len(self) else np.sort(np.fromiter(places.values(), np.int64))

    def once(self) -> Named:
        """Each id where it comes last."""
        kept = self.last_of_each()
        return self if kept is None else self[kept]


def name_ids(ids: IdsLike, name: str) -> Named:
    """Ids as callers write them. ``ValueError`` unless they are ints of 0 or greater, strings of 1 to 1024 bytes, or
    UUIDs, in a flat sequence."""
    if isinstance(ids, str | UUID):
        raise ValueError(f"{name} is {ids!r}: want a sequence of ids, such as [{ids!r}]")
    values: Any = ids
    if not isinstance(ids, list | tuple):
        array: NDArray[Any] = np.asarray(ids)  # a column of a data frame, too
        if array.dtype.kind not in "OUST":
            return Named(_whole(array, name))
        values = array.tolist()
    if not isinstance(values, list | tuple) or not any(isinstance(value, str | UUID) for value in values):
        return Named(_whole(cast("ArrayLike", values), name))
    keys = _text_keys(values) or [_checked_key(value, f"{name}[{row}]", name) for row, value in enumerate(values)]
    numbers = places_of(keys)
    if not all(keys):
        ints = np.flatnonzero([not key for key in keys])
        numbers[ints] = [values[row] for row in ints.tolist()]
    return Named(numbers, keys)


def _text_keys(values: Sequence[Any]) -> list[bytes]:
    """The keys of strings; none where one is no string that makes an id."""
    if set(map(type, values)) != {str}:
        return []
    try:
        keys = [_TEXT + value.encode() for value in values]
    except UnicodeEncodeError:
        return []
    sizes = list(map(len, keys))
    return keys if min(sizes) > 1 and max(sizes) <= MOST_BYTES + 1 else []


def _checked_key(value: Any, place: str, name: str) -> bytes:
    if not _is_int(value):
        return _key(value, place)
    if not 0 <= value < 1 << 63:
        raise ValueError(f"{name} holds {value}: want ids from 0 to 2^63 - 1")
    return b""


def _whole(ids: ArrayLike, name: str) -> Ids:
    if isinstance(ids, list | tuple) and ((kinds := set(map(type, ids))) & _BOOLS or len(kinds) > 1):
        # numpy takes a bool beside an int for one, and ints of several of its own types for floats.
        for row, value in enumerate(ids):
            _checked_key(value, f"{name}[{row}]", name)
        return np.fromiter(map(int, ids), np.int64, len(ids))
    try:
        array = as_ids(ids, name, wanted="ints, strings or UUIDs (n,)")
    except ValueError:
        for row, value in enumerate(ids if isinstance(ids, list | tuple) else ()):
            _checked_key(value, f"{name}[{row}]", name)  # the error of the first that is no id
        raise
    if len(array) and int(array.min()) < 0:
        raise ValueError(f"{name} holds {array.min()}: want ids of 0 or greater")
    return array


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _key(value: Any, name: str) -> bytes:
    if isinstance(value, UUID):
        return _UUID + value.bytes
    if not isinstance(value, str):
        raise ValueError(f"{name} is a {type(value).__name__}: want an int, a string or a UUID")
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} is {value!r}: {error.reason}") from error
    if not 1 <= len(data) <= MOST_BYTES:
        raise ValueError(f"{name} has {len(data)} bytes: want a string of 1 to {MOST_BYTES}")
    return _TEXT + data


def check_key(key: bytes, name: str) -> bytes:
    """A key that another client wrote. ``ValueError`` unless it is b"" or the key of a string or a UUID."""
    if key[:1] == _TEXT:
        try:
            key.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} is not UTF-8 after its first byte") from error
        if not 2 <= len(key) <= MOST_BYTES + 1:
            raise ValueError(f"{name} has {len(key) - 1} bytes after its first: want 1 to {MOST_BYTES}")
    elif key and (key[:1] != _UUID or len(key) != 17):
        raise ValueError(f"{name} is {key[:20]!r}: want b'', b's' and text, or b'u' and the 16 bytes of a UUID")
    return key


def of_keys(numbers: Ids, keys: Sequence[bytes], name: str) -> Named:
    """Ids as another client wrote them: keys of the rows that have some, or no keys at all. ``ValueError``."""
    if not keys:
        return Named(_whole(numbers, name))
    if len(keys) != len(numbers):
        raise ValueError(f"{name} has {len(numbers)} numbers and {len(keys)} keys: want as many, or no keys")
    checked = [check_key(key, f"{name}[{row}]") for row, key in enumerate(keys)]
    placed = places_of(checked)
    has = np.fromiter(map(bool, checked), np.bool_, len(checked))
    return Named(_whole(np.where(has, placed, numbers), name), checked)


def places_of(keys: Sequence[bytes], attempt: int = 0) -> Ids:
    """The places that the hashes of keys name, int64[n], or the ones so many after these."""
    return ((_hashes(keys) + np.uint64(attempt)) & np.uint64(_MASK) | np.uint64(FIRST_PLACE)).view(np.int64)


def _hashes(keys: Sequence[bytes]) -> NDArray[np.uint64]:
    # Part of the file format: rows are found by it. Not Python's hash, which differs from process to process.
    return np.frombuffer(b"".join([blake2b(key, digest_size=8).digest() for key in keys]), "<u8").astype(np.uint64)


def int_key(number: int) -> bytes:
    """The key of an int whose own number is taken."""
    return _INT + number.to_bytes(8, "little")


def named_array(numbers: Ids, keys: Sequence[bytes] | None) -> NDArray[Any]:
    """The ids of rows, in the shape of their `numbers`: these themselves where there are no keys at all, else an object
    array, with None for −1."""
    if not keys:
        return numbers
    ids = np.empty(numbers.size, object)
    for row, (number, key) in enumerate(zip(numbers.ravel().tolist(), keys, strict=True)):
        ids[row] = None if number < 0 else id_of(number, key)
    return ids.reshape(numbers.shape)


def id_of(number: int, key: bytes) -> Id:
    """The id of a row. ``ValueError`` for what is no key."""
    kind, data = key[:1], key[1:]
    if not key:
        return number
    if kind == _TEXT:
        return data.decode()
    if kind == _UUID:
        return UUID(bytes=data)
    if kind == _INT and len(data) == 8:
        return int.from_bytes(data, "little")
    raise ValueError(f"{key!r} is no key")
