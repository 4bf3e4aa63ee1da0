"""The loops: a trunk by contrast of pictures and texts, an expert for a task on the frozen trunk, and the interpolation
of its expert with others.

A task is a classification here: a linear head reads the mean of states. (OFA says the answer in words, by its decoder.)
Rates, steps and batches are ours; label smoothing .1, Adam (.9, .999) with decay .01, rising for .06 of the steps and
falling linearly, as published. The trunk's own training is ours altogether.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bebr.models.pi_tuning.experts import Expert
from bebr.models.pi_tuning.held import Held
from bebr.models.pi_tuning.mixture import Mixture
from bebr.models.pi_tuning.producer import PiTuning, centred
from bebr.models.producer import check_batch_size
from bebr.models.rils.data import Pairs
from bebr.models.rils.loss import contrast
from bebr.models.training import Descent, batches, clock_of, parameter_groups, rate, training

__all__ = ["Log", "Trained", "attached", "fit", "interpolate", "numbered", "pretrain"]

_SMOOTHING, _DECAY, _WARMUP = 0.1, 0.01, 0.06
_SCALE = 1 / 0.07
Labels = Sequence[int] | npt.NDArray[np.int64]


@dataclass
class Log:
    """The loss of every step."""

    loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    """CPU seconds on the CPU, elapsed ones elsewhere."""


@dataclass(frozen=True)
class Trained:
    """An expert for a task, its head, and the labels that the head's outputs stand for."""

    expert: Expert
    head: nn.Linear
    classes: npt.NDArray[np.int64]
    log: Log

    def predict(self, producer: PiTuning, items: Sequence[Any] | Held, batch_size: int = 64) -> npt.NDArray[np.int64]:
        """Each item's label, int64 [n], by the trunk that the expert was trained on."""
        held = Held.of(producer, items)
        check_batch_size(batch_size)
        found: list[Tensor] = [torch.empty(0, dtype=torch.int64)]
        with attached(producer, self.expert), torch.inference_mode():
            for start in range(0, len(items), batch_size):
                rows = np.arange(start, min(start + batch_size, len(items)))
                found.append(self.head(held.means(producer, rows)).argmax(1).cpu())
        return self.classes[torch.cat(found).numpy()]


