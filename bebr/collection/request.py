"""What a search is asked for, checked: the arguments of `search` and `search_ids`, local and remote alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, ParamSpec, TypeVar, cast

from numpy.typing import ArrayLike

from bebr.arrays import Floats, as_vectors
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.checks import (
    check_beside_text,
    check_effort,
    check_groups,
    check_ids,
    check_mode,
    check_model,
    check_query_ids,
    check_texts,
    check_window,
)
from bebr.collection.filter_form import MOST_KEPT_TEXT, FilterLike, as_filter, known_filter
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import IdsLike, Named
from bebr.collection.options import Groups, SearchOptions
from bebr.collection.protocol import Fusion, ModelInfo
from bebr.index import check_k
from bebr.index.raw import check_rescore

# So many options with filters are kept of one set of other arguments.
_MOST_FILTERS = 64

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)  # frozen, it would take eight times as long to make as to check
class SearchRequest:
    """`queries`: float32[n, query_dim], ids of rows, or None: by `texts` alone, one a query. `options.k` reaches as far
    as hits are wanted: the first `offset` of each query, of groups where there are `groups`, are left out. `allow`:
    only these ids."""

    queries: Floats | Named | None
    options: SearchOptions
    k: int
    offset: int = 0
    groups: Groups | None = None
    texts: list[str] | None = None
    allow: Named | None = None
    with_payloads: bool = False

    def __len__(self) -> int:
        """How many queries there are."""
        return len(self.queries) if self.queries is not None else len(self.texts or ())

    @property
    def width(self) -> int:
        """Hits of each query, those before the offset included."""
        return self.options.k * (self.groups.size if self.groups else 1)


class _Scalars(NamedTuple):
    """The arguments of a search that are numbers or words, checked. `filtered`: the options with filters that came
    beside them."""

    options: SearchOptions
    k: int
    offset: int
    groups: Groups | None
    filtered: dict[Filter, SearchOptions]


def _once(check: Callable[P, R]) -> Callable[P, R]:
    """The same check, whose results are kept: most searches ask for what those before them did."""
    known = cast(Callable[P, R], lru_cache(256, typed=True)(check))

    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return known(*args, **kwargs)
        except TypeError:  # a list, say, cannot be kept: the check has words for it
            return check(*args, **kwargs)

    return checked


@_once
def _check_scalars(
    k: int,
    offset: int,
    query: Query,
    oversampling: int | None,
    exact: bool,
    nprobe: int | None,
    ef_search: int | None,
    radius: float | None,
    group_by: str | None,
    group_size: int,
    rescore: int | None,
) -> _Scalars:
    depth, groups = check_window(k, radius, offset), check_groups(group_by, group_size)
    check_mode(query, oversampling, exact)
    check_effort(nprobe, ef_search, exact)
    rescore = check_rescore(rescore, depth)
    options = SearchOptions(depth, query, oversampling, exact, radius, rescore, nprobe=nprobe, ef_search=ef_search)
    return _Scalars(options, check_k(k), offset, groups, {})


def check_search(
    q: ArrayLike | None,
    k: int,
    dim: int,
    query: Query,
    oversampling: int | None,
    exact: bool,
    nprobe: int | None,
    ef_search: int | None,
    allow: IdsLike | None,
    filter: FilterLike | None,
    radius: float | None,
    offset: int,
    group_by: str | None,
    group_size: int,
    with_payloads: bool,
    rescore: int | None,
    binarizer: Binarizer | None,
    text: str | Sequence[str] | None,
    fusion: Fusion,
) -> SearchRequest:
    """The arguments of `search`. `dim`: of queries. ``ValueError`` names what is wrong.

    Searches give them by place: by name, this call would cost ten times as much (docs/experiments/call-cost.md)."""
    scalars = _check_scalars(
        k, offset, query, oversampling, exact, nprobe, ef_search, radius, group_by, group_size, rescore
    )
    groups = scalars.groups
    texts = check_texts(text, fusion)
    vectors = None if q is None else as_vectors(q, "q", dim, allow_empty=False)
    check_beside_text(texts, vectors, radius, groups)
    options = _with(scalars, binarizer, filter)
    allowed = None if allow is None else check_ids(allow, "allow")
    return SearchRequest(vectors, options, scalars.k, scalars.offset, groups, texts, allowed, with_payloads)


def query_dim(binarizer: Binarizer | None, own: Binarizer | ModelInfo) -> int:
    """Dimensions of the queries of a search with ``binarizer``, None for the collection's ``own`` model."""
    return own.query_dim if binarizer is None else check_model(binarizer, "binarizer").query_dim


def _with(scalars: _Scalars, model: Binarizer | None, filter: FilterLike | None) -> SearchOptions:
    if filter is None:
        return scalars.options if model is None else replace(scalars.options, model=model)
    read = filter if isinstance(filter, Filter) else known_filter(filter)
    if model is not None or read is None:
        return replace(scalars.options, model=model, filter=as_filter(filter))
    with contextlib.suppress(RecursionError):  # of a filter that is nested too deep: the check has words for it
        found = scalars.filtered.get(read)
        if found is not None:
            return found
        if len(read.text) <= MOST_KEPT_TEXT:
            return _kept(scalars, read)
    return replace(scalars.options, filter=as_filter(read))


def _kept(scalars: _Scalars, filter: Filter) -> SearchOptions:
    """The same options, kept: to make them anew took a quarter of a search of 100 rows."""
    if len(scalars.filtered) >= _MOST_FILTERS:
        scalars.filtered.clear()
    made = scalars.filtered[filter] = replace(scalars.options, filter=as_filter(filter))
    return made


def check_search_ids(
    ids: IdsLike,
    k: int,
    oversampling: int | None,
    exact: bool,
    nprobe: int | None,
    ef_search: int | None,
    allow: IdsLike | None,
    filter: FilterLike | None,
    radius: float | None,
    offset: int,
    group_by: str | None,
    group_size: int,
    with_payloads: bool,
    rescore: int | None,
) -> SearchRequest:
    """The arguments of `search_ids`, by place as those of `check_search`. ``ValueError`` names what is wrong."""
    scalars = _check_scalars(
        k, offset, "float", oversampling, exact, nprobe, ef_search, radius, group_by, group_size, rescore
    )
    options = _with(scalars, None, filter)
    allowed = None if allow is None else check_ids(allow, "allow")
    rows = check_query_ids(check_ids(ids))
    offset, groups = scalars.offset, scalars.groups
    return SearchRequest(rows, options, scalars.k, offset, groups, allow=allowed, with_payloads=with_payloads)
