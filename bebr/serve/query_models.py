"""The models that queries name, where they are not the collections' own: the latest used stay in memory."""

from __future__ import annotations

from collections import OrderedDict

from bebr.binarizer import Binarizer

_MOST_BYTES = 128 << 20


class QueryModels:
    """Models by digest, of ``most_bytes`` together; the latest one stays however large it is."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._models: OrderedDict[str, tuple[Binarizer, int]] = OrderedDict()

    def get(self, digest: str) -> Binarizer | None:
        if digest not in self._models:
            return None
        self._models.move_to_end(digest)
        return self._models[digest][0]

    def keep(self, model: Binarizer, size: int) -> Binarizer:
        """Keeps a model of ``size`` bytes; returns it, or the same one that another call was first to keep (searches
        are joined if their model is one object)."""
        found = self._models.setdefault(model.digest, (model, size))[0]
        self._models.move_to_end(model.digest)
        while len(self._models) > 1 and sum(size for _, size in self._models.values()) > self._most_bytes:
            self._models.popitem(last=False)
        return found
