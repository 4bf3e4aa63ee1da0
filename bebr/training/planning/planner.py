"""Which code does this data need? Dims and planes for a number of bytes, or for a recall, before anything is built.

Bits go where the data's spectrum says that they save most (:func:`bebr.training.linear.closed_form.allocate`). For a
recall, a model of the errors of scores (:mod:`bebr.training.planning.noise`) says roughly how many bytes that takes;
a
holdout (:mod:`bebr.training.planning.holdout`) measures there, the measurement corrects the model, and so on until
the two agree: two or three trials.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bebr.arrays import check_seed, check_whole
from bebr.binarizer.codes import Query
from bebr.binarizer.config import METRICS
from bebr.index import check_k
from bebr.index.sizes import KINDS, Kind, index_bytes, largest_code, parse_size, usual_kind
from bebr.threads import blas_threads
from bebr.training.linear.closed_form import Progress, allocate
from bebr.training.linear.widths import FACTOR_BYTES, check_bytes, most_bytes
from bebr.training.planning.holdout import Holdout, Predicted
from bebr.training.planning.noise import NoiseModel


@dataclass(frozen=True)
class Plan:
    """A code for one set of vectors, and the recall predicted for it.

    widths            bits of each plane, leading dimensions first: what ``bebr.train(x, widths=...)`` takes
    bytes_per_vector  stored bytes, ``factor_bytes`` of them for the factor
    adc, sdc          recall@k predicted for float and for coded queries, with its standard error
    rows              the number of vectors searched that this holds for
    index, memory     the kind of index for so many rows, and the bytes that it takes: codes, ids, lists or links
    target_recall     what was asked for, of ``query`` ("float": ADC, "code": SDC); None when bytes were
    trials            (bytes_per_vector, ADC, SDC) of every model that was trained and measured
    """

    widths: tuple[int, ...]
    bytes_per_vector: int
    factor_bytes: int
    input_dim: int
    metric: str
    k: int
    rows: int
    index: Kind
    memory: int
    adc: Predicted
    sdc: Predicted
    query: Query
    target_recall: float | None
    trials: tuple[tuple[int, Predicted, Predicted], ...]

    @property
    def dims(self) -> int:
        """Dimensions of the code: the width of the sign plane."""
        return self.widths[0]

    @property
    def bits(self) -> int:
        """Bits of the code, without the factor."""
        return sum(self.widths)

    @property
    def bits_per_dim(self) -> float:
        """Bits for each dimension of the input, rarely a whole number."""
        return self.bits / self.input_dim

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, as JSON takes them."""
        fields = asdict(self) | {"widths": list(self.widths)}
        fields["trials"] = [{"bytes_per_vector": b, "adc": asdict(a), "sdc": asdict(s)} for b, a, s in self.trials]
        return fields | {"dims": self.dims, "bits": self.bits, "bits_per_dim": self.bits_per_dim}

    def __repr__(self) -> str:
        widths = "+".join(map(str, self.widths))
        return (
            f"Plan({self.input_dim} dims to {widths} = {self.bits} bits ({self.bits_per_dim:.2f} a dim), "
            f"{self.bytes_per_vector} bytes/vector with {self.factor_bytes} of factor; {self.metric} recall@{self.k} "
            f"of {self.rows:,} vectors: ADC {self.adc}, SDC {self.sdc}; {self.memory:,} bytes as {self.index} index)"
        )


def plan(
    x: ArrayLike,
    *,
    bytes_per_vector: int | None = None,
    target_recall: float | None = None,
    memory: int | str | None = None,
    query: Query = "float",
    metric: str = "cosine",
    k: int = 10,
    rows: int | None = None,
    index: Kind | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Plan:
    """A plan for vectors x float32[n, d]: dims and planes of a code, and the recall@k that it will reach.

    >>> plan = bebr.plan(x, target_recall=0.9)
    >>> bz = bebr.train(x, widths=plan.widths)

    Give one of the first three, or ``target_recall`` and ``memory`` together:

    bytes_per_vector: bytes stored per vector, factor included.
    target_recall: between 0 and 1: the fewest bytes whose predicted recall, minus one standard error, reaches it. So
        the target is met five times in six. With short codes one more byte may add several points of recall, and the
        plan then exceeds the target by as much.
    memory: bytes, or "4GiB", that the index may take: the largest code that fits (:mod:`bebr.index.sizes`).
    query: queries that the target is for, ``"float"`` (ADC) or ``"code"`` (SDC).
    metric: ``"cosine"``, ``"ip"`` or ``"l2"``.
    rows: number of vectors to be searched; None: n. Recall falls with more rows.
    index: ``"flat"``, ``"ivf"`` or ``"graph"``; None: flat up to 75,000 rows, IVF above, as in collections. Recall is
        that of the codes when all are scored; an IVF or a graph finds as much of it as it is calibrated for.
    progress: called with (stage, done, total).

    Up to 2,000 vectors are held out as queries and up to 65,536 are searched. The prediction is for queries like these.
    Raises ``ValueError``, which names the argument or, if no code reaches the target, the best recall.
    """
    if sum(way is not None for way in (bytes_per_vector, target_recall, memory)) != 1:
        raise ValueError("want exactly one of bytes_per_vector, target_recall and memory")
    if target_recall is not None and not 0 < target_recall < 1:
        raise ValueError(f"target_recall is {target_recall}: want a number between 0 and 1")
    if query not in ("float", "code"):
        raise ValueError(f"query is {query!r}: want 'float' or 'code'")
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}: want one of {', '.join(METRICS)}")
    if index is not None and index not in KINDS:
        raise ValueError(f"index is {index!r}: want one of {', '.join(KINDS)}")
    if bytes_per_vector is not None:
        check_whole(bytes_per_vector, "bytes_per_vector")
    check_seed(seed)
    room = None if memory is None else parse_size(memory)
    holdout = Holdout(x, metric, check_k(k), rows, seed)
    kind, dim = index or usual_kind(holdout.rows), holdout.base.shape[1]
    if room is not None:
        bytes_per_vector = largest_code(kind, holdout.rows, dim, room, FACTOR_BYTES + 1, most_bytes(dim))
    with blas_threads(holdout.train.size * holdout.train.shape[1]):
        search = _Search(holdout, query, progress)
        if target_recall is None:
            assert bytes_per_vector is not None
            size = check_bytes(bytes_per_vector, dim)
            search.measure(size)
        else:
            size = search.fewest_bytes(float(target_recall))
        predicted = search.predicted(size)
    return Plan(
        widths=search.widths(size),
        bytes_per_vector=size,
        factor_bytes=FACTOR_BYTES,
        input_dim=dim,
        metric=metric,
        k=k,
        rows=holdout.rows,
        index=kind,
        memory=index_bytes(kind, holdout.rows, size, dim),
        adc=predicted["float"],
        sdc=predicted["code"],
        query=query,
        target_recall=target_recall,
        trials=tuple((size, p["float"], p["code"]) for size, p in sorted(search.trials.items())),
    )


