"""Checks of what callers hand in, shared by the local collection and the client: both refuse the same things in the
same words."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from numbers import Real
from typing import Any, get_args
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Floats, as_vectors
from bebr.binarizer import Binarizer
from bebr.collection.bare import VectorsLike, as_rows, spread
from bebr.collection.filter_form import FilterLike, as_filter, check_path
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import Id, IdsLike, Named, name_ids
from bebr.collection.options import Groups
from bebr.collection.protocol import OnConflict, OnDuplicate, Payload
from bebr.index import check_integer, check_k, check_oversampling
from bebr.index.segments import MOST_CANDIDATES
from bebr.index.sizes import MOST_LISTS

# Queries of a measurement of recall.
MOST_SAMPLE = 10_000

_MOST_GROUP = 10_000
_MOST_ROWS = (1 << 31) - 1
_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,128}")


def is_shared(path: str | os.PathLike[str]) -> bool:
    """Whether a database's place is the URL of one in PostgreSQL; else it is a folder."""
    return str(path).startswith(("postgresql://", "postgresql+psycopg://"))


def check_name(name: str) -> str:
    """A collection's name. ``ValueError`` unless it is 1 to 128 characters of A-Z a-z 0-9 _ . -, but for
    "." and "..", which are no last part of an address: clients of HTTP take them for a step."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"name is {name!r}: want 1 to 128 characters of A-Z a-z 0-9 _ . -, and neither . nor ..")
    return name


def check_model(bz: Binarizer, name: str = "bz") -> Binarizer:
    """``ValueError`` unless ``bz`` is a Binarizer."""
    if not isinstance(bz, Binarizer):
        raise ValueError(f"{name} is {bz!r}: want a bebr.Binarizer, as bebr.train makes it")
    return bz


def check_ids(ids: IdsLike, name: str = "ids", unique: bool = False) -> Named:
    """``ids`` as numbers and keys. ``ValueError`` unless ints of 0 or greater, strings or UUIDs and, if ``unique``, all
    different."""
    named = name_ids(ids, name)
    return check_distinct(named, name) if unique else named


def check_distinct(ids: Named, name: str) -> Named:
    """``ids``, ``ValueError`` where one comes twice."""
    if (kept := ids.last_of_each()) is not None:
        twice = min(set(range(len(ids))) - set(kept.tolist()))
        raise ValueError(f"{name} holds {ids.ids()[twice]!r} more than once: want each id once in a call")
    return ids


def check_page(limit: int, after: Id | None) -> Named | None:
    """The arguments of a scroll; returns the id after which it begins, None for none."""
    check_integer("limit", limit, _MOST_ROWS)
    if after is None:
        return None
    if not isinstance(after, str | UUID):
        check_integer("after", after, np.iinfo(np.int64).max, least=0)
    return name_ids([after], "after")


def check_rows(
    ids: IdsLike,
    x: VectorsLike,
    payloads: Sequence[Payload | None] | None,
    dim: int,
    on_duplicate: OnDuplicate = "last",
) -> tuple[Named, Floats, list[str]]:
    """The arguments of an upsert: n distinct ids, vectors float32[n, dim] (NaN: none, `bebr.collection.bare`), payloads
    as JSON (empty list: none at all). Of an id that comes several times the last row is kept, or ``ValueError``, as
    ``on_duplicate`` says."""
    rows = check_ids(ids, unique=_refuses(on_duplicate))
    vectors = _one_each(rows, as_rows(x, len(rows), dim))
    return _last_of_each(rows, vectors, dump_payloads(payloads, len(rows)))


def check_text_rows(
    ids: Named, x: ArrayLike, texts: list[str], dim: int, on_duplicate: OnDuplicate, none: Sequence[int] = ()
) -> tuple[Named, Floats, list[str]]:
    """:func:`check_rows` with ids and payloads of another client that have been let through. ``x``: the vectors of all
    rows but ``none``."""
    rows = check_distinct(ids, "ids") if _refuses(on_duplicate) else ids
    given = as_vectors(x, "x", dim)
    return _last_of_each(rows, spread(given, none, len(rows)) if none else _one_each(rows, given), texts)


def _refuses(on_duplicate: str) -> bool:
    if on_duplicate not in ("last", "error"):
        raise ValueError(f"on_duplicate is {on_duplicate!r}: want 'last' or 'error'")
    return on_duplicate == "error"


def _one_each(ids: Named, vectors: Floats) -> Floats:
    if len(ids) != len(vectors):
        raise ValueError(f"ids has {len(ids)} entries and x {len(vectors)} rows: want one id per row")
    return vectors


def _last_of_each(ids: Named, vectors: Floats, texts: list[str]) -> tuple[Named, Floats, list[str]]:
    """Rows without those whose id comes again later."""
    kept = ids.last_of_each()
    if kept is None:
        return ids, vectors, texts
    return ids[kept], vectors[kept], [texts[i] for i in kept.tolist()] if texts else texts


def check_conflict(on_conflict: OnConflict) -> OnConflict:
    """``ValueError`` unless it says what happens to ids that are there."""
    if on_conflict not in get_args(OnConflict):
        raise ValueError(f"on_conflict is {on_conflict!r}: want 'replace', 'skip' or 'error'")
    return on_conflict


def check_stream_rows(ids: IdsLike, x: ArrayLike, dim: int) -> tuple[Named, Floats]:
    """A batch of vectors of another producer: distinct ids, of each the last row, and vectors float32[n, dim]."""
    rows, vectors, _ = check_rows(ids, as_vectors(x, "vectors", dim), None, dim)
    return rows, vectors


def check_new_payloads(ids: IdsLike, payloads: Sequence[Payload | None]) -> tuple[Named, list[str]]:
    """The arguments of set_payloads: n distinct ids and payloads as JSON, "" for None."""
    rows = check_ids(ids, unique=True)
    if payloads is None:
        raise ValueError("payloads is None: want one per row, None where a row is to have none")
    return rows, dump_payloads(payloads, len(rows))


def check_delete(ids: IdsLike | None, filter: FilterLike | None) -> Named | Filter:
    """What a delete is about: ids, or a filter. ``ValueError`` unless it is exactly one of them."""
    if (ids is None) == (filter is None):
        given = "neither ids nor filter" if ids is None else "both ids and filter"
        raise ValueError(f"delete got {given}: want one of them")
    return as_filter(filter) if filter is not None else check_ids(ids if ids is not None else ())


def check_none_behind(behind: int, rows: int, model: str, call: str) -> None:
    """What `cutover` and `rollback` want unless they are told otherwise: ``ValueError`` where `behind` of the rows have
    no vector of the model that they lead to, which says how to `call` so that they need none."""
    if behind:
        raise ValueError(
            f"{behind} of {rows} rows have no vector of model {model} yet: stream them (scroll(behind=True) names "
            f"them), or {call}(bare=True), which leaves them without one"
        )


def check_query(q: ArrayLike, k: int, query: str, oversampling: int | None, exact: bool, dim: int) -> Floats:
    """The arguments of a search; returns ``q`` as float32[n, dim]. ``ValueError`` names what is wrong."""
    vectors = as_vectors(q, "q", dim, allow_empty=False)
    check_k(k)
    check_mode(query, oversampling, exact)
    return vectors


def check_mode(query: str, oversampling: int | None, exact: bool) -> None:
    """How a search compares. ``ValueError`` names what is wrong."""
    if query not in ("float", "code"):
        raise ValueError(f"query is {query!r}: want 'float' or 'code'")
    check_oversampling(oversampling, exact)


def check_effort(nprobe: int | None, ef_search: int | None, exact: bool) -> None:
    """``ValueError`` unless lists and candidates of a search are None or in range, and not beside ``exact``."""
    for name, value, most in (("nprobe", nprobe, MOST_LISTS), ("ef_search", ef_search, MOST_CANDIDATES)):
        if value is not None:
            check_integer(name, value, most)
            if exact:
                raise ValueError(f"{name} is {value} and exact is True, which looks at every row: want one of them")


def check_window(k: int, radius: float | None, offset: int) -> int:
    """The arguments of a search that say which part of the ranking is wanted; returns how far it reaches, offset + k.
    ``ValueError`` names what is wrong."""
    if radius is not None and (isinstance(radius, bool) or not isinstance(radius, Real) or not math.isfinite(radius)):
        raise ValueError(f"radius is {radius!r}: want a finite number")
    return check_k(k) + check_integer("offset", offset, _MOST_ROWS - check_k(k), least=0)


def check_timeout(timeout: float | None) -> float | None:
    """``timeout`` in seconds, None for no limit. ``ValueError`` unless it is a number of 0 or greater."""
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, Real) or not timeout >= 0):
        raise ValueError(f"timeout is {timeout!r}: want None or a number of seconds")
    return None if timeout is None else float(timeout)


def check_texts(text: str | Sequence[str] | None, fusion: str) -> list[str] | None:
    """The words to be searched for, one text a query; None: by vectors alone. ``ValueError`` names what is wrong."""
    if fusion != "rrf":
        raise ValueError(f"fusion is {fusion!r}: want 'rrf'")
    if text is None:
        return None
    if not isinstance(text, Iterable):
        raise ValueError(f"text is {text!r}: want a string, or one per query")
    texts = [text] if isinstance(text, str) else list(text)
    if not texts:
        raise ValueError("text is empty: want one text per query")
    for row, one in enumerate(texts):
        if not isinstance(one, str):
            raise ValueError(f"text[{row}] is a {type(one).__name__}: want a string")
        try:
            one.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"text[{row}] is {one!r}: {error.reason}") from error
    return texts


def check_beside_text(
    texts: list[str] | None, vectors: NDArray[Any] | None, radius: float | None, groups: Groups | None
) -> None:
    """``ValueError`` unless a search has queries, as many vectors as texts, and asks of ranks by text only what these
    have."""
    if texts is None:
        if vectors is None:
            raise ValueError("q is None, and so is text: want vectors, words to search for, or both")
        return
    if vectors is not None and len(vectors) != len(texts):
        raise ValueError(f"q has {len(vectors)} rows and text {len(texts)} entries: want one text per query")
    if radius is not None:
        raise ValueError(f"radius is {radius!r} beside text: want None, for ranks have no distance")
    if groups is not None:
        raise ValueError(f"group_by is {groups.by!r} beside text: want None")


def check_text_fields(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """The payload fields that are searched by their words. ``ValueError`` unless they are distinct dotted paths."""
    if text is None:
        return ()
    if not isinstance(text, Iterable):
        raise ValueError(f"text is {text!r}: want the name of a field, or a list of them")
    fields = (text,) if isinstance(text, str) else tuple(text)
    for field in fields:
        check_path(field, "text")
    if len(set(fields)) < len(fields):
        raise ValueError(f"text is {list(fields)!r}: want each field once")
    return fields


def check_groups(group_by: str | None, group_size: int) -> Groups | None:
    """How hits are to be grouped; None: not at all. ``ValueError`` names what is wrong."""
    size = check_integer("group_size", group_size, _MOST_GROUP)
    if group_by is None:
        if size != 1:
            raise ValueError(f"group_size is {size}, but group_by is None: want the field to group by")
        return None
    check_path(group_by, "group_by")
    return Groups(group_by, size)


def check_query_ids(ids: Named) -> Named:
    """The rows that a search by ids starts from. ``ValueError`` for none."""
    if len(ids) == 0:
        raise ValueError("ids is empty: want at least one id")
    return ids


def check_sample(sample: int | np.integer[Any]) -> int:
    """How many rows are drawn as queries. ``ValueError`` unless a whole number from 1 to 10,000."""
    return check_integer("sample", int(sample), MOST_SAMPLE)


def dump_payloads(payloads: Sequence[Payload | None] | None, rows: int) -> list[str]:
    """Payloads as JSON text, "" for None. No payloads at all gives an empty list. ``ValueError`` if one is not a JSON
    object."""
    if payloads is None:
        return []
    if isinstance(payloads, Mapping | str):
        raise ValueError(f"payloads is a {type(payloads).__name__}: want a list with a dict or None per row")
    if len(payloads) != rows:
        raise ValueError(f"payloads has {len(payloads)} entries: want one per row ({rows}), None where there is none")
    texts, write = [], _payload_writer()
    for row, payload in enumerate(payloads):
        if payload is not None and not isinstance(payload, dict):
            raise ValueError(f"payloads[{row}] is a {type(payload).__name__}: want a dict or None")
        try:
            text = "" if payload is None else write(payload)
            if not text.isascii():
                text.encode()  # lone surrogates are text to Python, but neither to SQL nor to gRPC
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"payloads[{row}] cannot be written as JSON: {error}") from error
        texts.append(text)
    return texts


def _payload_writer() -> Callable[[Payload], str]:
    """What `_writer.encode` does, for many dicts. That makes json's encoder anew for each: 2.1 us for 100 bytes, where
    one for all takes 1.2. The encoder knows what it is in the midst of, so that each caller has one."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    strings: Any = getattr(json.encoder, "c_encode_basestring", None)
    if make is None or strings is None:  # a Python that has no such encoder
        return _writer.encode
    separators = _writer.key_separator, _writer.item_separator
    encode = make({}, _writer.default, strings, None, *separators, False, False, False)
    return lambda payload: "".join(encode(payload, 0))


