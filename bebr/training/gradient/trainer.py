"""The training loop of the recurrent network; the best state on held-out data is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bebr.arrays import Floats
from bebr.training.gradient.device import device_of, on_cpu
from bebr.training.gradient.loop import Checkpoint, Loop
from bebr.training.gradient.losses import distillation, hard_negatives
from bebr.training.linear.closed_form import Progress, ridge

_PAIR_TEMPERATURE, _DISTILLATION_TEMPERATURE = 0.05, 0.1


@dataclass(frozen=True)
class Schedule:
    """epochs: passes over the data; 0 trains nothing. batch: rows a step (pairs count twice). learning_rate: at the
    start.
    """

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float


@dataclass(frozen=True)
class Pairs:
    """Training pairs: float32[n, d] unit rows of each side; groups int64[n]: rows of a group are no negatives of each
    other.
    """

    queries: Tensor
    documents: Tensor
    groups: Tensor


class Decoded(nn.Module):  # type: ignore[misc]
    """The network with its linear decoder: unit vectors -> unit reconstructions mu + A v, what both searches
    compare.
    """

    def __init__(self, network: nn.Module, decoder: Floats, mean: Floats) -> None:
        super().__init__()
        self.network = network
        self.decoder = nn.Parameter(torch.from_numpy(decoder))
        self.mean = nn.Parameter(torch.from_numpy(mean))

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(self.network(x) @ self.decoder + self.mean, dim=1)


def with_decoder(network: nn.Module, x: Tensor) -> Decoded:
    """``network`` with the least-squares decoder of its codes of ``x``."""
    decoder, mean = ridge(codes(network, x), x.numpy())
    return Decoded(network, decoder.astype(np.float32), mean.astype(np.float32))


def codes(network: nn.Module, x: Tensor) -> Floats:
    """Code values float32[n, m] in evaluation mode, in pieces that fit the cache of a small machine."""
    network.eval()
    with torch.no_grad():
        parts = [network(piece) for piece in x.split(4096)]
    values: Floats = torch.cat(parts).numpy()
    return values


def train_network(
    model: Decoded,
    x: Tensor,
    pairs: Pairs | None,
    score: Callable[[Decoded], float],
    schedule: Schedule,
    generator: torch.Generator,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> tuple[float, float]:
    """Train ``model`` on embeddings ``x`` [n, d] by distillation, or on ``pairs``, all on one device; afterwards it
    holds the best state by ``score``, which is given it on the CPU.

    The state before the first step competes too, so the result never scores below it. Returns that first score and the
    best.
    """
    optimizer = torch.optim.AdamW(parameter_groups(model, schedule))
    rows = len(x) if pairs is None else len(pairs.queries)
    per_step = min(schedule.batch if pairs is None else schedule.batch // 2, rows)
    steps = schedule.epochs * (rows // per_step)
    loop = Loop(model, optimizer, steps, per_step, lambda: score(on_cpu(model)), generator, checkpoint)
    for _ in loop.epochs(schedule.epochs, "recurrent", progress):
        for chosen in _batches(rows, per_step, generator):
            loop.step(_loss(model, x, pairs, chosen.to(device_of(model))))
    return loop.first, loop.best


def parameter_groups(model: Decoded, schedule: Schedule) -> list[dict[str, Any]]:
    """One group a parameter, its rate in proportion to the size of the weights it belongs to.

    A step of Adam moves every entry by about the rate. Started from the closed form, the encoder's entries are of the
    order of 1 and the decoder's of .001: one absolute rate either ruins the decoder or leaves the encoder where it was.
    """
    groups: list[dict[str, Any]] = [
        {"params": [model.decoder, model.mean], "lr": schedule.learning_rate * rms(model.decoder)}
    ]
    for layer in model.network.modules():
        if isinstance(layer, nn.Linear | nn.BatchNorm1d):
            groups.append({"params": list(layer.parameters()), "lr": schedule.learning_rate * rms(layer.weight)})
    return [group | {"weight_decay": schedule.weight_decay} for group in groups]


def rms(weight: Tensor) -> float:
    """Root mean square of the entries that are not zero."""
    values = weight.detach()
    return float(values[values != 0].square().mean().sqrt())


def _batches(rows: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Whole batches of a random order; what is left over waits for the next epoch's order."""
    order = torch.randperm(rows, generator=generator)
    for start in range(0, rows - size + 1, size):
        yield order[start : start + size]


def _loss(model: Decoded, x: Tensor, pairs: Pairs | None, chosen: Tensor) -> Tensor:
    if pairs is None:
        batch = x[chosen]
        return distillation(batch, model(batch), _DISTILLATION_TEMPERATURE)
    queries = pairs.queries[chosen]
    # One pass over both sides: BatchNorm must see one distribution, as in use.
    decoded = model(torch.cat([queries, pairs.documents[chosen]]))
    coded, documents = decoded[: len(chosen)], decoded[len(chosen) :]
    groups = pairs.groups[chosen]
    # SDC as in the paper, and ADC: the index may be asked with either.
    losses = [hard_negatives(left, documents, groups, _PAIR_TEMPERATURE) for left in (coded, queries)]
    return losses[0] + losses[1]
