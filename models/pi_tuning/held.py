"""Items as the layers of a frozen trunk get them, so that what nothing trains is computed once for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bebr.models import items as kinds
from bebr.models.pi_tuning.producer import PiTuning

__all__ = ["Held"]


class Held:
    """``items`` that ``embed`` takes, of one kind. Training draws each many times: it is opened, and passes the
    convolutions and embeddings, once.

    most_bytes: what may be kept of them; those that no longer fit are read anew each time. An item takes 4 bytes for
    each number of its states: 1.8 MB a picture of OFA-base, 9 KB one of the size "tiny".
    """

    def __init__(self, producer: PiTuning, items: Sequence[Any], most_bytes: int = 2**30) -> None:
        self.kind = kinds.check(items, producer.modality)
        self.items, self.version = items, producer.version
        self._room, self._kept, self._parts = most_bytes, dict[int, Tensor](), 0

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, producer: PiTuning, items: Sequence[Any] | Held) -> Held:
        """``items`` themselves where they are held already. ValueError where that was by another trunk."""
        if not isinstance(items, Held):
            return cls(producer, items)
        if items.version != producer.version:
            raise ValueError(f"items: are held by version {items.version}, the trunk's is {producer.version}")
        return items

    def means(self, producer: PiTuning, rows: npt.NDArray[np.int64]) -> Tensor:
        """Of some items the mean of states, [rows, d], by the expert that is in the trunk now."""
        found = self._read(producer, [int(row) for row in rows])
        x = pad_sequence([found[int(row)] for row in rows], batch_first=True)
        lengths = torch.tensor([len(found[int(row)]) for row in rows], device=x.device)
        seen = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        return producer.averaged(self.kind, *producer.network.layered(x, seen, self._parts))

    def _read(self, producer: PiTuning, rows: list[int]) -> dict[int, Tensor]:
        found = {row: self._kept[row] for row in rows if row in self._kept}
        missing = [row for row in dict.fromkeys(rows) if row not in found]
        if not missing:
            return found
        opened = [kinds.opened(self.kind, self.items[row], f"items[{row}]") for row in missing]
        # also where the caller predicts: what is kept may be trained on later
        with torch.inference_mode(False), torch.no_grad():
            x, seen, self._parts = producer.network.embedded(*producer.read(self.kind, opened))
        for row, states, length in zip(missing, x, seen.sum(1).tolist(), strict=True):
            found[row] = states[:length].clone()
            size = found[row].numel() * found[row].element_size()
            if size <= self._room:
                self._room -= size
                self._kept[row] = found[row]
        return found
