"""Negatives from beyond the batch: a queue of batches, encoded by a slowly following copy (arXiv 2302.08714)."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import torch
from torch import Tensor

from bebr.training.gradient.input_adapter import InputAdapters
from bebr.training.gradient.losses import Keys

# Training here is some hundred steps, so the copy must follow within some dozens: .999, usual where training is long,
# would keep it at the start throughout.
_MOMENTUM = 0.98


class MomentumQueue:
    """The last ``batches`` batches as the momentum copy of ``adapters`` saw them."""

    def __init__(self, adapters: InputAdapters, batches: int) -> None:
        self._copy = copy.deepcopy(adapters).requires_grad_(False).eval()
        self._held: deque[Keys] = deque(maxlen=batches)

    def keys(self) -> Keys | None:
        """Everything queued; None while that is nothing."""
        if not self._held:
            return None
        queries, documents, groups = (torch.cat(parts) for parts in zip(*self._held, strict=True))
        return Keys(queries, documents, groups)

    def push(self, adapters: InputAdapters, queries: Tensor, documents: Tensor, groups: Tensor) -> None:
        """Move the copy towards ``adapters``, then queue a batch; the oldest goes."""
        with torch.no_grad():
            for mine, theirs in zip(self._copy.parameters(), adapters.parameters(), strict=True):
                mine.lerp_(theirs, 1 - _MOMENTUM)
            for mine, theirs in zip(self._copy.buffers(), adapters.buffers(), strict=True):
                mine.copy_(theirs)
            left, right = self._copy(queries, documents)
            self._held.append(Keys(left, right, groups))

    def state_dict(self) -> dict[str, Any]:
        """The copy and what is queued, tensors only."""
        return {"copy": self._copy.state_dict(), "held": [list(keys) for keys in self._held]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._copy.load_state_dict(state["copy"])
        device = next(self._copy.parameters()).device
        self._held.extend(Keys(*(part.to(device) for part in keys)) for keys in state["held"])