def pretrain(
    producer: PiTuning,
    pairs: Pairs,
    steps: int = 1000,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Log:
    """Train the trunk in place: a picture's vector shall be near its own text's among the batch's (CLIP's loss, with
    1/.07 for its scale). Its version changes. ValueError for settings out of range, or an expert in the trunk."""
    producer.check_bare()
    if not 2 <= batch_size <= len(pairs):
        raise ValueError(f"batch_size: got {batch_size}, wanted 2 to {len(pairs)}, the number of items")
    _check_steps(steps)
    network, random = producer.network, np.random.default_rng(seed)
    descend = Descent(torch.optim.AdamW(parameter_groups(network, 0.1), learning_rate, (0.9, 0.98)), clip=1.0)
    rows, scale = batches(len(pairs), batch_size, random), torch.tensor(_SCALE, device=producer.device)
    log, clock = Log(), clock_of(producer.device)
    start = clock()
    with training(producer):
        for step in range(steps):
            pixels, texts = pairs.seen(next(rows), network.config.image_size, random)
            nothing = producer.tokens([""] * len(texts)).to(producer.device)
            shown = producer.means("image", centred(pixels.to(producer.device)), nothing)
            said = producer.means("text", None, producer.tokens(texts).to(producer.device))
            log.loss.append(descend(contrast(shown, said, scale)[0], rate(step, steps, 0.1)))
            if progress is not None:
                progress(step + 1, steps)
    log.seconds = clock() - start
    return log


def fit(
    producer: PiTuning,
    items: Sequence[Any] | Held,
    labels: Labels,
    kind: str = "adapter",
    size: int = 128,
    steps: int = 200,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train an expert for a task: ``items`` that ``embed`` takes, of one kind, and a label for each. The trunk stays as
    it is. ``Held(trunk, items)`` instead of items keeps what the trunk computes of them for further calls.

    kind  ``adapter``, ``lora`` or ``prefix``
    size  an adapter's inner width, LoRA's rank, or a prefix's length; published: 128, 16 and 100

    Raises ValueError for settings out of range.
    """
    config = producer.network.config
    expert = Expert(kind, size, config.width, config.layers).to(producer.device)
    expert.initialize(seed)
    classes = np.unique(np.asarray(labels, dtype=np.int64))
    head = nn.utils.skip_init(nn.Linear, config.width, len(classes))
    head.weight.data.normal_(0, 0.02, generator=torch.Generator().manual_seed(seed))
    head.bias.data.zero_()
    head.to(producer.device)
    settings = (steps, batch_size, learning_rate, seed, progress)
    log = _descended(producer, expert, head, items, numbered(labels, items, classes), *settings)
    return Trained(expert, head, classes, log)


def interpolate(
    producer: PiTuning,
    own: Trained,
    others: Sequence[Expert],
    items: Sequence[Any] | Held,
    labels: Labels,
    alpha: Sequence[float] | None = None,
    steps: int = 100,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """The task's own expert and ``others``, mixed, trained on the task with their shares, and merged into one. No
    argument changes; without others this trains the own one further.

    alpha  where the shares begin, before their softmax: the own expert's, then the others'; None: equal

    Raises ValueError for settings out of range, or experts of different shapes.
    """
    mixture = Mixture([own.expert, *others], alpha).to(producer.device)
    head = deepcopy(own.head)
    settings = (steps, batch_size, learning_rate, seed, progress)
    log = _descended(producer, mixture, head, items, numbered(labels, items, own.classes), *settings)
    return Trained(mixture.merged(), head, own.classes, log)


@contextmanager
def attached(producer: PiTuning, expert: Expert | Mixture) -> Iterator[None]:
    """``expert`` in the producer's frozen trunk, for a time. ValueError where there is one already."""
    producer.check_bare()
    network = producer.network
    network.requires_grad_(False)
    network.expert = expert
    try:
        yield
    finally:
        network.expert = None
        network.requires_grad_(True)


def numbered(labels: Labels, items: Sequence[Any] | Held, classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Each label's place in ``classes``. ValueError for a label that is not there, or not one for each item."""
    given = np.asarray(labels, dtype=np.int64)
    if given.shape != (len(items),) or len(given) == 0:
        raise ValueError(f"labels: got {len(given)}, wanted one for each of {len(items)} items, of which some")
    unknown = np.setdiff1d(given, classes)
    if len(unknown):
        raise ValueError(f"labels: got {unknown[:8].tolist()}, wanted some of {classes[:8].tolist()}")
    return np.searchsorted(classes, given)


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps: got {steps}, wanted at least 1")


def _descended(
    producer: PiTuning,
    expert: Expert | Mixture,
    head: nn.Linear,
    items: Sequence[Any] | Held,
    numbers: npt.NDArray[np.int64],
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Log:
    held = Held.of(producer, items)
    _check_steps(steps)
    if not 1 <= batch_size <= len(items):
        raise ValueError(f"batch_size: got {batch_size}, wanted 1 to {len(items)}, the number of items")
    parameters = [*expert.parameters(), *head.parameters()]
    descend = Descent(torch.optim.AdamW(parameters, learning_rate, (0.9, 0.999), weight_decay=_DECAY))
    rows = batches(len(items), batch_size, np.random.default_rng(seed))
    log, clock = Log(), clock_of(producer.device)
    start = clock()
    with attached(producer, expert):
        expert.requires_grad_(True)
        for step in range(steps):
            chosen = next(rows)
            logits = head(held.means(producer, chosen))
            wanted = torch.from_numpy(numbers[chosen]).to(producer.device)
            loss = cross_entropy(logits, wanted, label_smoothing=_SMOOTHING)
            log.loss.append(descend(loss, rate(step, steps, _WARMUP, "linear")))
            if progress is not None:
                progress(step + 1, steps)
    log.seconds = clock() - start
    return log