def load_payload(text: str) -> Payload | None:
    """The payload that :func:`dump_payloads` (or another client) wrote. ``ValueError`` if it is not a JSON object."""
    return _load(text, _reader)


def merged(old: str, new: str) -> str:
    """The payload text ``old`` with the keys of ``new`` set; "" stands for none."""
    if not new or not old:
        return new or old
    return json.dumps({**_reader.decode(old), **_reader.decode(new)}, ensure_ascii=False)


def check_payload_texts(texts: Sequence[str], rows: int) -> list[str]:
    """Payloads as JSON that another client wrote: what :func:`dump_payloads` would have written, and nothing else, is
    taken. ``ValueError`` unless there are none at all, or one JSON object or "" per row."""
    if texts and len(texts) != rows:
        raise ValueError(f"payloads has {len(texts)} entries: want none, or one per row ({rows})")
    for row, text in enumerate(texts):
        try:
            payload = _load(text, _strict_reader)
            if "\\u" in text:  # an escaped lone surrogate is ASCII until it is read
                json.dumps(payload, ensure_ascii=False).encode()
        except ValueError as error:
            raise ValueError(f"payloads[{row}]: {error}") from error
    return list(texts)


def _load(text: str, reader: json.JSONDecoder) -> Payload | None:
    if not text:
        return None
    try:
        payload = reader.decode(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"payload is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise ValueError(f"payload is a JSON {type(payload).__name__}: want an object")
    return payload


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large for a float")
    return number


def _plain(value: object) -> object:
    """What stands for a value that JSON has not: ISO text for a date or a time, as filters read it; text for a UUID;
    numbers and lists for numpy's. ``TypeError`` for any other."""
    if isinstance(value, date) and value == value:  # a datetime is one, and so is pandas' NaT, which equals nothing
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind != "m":
        if value.dtype.kind != "M":
            plain = value.tolist()
            if not isinstance(plain, np.generic):  # a long double has nothing plain
                return plain
        elif not np.isnat(value).any():
            times: NDArray[np.datetime64] = np.asarray(value)
            return np.datetime_as_string(times).tolist()
    kind = type(value).__name__
    raise TypeError(f"it holds a {kind}: want None, bools, numbers, text, dates, UUIDs, lists and dicts of these")


_writer = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain)
_reader = json.JSONDecoder(parse_constant=_refuse)
_strict_reader = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
