"""What the gradient recipes' loops share: AdamW's step, a cosine schedule, the best state by a score, and a checkpoint
from which a killed run continues.
"""

from __future__ import annotations

import copy
import hashlib
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from bebr.errors import CorruptFile
from bebr.files import replacing
from bebr.threads import wanted
from bebr.training.linear.closed_form import Progress

_CLIP = 5.0  # length of a step's gradient
# What torch raises for a file that is none of its own; OSError where it looks for parts before a short file's start.
_DAMAGED = (RuntimeError, EOFError, KeyError, TypeError, OSError, pickle.UnpicklingError, zipfile.BadZipFile)


class Stateful(Protocol):
    """What a loop keeps beside the model, such as a queue of negatives."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class Checkpoint:
    """A loop's state as the file ``path``, whole or not at all.

    inputs: all that the run depends on, arrays and settings; a file of another run is refused, not continued.
    """

    def __init__(self, path: str | Path, *inputs: Any) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise ValueError(f"checkpoint is {str(path)!r}: the folder {self.path.parent} does not exist")
        digest = hashlib.sha256()
        for part in inputs:
            if isinstance(part, np.ndarray):
                digest.update(f"{part.dtype}{part.shape}".encode())
                digest.update(np.ascontiguousarray(part).data)
            else:
                digest.update(repr(part).encode())
        self._run = digest.hexdigest()

    def load(self) -> dict[str, Any] | None:
        """The state, None if there is no file. ``CorruptFile``; ``ValueError`` if it is of another run."""
        if not self.path.exists():
            return None
        with self.path.open("rb") as file:
            try:
                saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
                run, state = saved["run"], saved["state"]
            except _DAMAGED as error:
                # Torch's own words advise to load with less care.
                raise CorruptFile(
                    f"{self.path}: cut off, or no checkpoint ({type(error).__name__}): delete it to begin anew"
                ) from error
        if run != self._run:
            raise ValueError(
                f"checkpoint {self.path} is of a run with other data or settings: name another file, or delete it"
            )
        return dict(state)

    def save(self, state: dict[str, Any]) -> None:
        with replacing(self.path) as temporary:
            torch.save({"run": self._run, "state": state}, temporary)


class Loop:
    """Epochs of a model's training, after which it holds the best state by ``score``, the one before the first step
    included.

    steps: of all epochs together, on ``batch`` rows each. score: of the present state, higher is better. beside: what
    else has a state.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        steps: int,
        batch: int,
        score: Callable[[], float],
        generator: torch.Generator,
        checkpoint: Checkpoint | None = None,
        beside: Stateful | None = None,
    ) -> None:
        self._model, self._optimizer, self._score, self._generator = model, optimizer, score, generator
        weights = sum(parameter.numel() for parameter in model.parameters())
        self._multiply_adds = 3 * batch * weights  # of a step: forward, and backward to inputs and to weights
        self._annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
        self._checkpoint, self._beside = checkpoint, beside
        self._done = 0
        state = None if checkpoint is None else checkpoint.load()
        if state is None:
            self.first = self.best = score()
            self._best_state = copy.deepcopy(model.state_dict())
        else:
            self._restore(state)

    def epochs(self, count: int, stage: str, progress: Progress) -> Iterator[int]:
        """The epochs still to be trained, the model in training mode; when all are done it holds its best state."""
        for epoch in range(self._done, count):
            progress(stage, epoch, count)
            self._model.train()
            with _torch_threads(self._multiply_adds):
                yield epoch
            reached = self._score()
            if reached > self.best:
                self.best, self._best_state = reached, copy.deepcopy(self._model.state_dict())
            self._done = epoch + 1
            if self._checkpoint is not None:
                self._checkpoint.save(self._state())
        self._model.load_state_dict(self._best_state)
        self._model.eval()
        progress(stage, count, count)

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of ``loss``."""
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), _CLIP)
        self._optimizer.step()
        self._annealing.step()

    def _state(self) -> dict[str, Any]:
        return {
            "done": self._done,
            "first": self.first,
            "best": self.best,
            "best_state": self._best_state,
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "annealing": self._annealing.state_dict(),
            "generator": self._generator.get_state(),
            "beside": None if self._beside is None else self._beside.state_dict(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._done, self.first, self.best = state["done"], state["first"], state["best"]
        self._best_state = state["best_state"]
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._annealing.load_state_dict(state["annealing"])
        self._generator.set_state(state["generator"])
        if self._beside is not None:
            self._beside.load_state_dict(state["beside"])


@contextmanager
def _torch_threads(multiply_adds: int) -> Iterator[None]:
    """In this block torch has as many threads as :func:`bebr.threads.wanted` says, and never more than it had."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, wanted(multiply_adds)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