# A bracket this many times narrower than its bytes is close enough for a line between its ends: 6 bytes at 100.
_CLOSE = 16


def _reaches(found: Predicted, target: float) -> bool:
    return found.recall - found.error >= target


class _Search:
    """Bytes against recall: measured where it has been, modelled elsewhere."""

    def __init__(self, holdout: Holdout, query: Query, progress: Progress | None) -> None:
        self._holdout = holdout
        self._query: Query = query
        self._report = progress or (lambda stage, done, total: None)
        self._model = NoiseModel(holdout.train, holdout.base, holdout.queries, holdout.metric, holdout.k, holdout.seed)
        self._gains: list[tuple[float, float]] = []  # log noise of the model, log of what it must be multiplied by
        self.trials: dict[int, dict[Query, Predicted]] = {}

    def widths(self, size: int) -> tuple[int, ...]:
        return allocate(self._model.values, 8 * (size - FACTOR_BYTES))

    def measure(self, size: int) -> Predicted:
        """Try ``size`` bytes on the holdout and correct the model by what comes out."""
        self._report(f"trial of {size} bytes", len(self.trials), len(self.trials) + 1)
        self.trials[size] = self._holdout.predict(self.widths(size))
        found = self.trials[size][self._query]
        noise = self._model.noise(self.widths(size))
        if noise > 0:
            needed = self._model.noise_for(found.recall - found.error)
            self._gains.append((math.log(noise), math.log(needed / noise)))
        return found

    def fewest_bytes(self, target: float) -> int:
        """The fewest bytes that reach ``target`` by a standard error, measured or between two close measurements."""
        low, most = FACTOR_BYTES, most_bytes(self._holdout.base.shape[1])
        high = most + 1  # low falls short, high reaches it
        while high - low > max(1, high // _CLOSE):
            size = self._guess(target, low, high)
            found = self.measure(size)
            if _reaches(found, target) or (size == most and found.recall >= target):
                high = size  # nothing is larger than most, and more likely than not it reaches
            elif size < most:
                low = size
            else:
                raise ValueError(
                    f"target_recall is {target}: the most that {size} bytes a vector reach here is {found} "
                    f"({'ADC' if self._query == 'float' else 'SDC'} recall@{self._holdout.k}, "
                    f"{self._holdout.rows:,} vectors)"
                )
        between = (size for size in range(low + 1, high) if _reaches(self.predicted(size)[self._query], target))
        return next(between, high)

    def predicted(self, size: int) -> dict[Query, Predicted]:
        """What was measured at ``size`` bytes, or what a line of log-odds through the nearest ones says."""
        if size in self.trials:
            return self.trials[size]
        low = max(trial for trial in self.trials if trial < size)
        high = min(trial for trial in self.trials if trial > size)
        share = math.log(size / low) / math.log(high / low)
        modes: tuple[Query, Query] = ("float", "code")
        return {mode: self.trials[low][mode].towards(self.trials[high][mode], share) for mode in modes}

    def _guess(self, target: float, low: int, high: int) -> int:
        """The fewest bytes above ``low`` and below ``high`` that reach ``target`` by the corrected model; the last of
        them if none does."""
        wanted = math.log(self._model.noise_for(target))
        low, high = low + 1, high - 1
        while low < high:
            middle = (low + high) // 2
            noise = self._model.noise(self.widths(middle))
            reaches = noise == 0 or math.log(noise) + self._gain(math.log(noise)) <= wanted
            low, high = (low, middle) if reaches else (middle + 1, high)
        return low

    def _gain(self, noise: float) -> float:
        """Log correction of a log noise: a line through the two nearest measurements, level with one, none without."""
        near = sorted(self._gains, key=lambda point: abs(point[0] - noise))[:2]
        if not near:
            return 0.0
        if len(near) == 1 or near[0][0] == near[1][0]:
            return near[0][1]
        (x0, y0), (x1, y1) = near
        # The correction changes slowly; a steep line between close points is noise of the measurement.
        slope = float(np.clip((y1 - y0) / (x1 - x0), -0.5, 0.5))
        return y0 + slope * (noise - x0)
