"""What a build is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from numpy.typing import ArrayLike

from bebr.arrays import check_seed
from bebr.binarizer import Binarizer
from bebr.index.raw import RawType
from bebr.training.linear.closed_form import Progress


class Asked(TypedDict, total=False):
    """The types of the options, for those who check calls of :func:`bebr.build`."""

    nlist: int | None
    bytes_per_vector: int | None
    binarizer: Binarizer | None
    metric: str | None
    ids: ArrayLike | None
    rows: int | None
    column: str | None
    memory: int | str
    optimize: bool
    rescore: RawType | None
    overwrite: bool
    seed: int
    device: str
    progress: Progress | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of :func:`bebr.build`, which says what they mean. ``ValueError`` where they contradict each other."""

    nlist: int | None = None
    bytes_per_vector: int | None = None
    binarizer: Binarizer | None = None
    metric: str | None = None
    ids: ArrayLike | None = None
    rows: int | None = None
    column: str | None = None
    memory: int | str = "4GiB"
    optimize: bool = True
    rescore: RawType | None = None
    overwrite: bool = False
    seed: int = 0
    device: str = "cpu"
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if (self.bytes_per_vector is None) == (self.binarizer is None):
            raise ValueError("want exactly one of bytes_per_vector and binarizer")
        if self.binarizer is not None and self.metric not in (None, self.binarizer.metric):
            raise ValueError(f"metric is {self.metric!r}: the binarizer's is {self.binarizer.metric!r}")
        object.__setattr__(self, "seed", check_seed(self.seed))  # of numpy, too

    @property
    def model_metric(self) -> str:
        """Of the model, which may have to be trained."""
        return (self.metric or "cosine") if self.binarizer is None else self.binarizer.metric

    def report(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)
