"""Gradient training of a map between two models' spaces: backward-compatible training (docs/method.md)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bebr.arrays import Floats, Ids
from bebr.exact import similarity
from bebr.training.compat.problem import SHARES, Problem, Weights
from bebr.training.gradient.loop import Loop
from bebr.training.linear.closed_form import Progress

_BATCH, _STEPS = 1024, 48  # rows a step; steps an epoch, however many rows there are
_RATE = 1e-2
_LINEAR_SHARE = 0.5  # of that rate for the linear part, which starts near its end
_UP = 0.1  # deviation of the first weights of the hidden layer; at 1 the first steps lose the ridge start
# Temperature of a row of similarities, in standard deviations: producers differ in how far their cosines spread.
_SHARPNESS = 0.5
_LEVEL = 0.5  # weight of the part that keeps scores comparable
# Weight of the contrastive part; bebr/training/compat/compatible.py has the figures of this, the rate and epochs.
_OWN = 4.0


class TorchMap(nn.Module):  # type: ignore[misc]
    """A linear map, begun at ``start``, plus a ReLU network of one hidden layer, begun at zero output.

    Inside, inputs and outputs have about unit length, whatever the data's unit: the rates below hold for all.
    """

    def __init__(self, start: Weights, hidden: int, lengths: tuple[float, float], generator: torch.Generator) -> None:
        super().__init__()
        inputs, outputs = start.linear.shape
        self.of_inputs, self.of_outputs = lengths
        self.linear = nn.Linear(inputs, outputs)
        self.up, self.down = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(start.linear.T * (self.of_inputs / self.of_outputs)))
            self.linear.bias.copy_(torch.from_numpy(start.bias / self.of_outputs))
            nn.init.normal_(self.up.weight, std=_UP, generator=generator)
            for zero in (self.up.bias, self.down.weight, self.down.bias):
                nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        x = x / self.of_inputs
        return self.of_outputs * (self.linear(x) + self.down(functional.relu(self.up(x))))

    def weights(self) -> Weights:
        """As it stands, in the data's own unit."""
        a, b = self.of_inputs, self.of_outputs
        linear, up, down = (
            (layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in (self.linear, self.up, self.down)
        )
        layers = (up[0] / a, up[1].copy()), (down[0] * b, down[1] * b)
        return Weights(np.ascontiguousarray(linear[0].T * (b / a)), linear[1] * b, layers)


def descend(
    problem: Problem,
    start: Weights,
    reached: float,
    score: Callable[[Callable[[Floats], Floats]], float],
    seed: int,
    epochs: int,
    hidden: int,
    progress: Progress,
) -> tuple[Weights, float]:
    """Train from ``start``; the best state by ``score`` is returned with its score, the start competing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lengths = _length(problem.inputs[0][problem.kept]), _length(problem.target[problem.kept])
        model = TorchMap(start, hidden, lengths, generator)
    rows = torch.from_numpy(problem.kept)
    size = min(_BATCH, len(rows))
    scale = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.AdamW(
        [
            {"params": model.linear.parameters(), "lr": _RATE * _LINEAR_SHARE},
            {"params": [*model.up.parameters(), *model.down.parameters(), scale], "lr": _RATE},
        ],
        weight_decay=1e-2,
    )
    loop = Loop(model, optimizer, epochs * _STEPS, size, lambda: score(model.weights()), generator)
    for _ in loop.epochs(epochs, f"compatible {problem.name}", progress):
        for step in range(_STEPS):
            chosen = rows[torch.randperm(len(rows), generator=generator)[:size]].numpy()
            view = problem.inputs[step % len(problem.inputs)]
            loop.step(_loss(problem, model, view, chosen, scale))
    return (model.weights(), loop.best) if loop.best > reached else (start, reached)


def _loss(problem: Problem, model: TorchMap, view: Floats, chosen: Ids, scale: Tensor) -> Tensor:
    """The sum of three parts.

    Neighbourhoods: cross-entropy between the teachers' similarities in the batch and the scores of mapped against
    frozen rows. An item counts as a negative as far as the teachers' similarities say so, so neighbours are not pushed
    away. Contrast, the paper's form: the item itself on the frozen side is the positive of its mapped row. Levels: what
    keeps scores comparable with the new model's own, so that hits of old and new codes merge.
    """
    made = model(torch.from_numpy(view[chosen]))
    made = functional.normalize(made, dim=1) if problem.unit else made
    fixed = torch.from_numpy(problem.fixed[chosen])
    sides = (made, fixed) if problem.side == "query" else (fixed, made)
    scores = similarity(*sides, problem.metric)
    itself = torch.eye(len(chosen), dtype=torch.bool)
    with torch.no_grad():
        vectors = [torch.from_numpy(teacher[chosen]) for teacher in problem.teachers]
        own_scores, past_scores = (similarity(t, t, problem.metric) for t in vectors)
        alike = [_softmax(s, itself) for s in (own_scores, past_scores)]
        target = SHARES[0] * alike[0] + SHARES[1] * alike[1]
        spread = _SHARPNESS * scores[~itself].std()
    logits = scores * scale.exp() / spread
    estimate = functional.log_softmax(logits.masked_fill(itself, -1e9), dim=1)
    own = functional.cross_entropy(logits, torch.arange(len(chosen)))
    level = _unlike(_whole(scores, sides[0], problem.metric), _whole(own_scores, vectors[0], problem.metric), target)
    return -(target * estimate).sum(dim=1).mean() + _OWN * own + _LEVEL * level


def _unlike(scores: Tensor, own: Tensor, weight: Tensor) -> Tensor:
    """1 - r^2 of scores and the new model's own, over all pairs of the batch, weighted by how likely a pair is one of
    neighbours: the variance that the best line from one to the other leaves, and that calibration cannot remove."""
    share = weight / weight.sum()
    a, b = (s - (share * s).sum() for s in (scores, own))
    spread = (share * a * a).sum() * (share * b * b).sum()
    return 1 - (share * a * b).sum() ** 2 / spread.clamp_min(1e-30)


def _whole(scores: Tensor, queries: Tensor, metric: str) -> Tensor:
    """Scores; for l2 with the query's own length, because scores of different queries are compared here."""
    return scores - (queries * queries).sum(1, keepdim=True) if metric == "l2" else scores


def _softmax(similarities: Tensor, itself: Tensor) -> Tensor:
    logits = similarities / (_SHARPNESS * similarities[~itself].std())
    return functional.softmax(logits.masked_fill(itself, -1e9), dim=1)


def _length(x: Floats) -> float:
    """Root mean square length of rows; 1 where all are zero."""
    return float(np.sqrt(np.mean(np.einsum("ij,ij->i", x, x, dtype=np.float64)))) or 1.0
