"""A training loop for A2MC, for SCD-Net, which it begins from, and for what is between them; one process.

SGD of momentum .9 and weight decay 1e-4 on everything, a rate that falls to a tenth at 351/451 of the steps, a key
encoder that follows the query's by .999 (MoCo). Published: batch 64, banks of 8192, rate .001 (SCD-Net: .01). The rate
here is SCD-Net's; batch, banks and steps are ours.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bebr.models import items as kinds
from bebr.models.a2mc.attack import attacked, random_step
from bebr.models.a2mc.contrast import PAIRS, Bank, info_nce, mix_released
from bebr.models.a2mc.network import initialize
from bebr.models.a2mc.producer import A2mc
from bebr.models.a2mc.views import views
from bebr.models.clips import clip
from bebr.models.training import Descent, batches, clock_of, training

__all__ = ["ATTACKS", "BANKS", "MIXES", "Log", "fit"]

BANKS, ATTACKS, MIXES = ("adversarial", "queue"), ("gradient", "random"), ("bank", "released")
_SPACE, _CLASSES, _FOLLOWS = 128, 128, 0.999
_FALL = 351 / 451


@dataclass
class Log:
    """The loss of every step."""

    loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    """CPU seconds on the CPU, elapsed ones elsewhere: drawing the views is in them."""


def fit(
    producer: A2mc,
    clips: Sequence[Any],
    bank: str = "adversarial",
    attack: str | None = "gradient",
    mix: str | None = "bank",
    steps: int = 1000,
    batch_size: int = 64,
    bank_size: int = 1024,
    temperature: float = 0.2,
    attack_size: float = 1e-4,
    attack_steps: int = 1,
    least: int = 16,
    learning_rate: float = 0.01,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Log:
    """Train the producer's network in place on ``clips``, any that ``embed`` takes; no labels.

    bank    ``adversarial``: negatives climb to be harder, once keys have filled the bank, which takes bank_size /
            batch_size steps; ``queue``: they are the last keys (SCD-Net)
    attack  ``gradient``: the query's view is attacked; ``random``: as large a random step, the control; None
    mix     ``bank``: hard negatives take up some of the queries (ours, after the abstract); ``released``: the published
            code's loss; None
    least   the fewest frames of a clip that a view shows (published: 64, longer than many clips of other sets)

    SCD-Net is ``bank="queue", attack=None, mix=None``. The producer's version changes with its weights. Raises
    ValueError for settings out of range.
    """
    _check(producer, clips, bank, attack, mix, steps, batch_size)
    config, random = producer.network.config, np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    known = [producer.prepared(clip(one, f"clips[{at}]")) for at, one in enumerate(clips)]
    banks = {head: Bank(_SPACE, bank_size, batch_size, generator).to(producer.device) for head in "tsi"}
    query = _Queries(producer.network, seed).to(producer.device)
    with torch.random.fork_rng(devices=[]):
        classifier = nn.Linear(config.dim, _CLASSES)
    initialize(classifier, seed + 1)
    classifier.to(producer.device)
    key = copy.deepcopy(query).requires_grad_(False).train()  # its norms go by the batch, as the query's do
    descend = Descent(torch.optim.SGD(query.parameters(), learning_rate, 0.9, weight_decay=1e-4))
    rows = batches(len(known), batch_size, random)
    warm = bank_size // batch_size
    log, clock = Log(), clock_of(producer.device)
    start = clock()
    with training(producer):
        for step in range(steps):
            chosen = [known[row] for row in next(rows)]
            first, second = (
                torch.from_numpy(views(chosen, config.frames, least, config.graph, random)).to(producer.device)
                for _ in range(2)
            )
            if attack == "random":
                first = random_step(first, attack_size, generator)
            elif attack == "gradient":
                producer.network.eval()  # norms' statistics are of clips, not of attacks on the way
                classify = _classifier(producer.network, classifier)
                first = attacked(first, classify, config.graph, attack_size, attack_steps)
                producer.network.train()
            q, k = query(first), _keys(key, second)
            loss = _loss(q, k, banks, temperature)
            if mix == "released":
                loss = loss + mix_released(q, banks, temperature)
            log.loss.append(descend(loss, 1.0 if step < steps * _FALL else 0.1))
            _follow(key, query)
            _move(banks, q, k, bank == "queue" or step < warm, mix == "bank")
            if progress is not None:
                progress(step + 1, steps)
    log.seconds = clock() - start
    return log


class _Queries(nn.Module):
    """The encoder and three heads, which go when training ends."""

    def __init__(self, network: nn.Module, seed: int) -> None:
        super().__init__()
        d = network.config.width
        with torch.random.fork_rng(devices=[]):
            heads = {
                head: nn.Sequential(nn.Linear(read, read), nn.ReLU(), nn.Linear(read, _SPACE))
                for head, read in (("t", d), ("s", d), ("i", 2 * d))
            }
        self.heads = nn.ModuleDict(heads)
        initialize(self, seed)
        self.network = network

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        timed, placed = self.network(clips)
        read = {"t": timed, "s": placed, "i": torch.cat([timed, placed], 1)}
        return {head: normalize(self.heads[head](x), dim=1) for head, x in read.items()}


def _classifier(network: nn.Module, head: nn.Linear) -> Callable[[Tensor], Tensor]:
    return lambda clips: head(torch.cat(network(clips), 1))


def _keys(key: nn.Module, clips: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        made: dict[str, Tensor] = key(clips)
    return made


def _loss(q: Mapping[str, Tensor], k: Mapping[str, Tensor], banks: Mapping[str, Bank], temperature: float) -> Tensor:
    parts = [info_nce(q[asks], k[asked], banks[asked].negatives(), temperature) for asks, asked in PAIRS]
    return torch.stack(parts).sum()


def _follow(key: nn.Module, query: nn.Module) -> None:
    with torch.no_grad():
        for slow, fast in zip(key.parameters(), query.parameters(), strict=True):
            slow.lerp_(fast, 1 - _FOLLOWS)


def _move(banks: Mapping[str, Bank], q: Mapping[str, Tensor], k: Mapping[str, Tensor], fill: bool, mix: bool) -> None:
    """Banks take the keys where they ``fill``; else they climb, by each pair in turn, and take up queries."""
    if fill:
        for head, bank in banks.items():
            bank.replace(k[head])
        return
    for asks, asked in PAIRS:
        banks[asked].harden(q[asks].detach(), k[asked])
        if mix:
            banks[asked].mix(q[asks].detach())


def _check(
    producer: A2mc, clips: Any, bank: str, attack: str | None, mix: str | None, steps: int, batch_size: int
) -> None:
    kinds.check(clips, producer.modality)
    for name, got, known in (("bank", bank, BANKS), ("attack", attack, (*ATTACKS, None)), ("mix", mix, (*MIXES, None))):
        if got not in known:
            raise ValueError(f"{name}: got {got!r}, wanted {', '.join(map(str, known))}")
    if bank == "queue" and mix == "bank":
        raise ValueError("mix: 'bank' mixes queries into adversarial negatives, but bank is 'queue'")
    if steps < 1 or not 2 <= batch_size <= len(clips):
        raise ValueError(
            f"steps, batch_size: got {steps} and {batch_size}, wanted at least 1, and 2 to {len(clips)}, the number of "
            "clips"
        )
