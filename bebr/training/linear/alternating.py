"""Alternating least squares with coordinate descent: the default recipe (docs/method.md).

The closed form's decoder is orthogonal and its code is rounded dimension by dimension. Here neither holds: codes are
chosen by coordinate descent on ||P (x - mu - A v)||^2, the decoder is refitted to the codes by least squares, and the
two alternate. P weighs errors by the spectrum to the power alpha / 2: queries spread as the data does, so an error
along a strong direction moves scores more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bebr import core
from bebr.arrays import Floats
from bebr.binarizer.config import OPTIMIZE_GRAM
from bebr.training.linear.closed_form import ClosedForm, Floats64, Progress, ridge

SWEEPS = 20
ROUNDS = 40
ALPHA = 0.25
_SAMPLE = 20_000  # rows a round encodes; more did not raise recall (docs/experiments/recipe-parts.md)
_LAST = 3  # rounds at the end that take all rows
_RIDGE = 1e-4  # of the mean diagonal of G: keeps z finite where the code has more dimensions than the data


@dataclass(frozen=True)
class OptimizedCode:
    """Decoder and metric of an optimized code; the encoder follows from them."""

    decoder: Floats64  # [m, d]
    mean: Floats64  # [d]
    metric: Floats64  # P^2 [d, d]

    def encoder(self) -> tuple[Floats64, Floats64, Floats64]:
        """(W [m, d], b [m], G [m, m]): z = W x + b minimises the error over real z, and the code is the grid point
        that descent on (z - v)^T G (z - v) finds from z. G = A^T P^2 A, with the ridge on its diagonal, is scaled to
        a mean diagonal of 1, for float32."""
        weighed = self.decoder @ self.metric
        g = weighed @ self.decoder.T
        g = (g + g.T) / 2
        g[np.diag_indices(len(g))] += _RIDGE * max(float(np.trace(g)) / len(g), 1e-30)
        weight = np.asarray(np.linalg.solve(g, weighed), np.float64)
        return weight, -weight @ self.mean, g / (float(np.trace(g)) / len(g))

    def tensors(self) -> dict[str, Floats]:
        """Encoder, decoder and gram matrix under the names of :meth:`bebr.Binarizer.from_tensors`."""
        weight, bias, gram = self.encoder()
        named = {
            "encoder.0.weight": weight,
            "encoder.0.bias": bias,
            "decoder.weight": self.decoder,
            "decoder.bias": self.mean,
            OPTIMIZE_GRAM: gram,
        }
        return {name: np.ascontiguousarray(value, np.float32) for name, value in named.items()}

    def codes(self, x: Floats, widths: tuple[int, ...]) -> Floats:
        """Code values float32[n, m] of ``x``."""
        named = self.tensors()
        layers = [[(named["encoder.0.weight"], named["encoder.0.bias"])]]
        encoder = core.Encoder("linear", list(widths), layers, False, named[OPTIMIZE_GRAM], SWEEPS)
        return core.unpack(encoder.encode(np.ascontiguousarray(x)), list(widths))


def optimize(
    x: Floats,
    start: ClosedForm,
    widths: tuple[int, ...],
    seed: int,
    *,
    rounds: int = ROUNDS,
    alpha: float = ALPHA,
    progress: Progress | None = None,
) -> OptimizedCode:
    """Improve the closed form on the vectors float32[n, d] that it was fitted to, normalised already for cosine.

    rounds: of encoding 20,000 random rows and refitting; the last three take all. alpha: see the module.
    """
    rng = np.random.default_rng(seed)
    report = progress or (lambda stage, done, total: None)
    _, values, vectors = start.spectrum
    weights = np.maximum(values / max(float(values[0]), 1e-30), 1e-9) ** alpha
    state = OptimizedCode(start.decoder, start.mean, np.asarray((vectors * weights) @ vectors.T, np.float64))
    relax = relaxation(sum(widths), x.shape[1])
    for done in range(rounds):
        report("optimization", done, rounds)
        everything = done >= rounds - _LAST or len(x) <= _SAMPLE
        rows = x if everything else x[np.sort(rng.choice(len(x), _SAMPLE, replace=False))]
        decoder, mean = ridge(state.codes(rows, widths), rows)
        step = relax if done < rounds - _LAST - 1 else 1.0
        state = OptimizedCode(state.decoder + step * (decoder - state.decoder), mean, state.metric)
    report("optimization", rounds, rounds)
    return state


def relaxation(bits: int, d: int) -> float:
    """By how much A overshoots its least-squares value: 1.0 up to a bit a dimension, 1.4 at two, 1.8 from four on.

    With many bits few codes change in a round, and the decoder moves slowly; 3.0 diverges
    (docs/experiments/recipe-parts.md).
    """
    return 1 + 0.4 * min(max(math.log2(bits / d), 0.0), 2.0)
