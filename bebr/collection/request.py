"""What a search is asked for, checked: the arguments of `search` and `search_ids`, local and remote alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.checks import (
    check_beside_text,
    check_effort,
    check_groups,
    check_ids,
    check_query,
    check_query_ids,
    check_texts,
    check_window,
)
from bebr.collection.filter_form import FilterLike, as_filter
from bebr.collection.keys import IdsLike, Named
from bebr.collection.options import Groups, SearchOptions
from bebr.collection.protocol import Fusion
from bebr.index import check_k, check_oversampling
from bebr.index.raw import check_rescore


@dataclass(frozen=True)
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


def check_search(
    q: ArrayLike | None,
    k: int,
    dim: int,
    *,
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
    """The arguments of `search`. `dim`: of queries. ``ValueError`` names what is wrong."""
    depth, groups = check_window(k, radius, offset), check_groups(group_by, group_size)
    texts = check_texts(text, fusion)
    vectors = None if q is None else check_query(q, k, query, oversampling, exact, dim)
    check_beside_text(texts, vectors, radius, groups)
    check_effort(nprobe, ef_search, exact)
    options = SearchOptions(
        *(depth, query, oversampling, exact, radius, check_rescore(rescore, depth), binarizer),
        filter=None if filter is None else as_filter(filter),
        nprobe=nprobe,
        ef_search=ef_search,
    )
    allowed = None if allow is None else check_ids(allow, "allow")
    return SearchRequest(vectors, options, check_k(k), offset, groups, texts, allowed, with_payloads)


def check_search_ids(
    ids: IdsLike,
    k: int,
    *,
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
    """The arguments of `search_ids`. ``ValueError`` names what is wrong."""
    depth, groups = check_window(k, radius, offset), check_groups(group_by, group_size)
    check_oversampling(oversampling, exact)
    check_effort(nprobe, ef_search, exact)
    options = SearchOptions(
        *(depth, "float", oversampling, exact, radius, check_rescore(rescore, depth)),
        filter=None if filter is None else as_filter(filter),
        nprobe=nprobe,
        ef_search=ef_search,
    )
    allowed = None if allow is None else check_ids(allow, "allow")
    rows = check_query_ids(check_ids(ids))
    return SearchRequest(rows, options, check_k(k), offset, groups, allow=allowed, with_payloads=with_payloads)
