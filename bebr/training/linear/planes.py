"""Ragged or uniform planes, at equal bits: whichever finds more of the held-out vectors' neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bebr.arrays import Floats
from bebr.training.linear.closed_form import ALLOCATION_POWER, GAUSSIAN_ERROR, Floats64, allocate, spectrum
from bebr.training.linear.fitting import held_out, heldout_hits, optimized_candidate

_MOST_ROWS = 17_384  # of a comparison: a thousand queries and what they search
_FEWEST_QUERIES = 100  # below, a gain of .01 in recall is within the error
# Of alternating least squares. The closed form ranks the two wrongly: French word vectors at 52 bytes, ragged .792 and
# uniform .761 by the closed form, .811 and .812 after eight rounds (docs/experiments/plane-widths.md).
_ROUNDS = 8
_ERRORS = 2.0  # standard errors that uniform planes must win by: ragged ones have a narrower sign plane to scan


def choose_planes(x: Floats, bits: int, metric: str, seed: int) -> tuple[int, ...]:
    """Widths of the planes, which sum to ``bits``, for vectors float32[n, d] (normalised already for cosine).

    Ragged widths follow the spectrum (:func:`bebr.training.linear.closed_form.allocate`). They are replaced by the
    best uniform ones where those recall more of held-out queries' neighbours, by two standard errors.
    """
    values = spectrum(x)[1]
    ragged, uniform = allocate(values, bits), best_uniform(values, bits)
    drawn = np.random.default_rng(seed).permutation(len(x))[:_MOST_ROWS]
    queries, base = held_out(x[np.sort(drawn)], seed)
    if uniform in (None, ragged) or len(queries) == len(base) or len(queries) < _FEWEST_QUERIES:
        return ragged
    assert uniform is not None
    own = spectrum(base)
    shares = [
        heldout_hits(optimized_candidate(base, own, widths, metric, seed, rounds=_ROUNDS), queries, base)
        for widths in (ragged, uniform)
    ]
    gain = shares[1] - shares[0]
    error = float(gain.std()) / math.sqrt(len(gain))
    return uniform if float(gain.mean()) > _ERRORS * error else ragged


def best_uniform(values: Floats64, bits: int) -> tuple[int, ...] | None:
    """Planes of equal width, or of widths that differ by 8, with the smallest expected error of a score; None where no
    number of planes from 1 to 8 takes exactly ``bits``. values: eigenvalues, descending."""
    units = -(-len(values) // 8)
    energy = np.zeros(units * 8)
    energy[: len(values)] = values**ALLOCATION_POWER
    energy = energy.reshape(units, 8).sum(axis=1)

    def error(widths: Sequence[int]) -> float:
        depth = (np.arange(units)[:, None] < np.array(widths) // 8).sum(axis=1)
        return float(energy @ np.array(GAUSSIAN_ERROR)[depth])

    candidates = []
    for planes in range(1, 9):
        least, wider = divmod(bits // 8, planes)
        widths = (8 * (least + 1),) * wider + (8 * least,) * (planes - wider)
        if least and widths[0] <= 8 * units:
            candidates.append(widths)
    return min(candidates, key=error, default=None)
