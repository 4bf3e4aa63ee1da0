"""What a search of a collection is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.filter_tree import Filter


@dataclass(frozen=True)
class Groups:
    """Hits are to come in groups of up to `size` rows, by the value that they have in the payload field `by`, a dotted
    path."""

    by: str
    size: int


@dataclass(frozen=True)
class SearchOptions:
    """Checked arguments of a search beside its queries and the ids it is limited to; `k` reaches as far as hits are
    wanted, an offset included. `nprobe`, `ef_search`: lists, or candidates of a walk, of files that have them; None:
    what was measured. `model`: of the queries; None: the collection's own. Searches whose options are equal may be
    joined; models are alike if they are one object."""

    k: int
    query: Query = "float"
    oversampling: int | None = None
    exact: bool = False
    radius: float | None = None
    rescore: int | None = None
    model: Binarizer | None = None
    filter: Filter | None = None
    nprobe: int | None = None
    ef_search: int | None = None
