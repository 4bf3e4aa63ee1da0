"""The two published recipes, with DSU or what it is compared with; one process.

``reid``     label-smoothed cross-entropy behind the neck + soft triplets of the pooled features; Adam 3.5e-4 with
             weight decay 5e-4, the rate rising over a tenth of the steps and falling to a tenth at 40/80 and at 70/80
             of them; four pictures of each identity in a batch
``classes``  cross-entropy; SGD of momentum .9, weight decay 5e-4, the rate falling as a cosine

Weight decay and momentum are what such recipes use, not stated to us. Rates for networks that begin with nothing, batch
and steps are ours; published ones begin with ImageNet's weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from bebr.models import items as kinds
from bebr.models.dsu.data import identities, moved
from bebr.models.dsu.perturbation import CHANCE, PERTURBATIONS, plugged
from bebr.models.dsu.producer import Dsu
from bebr.models.pixels import squeezed_bytes
from bebr.models.training import Descent, batches, clock_of, rate, training

__all__ = ["RECIPES", "Log", "fit", "soft_triplet"]

RECIPES = ("reid", "classes")
_EACH, _SMOOTHING, _DECAY = 4, 0.1, 5e-4


@dataclass
class Log:
    """The loss of every step."""

    loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    """CPU seconds on the CPU, elapsed ones elsewhere."""


def soft_triplet(features: Tensor, labels: Tensor) -> Tensor:
    """The mean of log(1 + exp(d_p - d_n)) over [n, d]: d_p is each row's distance to the farthest of its own label, d_n
    to the nearest of another. A scalar."""
    distances = torch.cdist(features, features)
    own = labels[:, None] == labels
    farthest = distances.masked_fill(~own, -1).amax(1)
    nearest = distances.masked_fill(own, torch.inf).amin(1)
    return softplus(farthest - nearest).mean()


def fit(
    producer: Dsu,
    pictures: Sequence[Any] | npt.NDArray[np.uint8],
    labels: Sequence[int] | npt.NDArray[np.int64],
    recipe: str | None = None,
    perturbation: str | None = "dsu",
    p: float = CHANCE,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Log:
    """Train the producer's network in place, of ``pictures`` (any that ``embed`` takes) and a label for each.

    recipe        ``reid`` or ``classes``, above; None: the first where the network has a neck
    perturbation  ``dsu``, ``mixstyle`` (behind layer1 and layer2), ``noise`` (of fixed size), or None: plain training
    p             the chance of it at each place and batch
    learning_rate at its height; None: 3.5e-4 or .001, as published

    The producer's version changes with its weights. Raises ValueError for settings out of range.
    """
    recipe = recipe or ("reid" if producer.network.config.neck else "classes")
    _check(producer, pictures, labels, recipe, perturbation, steps, batch_size)
    config, network, random = producer.network.config, producer.network, np.random.default_rng(seed)
    known, numbers = np.unique(np.asarray(labels), return_inverse=True)
    shown = squeezed_bytes(
        [kinds.picture(one, f"pictures[{at}]") for at, one in enumerate(pictures)],
        (config.height, config.width),
        producer.resampling,
    )
    if recipe == "reid":
        rows = identities(numbers, batch_size // _EACH, _EACH, random)
    else:
        rows = batches(len(shown), batch_size, random)
    head = nn.utils.skip_init(nn.Linear, config.dim, len(known), bias=recipe == "classes")
    head.weight.data.normal_(0, 0.001, generator=torch.Generator().manual_seed(seed))
    if head.bias is not None:
        head.bias.data.zero_()
    head.to(producer.device)
    parameters = [one for one in (*network.parameters(), *head.parameters()) if one.requires_grad]
    descend = _descent(recipe, parameters, learning_rate)
    perturb = None if perturbation is None else PERTURBATIONS[perturbation](p, seed)
    places = network.places[2:4] if perturbation == "mixstyle" else network.places
    shift = round(config.height * 10 / 256)
    log, clock = Log(), clock_of(producer.device)
    start = clock()
    with training(producer), plugged(places, perturb):
        for step in range(steps):
            chosen = next(rows)
            wanted = torch.from_numpy(numbers[chosen]).to(producer.device)
            pixels = producer.normalised(moved(shown[chosen], shift, random).to(producer.device))
            features = network.pooled(pixels)
            logits = head(network.necked(features))
            if recipe == "reid":
                loss = cross_entropy(logits, wanted, label_smoothing=_SMOOTHING) + soft_triplet(features, wanted)
            else:
                loss = cross_entropy(logits, wanted)
            log.loss.append(descend(loss, _course(recipe, step, steps)))
            if progress is not None:
                progress(step + 1, steps)
    log.seconds = clock() - start
    return log


def _descent(recipe: str, parameters: list[nn.Parameter], learning_rate: float | None) -> Descent:
    height = learning_rate if learning_rate is not None else {"reid": 3.5e-4, "classes": 0.001}[recipe]
    if recipe == "reid":
        return Descent(torch.optim.Adam(parameters, height, weight_decay=_DECAY))
    return Descent(torch.optim.SGD(parameters, height, 0.9, weight_decay=_DECAY))


def _course(recipe: str, step: int, steps: int) -> float:
    if recipe == "classes":
        return rate(step, steps)
    return rate(step, steps, 0.1, "none") * 0.1 ** sum(step >= steps * part for part in (40 / 80, 70 / 80))


def _check(
    producer: Dsu, pictures: Any, labels: Any, recipe: str, perturbation: str | None, steps: int, batch_size: int
) -> None:
    kinds.check(pictures, producer.modality)
    if recipe not in RECIPES:
        raise ValueError(f"recipe: got {recipe!r}, wanted {', '.join(RECIPES)}")
    if perturbation is not None and perturbation not in PERTURBATIONS:
        raise ValueError(f"perturbation: got {perturbation!r}, wanted {', '.join(PERTURBATIONS)} or None")
    if len(labels) != len(pictures):
        raise ValueError(f"labels: got {len(labels)}, wanted one for each of {len(pictures)} pictures")
    if steps < 1:
        raise ValueError(f"steps: got {steps}, wanted at least 1")
    if not 2 <= batch_size <= len(pictures):
        raise ValueError(f"batch_size: got {batch_size}, wanted 2 to {len(pictures)}, the number of pictures")
    if recipe == "reid":
        several = len(set(np.asarray(labels).tolist()))
        if batch_size % _EACH or not 2 <= batch_size // _EACH <= several:
            raise ValueError(
                f"batch_size: got {batch_size}, wanted {_EACH} pictures each of 2 to {several} identities: a multiple "
                f"of {_EACH}"
            )
    if producer.network.config.adapted:
        raise ValueError("producer: is adapted to its training pictures: train the plain one, then adapt it")
