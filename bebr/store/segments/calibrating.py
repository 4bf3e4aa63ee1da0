"""How far a search of a segment has to look, so that it finds what a scan of the segment would.

Where vectors are kept, that is the best by exact scores, and how many of the best by code have to get exact scores for
that is measured, too: most of the ten best by code of 10^8 rows of 24 bytes are no neighbours, and lie in lists where
no neighbour is (docs/experiments/segment-kinds.md, docs/experiments/rescoring-candidates.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Ids
from bebr.binarizer.codes import PreparedQueries
from bebr.index import FlatIndex, GraphIndex
from bebr.index.base import core_queries, search_options
from bebr.index.ivf import IVFIndex
from bebr.index.raw import default_candidates
from bebr.index.segments import ByK, Effort, SegmentView, search_segments
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap, Bools
from bebr.store.files.kept import Keeping
from bebr.store.snapshots.live import Piece, Run
from bebr.store.snapshots.part import Part

# Rows that are queries, and the numbers of results that are measured: between them and above, a power law holds.
QUERIES, KS = 400, (10, 100)
_TOGETHER = 32  # queries between two pauses: a scan of lists expands a row once for all of them
_MOST_CANDIDATES = 1 << 14  # of a walk: beyond, a scan is faster
# Of the best by code, those whose exact scores say which are the best: a neighbour beyond is missed, whatever is
# measured. Of the first few queries, twice the usual number say whether that is enough, as it mostly is: more of all
# queries take as long again as the rest of a measurement.
_POOL, _FEW = 1024, 3 * _TOGETHER
# So much of the allowed loss may rows lose: other queries lose more. A row is a node, whose links lead to what a search
# with it wants, and a graph that gave rows .99 gave other queries .976. Lists that gave rows .98 cost .0105 of recall,
# for a loss of .0145 of what a scan finds (docs/experiments/segment-kinds.md).
_LOSS_OF_ROWS = 0.25
# Depths that a power law of efforts goes through are so many times apart.
_APART = 2
# Fewer flat rows are not measured: a collection of no more is answered from its vectors alone.
FEWEST_FLAT = 2_000
# An effort is known to a 32nd. Guesses of where it is, before halves alone are taken.
_FINENESS, _MOST_GUESSES = 32, 6
_FARTHEST = 40.0  # a logarithm above that of every effort


class Calibration(NamedTuple):
    """What was measured of a segment: its `Part.effort` and `Part.rescored`."""

    effort: Effort | None = None
    rescored: ByK | None = None


def calibrated(
    part: Part, keeping: Keeping | None, target: float, pause: Callable[[], None], hidden: Bitmap | None = None
) -> Calibration:
    """The least lists or candidates (`least_effort`) by which searches with rows of the segment, themselves left out,
    find a share `target` of what a scan finds, for each of some k; no effort for a flat segment. Where vectors are kept
    (`keeping`), before that: of how many of the best by code the best by exact scores are such a share of those of very
    many. `pause` is called between pieces of work; `hidden`: the rows that no search finds, those of `part.bare` among
    them, where these are not all.

    By one standard error more than it is measured with, a share has to be reached that loses `_LOSS_OF_ROWS` of what
    `target` allows to be lost.
    """
    flat = isinstance(part.index, FlatIndex)
    if flat and (keeping is None or part.rows < FEWEST_FLAT):
        return Calibration()
    loss = (1 - target) * _LOSS_OF_ROWS
    trial = _Trial(part, keeping, loss, pause, part.bare if hidden is None else hidden)
    rescored = tuple(trial.rescored.items()) or None
    if flat:
        return Calibration(None, rescored)

    measured: list[tuple[int, int]] = []
    for k in trial.depths:
        first = max(trial.fewest(k), measured[-1][1] if measured else 1)
        effort = least_effort(partial(trial.lost, k), first, trial.most, loss)
        if measured and trial.asked(k) < _APART * measured[-1][0]:  # too near for the power law through both
            measured = [(measured[-1][0], effort)]
        else:
            measured.append((trial.asked(k), effort))
    return Calibration(Effort(tuple(measured) or ((1, trial.most),)), rescored)


class _Trial:
    """Searches of a segment with some of its rows. `depths`: the k at which they are compared; `most`: the lists or
    candidates that are ever looked at; `rescored`: by k, how many get exact scores before they lose no more than
    `loss`.

    Of lists, a search of all of them says which rows are wanted, and the rest is which lists these are in. What a sign
    plane rules out, no number of lists makes good for.
    """

    def __init__(
        self, part: Part, keeping: Keeping | None, loss: float, pause: Callable[[], None], hidden: Bitmap | None
    ) -> None:
        index, self._part, self._keeping, self._pause, self._hidden = part.index, part, keeping, pause, hidden
        chosen = np.random.default_rng(0).choice(part.rows, min(part.rows, 2 * QUERIES), replace=False)
        rows = np.sort(chosen[~bitmaps.has(hidden, chosen)][:QUERIES])
        piece = Piece([Run(part, rows, np.arange(len(rows)))], len(rows))
        # The first few are of all lists.
        mixed = np.argsort(np.arange(len(rows)) % max(1, len(rows) // _FEW), kind="stable")
        bz, self._own = index.binarizer, piece.ids()[mixed]
        self._vectors = piece.vectors(bz, keeping)[mixed]
        self._index = index
        self._prepared = [bz.prepare_vectors(self._vectors[i]) for i in self._pieces()]
        self._lists = len(index.list_sizes) if isinstance(index, IVFIndex) else None
        self.most = min(_MOST_CANDIDATES, part.rows) if self._lists is None else self._lists
        self.rescored: dict[int, int] = {}
        self.depths = [k for k in KS if self.asked(k) < part.rows] if len(rows) else []
        self._wanted = self._best_of_all(loss) if self.depths else {}
        if isinstance(index, IVFIndex):
            ends = np.cumsum(index.list_sizes)
            self._holding = {
                k: np.searchsorted(ends, index.positions(ids.ravel()), side="right").reshape(ids.shape)
                for k, ids in self._wanted.items()
            }

    def _best_of_all(self, loss: float) -> dict[int, Ids]:
        """By k, the k best others of a scan, int64[n, k], −1 where there is none; measures `rescored`."""
        most = self.depths[-1]
        if self._keeping is None:
            found = self._found(most, None)
            return {k: found[:, :k] for k in self.depths}
        usual = default_candidates(most)
        few = self._scan(2 * usual, queries=_FEW)
        self.rescored = self._needed(*self._ranked(few), loss)
        flat = isinstance(self._index, FlatIndex)  # soon merged into others, and nothing else is measured of it
        if all(self.asked(k) == default_candidates(k) for k in self.depths):
            if flat:
                return {}
            best, places = self._ranked(np.concatenate([few[:, :usual], self._scan(usual, first=_FEW)]))
            known = self._needed(best, places, loss)  # by more queries, but of the last k among too few candidates
            self.rescored |= {k: many for k, many in known.items() if k != most}
        else:
            best, places = self._ranked(self._scan(_POOL, queries=2 * _FEW if flat else QUERIES))
            self.rescored = self._needed(best, places, loss)
        return {k: np.where(places[:, :k] < self.asked(k), best[:, :k], -1) for k in self.depths}

    def _scan(self, pool: int, first: int = 0, queries: int = QUERIES) -> Ids:
        """Of some of the queries, the `pool` best others by code, or all there are, int64[n, c]."""
        return self._found(min(pool, self._part.rows - 1), None, first, queries)

    def _ranked(self, found: Ids) -> tuple[Ids, Ids]:
        """The best by exact scores, int64[n, k], among what the first n queries found, and their places there."""
        best = self._best(found, self.depths[-1])
        return best, _places(found, best)

    def _needed(self, best: Ids, places: Ids, loss: float) -> dict[int, int]:
        """By k, how many of the best by code hold the k best by exact scores, but for `loss` and a standard error."""

        def lost(k: int, candidates: int) -> float:
            return _share_lost(places[:, :k] < candidates, best[:, :k] >= 0)

        return {k: least_effort(partial(lost, k), k, max(k, int(places.max()) + 1), loss) for k in self.depths}

    def _pieces(self) -> Iterator[slice]:
        """Of the queries."""
        return (slice(begin, begin + _TOGETHER) for begin in range(0, len(self._own), _TOGETHER))

    def asked(self, k: int) -> int:
        """How many results by code a search for k asks for: those that get exact scores, where vectors are kept."""
        return k if self._keeping is None else max(default_candidates(k), self.rescored.get(k, 0))

    def fewest(self, k: int) -> int:
        """Lists or candidates: of these, a walk keeps as many as are wanted anyway."""
        return self.asked(k) + 1 if self._lists is None else 1

    def lost(self, k: int, effort: int) -> float:
        """The share of the k best others that is not found, and its standard error more."""
        wanted = self._wanted[k]
        if isinstance(self._index, IVFIndex):
            looked = []
            for some in self._prepared:
                looked.append(looked_at(self._index, some, effort))
                self._pause()
            seen = np.take_along_axis(np.concatenate(looked), self._holding[k], axis=1)
        else:
            found = self._best(self._found(self.asked(k), effort), k)
            seen = (wanted[:, :, None] == found[:, None, :]).any(axis=2)
        return _share_lost(seen, wanted >= 0)

    def _found(self, depth: int, effort: int | None, first: int = 0, queries: int = QUERIES) -> Ids:
        """The ids of each query's `depth` best others by code, int64[n, depth], the best first; `effort` None: by a
        scan, or of all lists; from the query `first` on to that many, which both fill pieces."""
        scan, graph = effort is None, isinstance(self._index, GraphIndex)
        looks = None if scan and graph else Effort(((depth, self.most if effort is None else effort),))
        view = SegmentView(self._index, self._hidden, effort=looks)
        pieces = [np.empty((0, depth + 1), np.int64)]
        for some in self._prepared[first // _TOGETHER : -(-queries // _TOGETHER)]:
            hits = search_segments(
                *([view], self._index.binarizer, some, depth + 1), exact=scan and graph, batch_invariant=not scan
            )
            pieces.append(hits.ids)
            self._pause()
        ids = np.concatenate(pieces)
        others = ids != self._own[first : first + len(ids), None]
        others[others.all(axis=1), -1] = False
        kept: Ids = ids[others]
        return kept.reshape(len(ids), depth)

    def _best(self, ids: Ids, k: int) -> Ids:
        """The k best of these, int64[n, c] as `_found` has them: by exact scores where vectors are kept."""
        if self._keeping is None:
            return ids[:, :k]
        pieces = []
        for some in self._pieces():
            if some.start >= len(ids):
                break
            distinct, which = np.unique(ids[some], return_inverse=True)
            rows = self._part.kept(np.maximum(self._index.positions(distinct), 0))
            which = np.where(ids[some] < 0, -1, which.reshape(ids[some].shape))
            hits = self._keeping.best(self._index.binarizer, rows, distinct, self._vectors[some], which, k)
            pieces.append(hits.ids)
            self._pause()
        return np.concatenate(pieces)


def _places(found: Ids, best: Ids) -> Ids:
    """Where the ids of each row of `best` int64[n, k] stand in that of `found` int64[n, c], which has them all, but for
    −1."""
    order = np.argsort(found, axis=1)
    pairs = zip(found, order, best, strict=True)
    return np.stack(
        [there[np.minimum(np.searchsorted(ids, some, sorter=there), len(ids) - 1)] for ids, there, some in pairs]
    )


def _share_lost(seen: Bools, there: Bools) -> float:
    """Of what is there, bool[n, k], the share that is not seen, and its standard error more."""
    shares: NDArray[np.float64] = (seen & there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return float(1 - shares.mean() + shares.std() / np.sqrt(len(shares)))


def least_effort(lost: Callable[[int], float], first: int, most: int, allowed: float) -> int:
    """An effort from `first` to `most` by which searches lose at most `allowed`, and at most a 32nd above one by which
    they lose more; `most`, which is not measured, where no other is enough.

    From few to many, never more than twice what is too little: a search of half of the lists costs what a scan does,
    and mostly few are enough. What is lost falls about as a power of the effort, so that two measurements say where to
    look; a merge of 131,072 rows took half as long again by halves alone.
    """
    below, above, at, guesses = first - 1, most, first, 0
    points: list[tuple[int, float]] = []
    while above - below > max(1, above // _FINENESS):
        points.append((at, lost(at)))
        if points[-1][1] <= allowed:
            above = at
        else:
            below = at
        at = halves = min(2 * below, (below + above) // 2)
        guess = _crossing(points[-2:], allowed) if guesses < _MOST_GUESSES else None
        if guess is not None:
            guess = min(guess, above)
            step = max(1, guess // _FINENESS)
            # Beside what was measured, so that the next measurement holds it from the other side.
            at = min(max(guess, below + step), above - step, 2 * below if above == most else above)
            guesses += at != halves
        at = min(max(at, below + 1), above - 1)
    return above


def _crossing(points: Sequence[tuple[int, float]], allowed: float) -> int | None:
    """Where the power law through two points falls to `allowed`; None where they say nothing."""
    if len(points) < 2:
        return None
    (first, lost), (second, lost_then) = sorted(points)
    if not (lost > lost_then > 0 and allowed > 0) or first == second:
        return None
    slope = math.log(lost_then / lost) / math.log(second / first)
    return math.ceil(math.exp(min(math.log(second) + math.log(allowed / lost_then) / slope, _FARTHEST)))


def looked_at(index: IVFIndex, prepared: PreparedQueries, nprobe: int) -> Bools:
    """Whether a search of each query for `nprobe` lists looks at each list, bool[n, lists]."""
    found = index._engine.looked_at(core_queries(prepared, False), search_options(1, exact=True, nprobe=nprobe))
    assert found is not None  # nothing is filtered
    begin, lists = found
    looked = np.zeros((len(begin) - 1, len(index.list_sizes)), np.bool_)
    looked[np.repeat(np.arange(len(looked)), begin[1:] - begin[:-1]), lists] = True
    return looked
