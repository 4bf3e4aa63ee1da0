"""Producers of several rows an item: a picture's objects, each with a vector and with facts that go beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.models import items as kinds
from bebr.models.producer import Producer, Progress, check_batch_size

__all__ = ["ObjectProducer", "Objects"]


@dataclass(frozen=True)
class Objects:
    """``vectors`` float32 [m, dim]; ``of`` int64 [m], the item that each was found in, rising; ``facts[i]`` says what
    else is known of it, as a payload: the same keys in all, values as JSON has them."""

    vectors: npt.NDArray[np.float32]
    of: npt.NDArray[np.int64]
    facts: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.facts)


class ObjectProducer(Producer):
    """A producer of pictures whose ``objects`` gives a row an object; a subclass defines ``find`` and ``encode``.

    ``embed`` is the vector of a picture that shows one object: what is asked of an index of objects. No query needs a
    detector that finds the whole of it.
    """

    modality = "image"

    def objects(self, items: Sequence[Any], batch_size: int = 64, progress: Progress | None = None) -> Objects:
        """All objects of ``items``, in their order; a picture without any adds no row. ``progress(done, total)`` counts
        pictures. Errors as ``embed``."""
        kinds.check(items, self.modality)
        check_batch_size(batch_size)
        vectors, of, facts = [np.zeros((0, self.dim), np.float32)], [], []
        for start in range(0, len(items), batch_size):
            batch = [
                kinds.picture(one, f"items[{start + i}]") for i, one in enumerate(items[start : start + batch_size])
            ]
            for i, (found, told) in enumerate(self.find(batch)):
                if found.shape != (len(told), self.dim):
                    raise ValueError(f"{self.name}: got vectors {list(found.shape)}, wanted {[len(told), self.dim]}")
                vectors.append(found)
                of += [start + i] * len(told)
                facts += told
            if progress is not None:
                progress(start + len(batch), len(items))
        return Objects(np.concatenate(vectors), np.array(of, np.int64), tuple(facts))

    def find(self, batch: list[Any]) -> Sequence[tuple[npt.NDArray[np.float32], list[dict[str, Any]]]]:
        """For each RGB PIL image its objects' vectors [m, dim] and facts."""
        raise NotImplementedError(f"{type(self).__name__}.find: a producer of objects defines this")
