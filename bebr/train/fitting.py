"""From the closed form to a binarizer: factor scales, and the share of rows the default search completes, by
measurement."""

from __future__ import annotations

from typing import Any

import numpy as np

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.index import FlatIndex
from bebr.train.closed_form import ClosedForm, Progress, fit

_BASE, _QUERIES, _K = 65_536, 256, 10
_LOSS = 0.002  # share of the exact answer over codes that the default search may lose


def fit_closed_form(x: Floats, widths: tuple[int, ...], metric: str, seed: int, progress: Progress | None) -> Binarizer:
    """The default recipe on vectors float32[n, d], normalised already for cosine."""
    form = fit(x, widths, seed, progress)
    return finish(tensors(form), {"architecture": "linear", "widths": widths, "metric": metric, "seed": seed}, x, seed)


def tensors(form: ClosedForm) -> dict[str, Floats]:
    """The tensors of :meth:`Binarizer.from_tensors`."""
    named = {
        "encoder.0.weight": form.encoder,
        "encoder.0.bias": form.bias,
        "decoder.weight": form.decoder,
        "decoder.bias": form.mean,
        "stage.weight": form.stage_decoder,
        "stage.bias": form.stage_mean,
    }
    return {name: value.astype(np.float32) for name, value in named.items()}


def finish(named: dict[str, Floats], config: dict[str, Any], x: Floats, seed: int) -> Binarizer:
    """Fix what only measurement can tell: the fp16 range of l2's factor, and ``survivors``."""
    config = {**config, "input_dim": x.shape[1]}
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(x))[: _BASE + _QUERIES]
    queries, base = x[drawn[:_QUERIES]], x[drawn[_QUERIES:]]
    if len(base) < 10 * _K:
        queries, base = x, x
    if config["metric"] == "l2":
        # Of the reconstructions, which are what the factor holds: unit vectors have no spread, their reconstructions
        # do.
        rough = Binarizer(named, config)
        norms = (rough.decode(rough.encode(base[:8192])).astype(np.float64) ** 2).sum(axis=1)
        spread = max(float(norms.std()), 1e-3 * float(norms.mean()), 1e-30)
        # Deviations of a few spreads land round 1..8, where fp16 has 11 bits; 65,504 is its largest number.
        config |= {"factor_offset": float(norms.mean()), "factor_scale": float(2.0 ** np.round(-np.log2(spread)))}
    if len(config["widths"]) == 1:
        named = {k: v for k, v in named.items() if not k.startswith("stage.")}
    rows = measure_survivors(Binarizer(named, config), base, queries)
    return Binarizer(named, config | {"survivors": {"rows": rows, "of": len(base)}})


def measure_survivors(binarizer: Binarizer, base: Floats, queries: Floats) -> int:
    """How few rows may be completed after the sign plane, losing at most _LOSS of the top 10 that completing all
    rows gives."""
    index = FlatIndex(binarizer)
    index.add(base)
    prepared = binarizer.prepare(queries)
    k = min(_K, len(base))
    everything = index.search_prepared(prepared, k, refine=-(-len(base) // k)).ids
    low, high = 1, -(-len(base) // k)  # multiples of k; high is enough
    while low < high:
        middle = (low + high) // 2
        found = index.search_prepared(prepared, k, refine=middle).ids
        kept = np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(found, everything, strict=True)])
        low, high = (low, middle) if kept >= 1 - _LOSS else (middle + 1, high)
    return low * k
