"""How many bytes for the factor, at equal bytes in all: fewer leave more to the planes."""

from __future__ import annotations

import numpy as np

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.exact import exact, recall
from bebr.index import FlatIndex
from bebr.training.linear.closed_form import allocate, fit, spectrum
from bebr.training.linear.factors import fit_factors
from bebr.training.linear.fitting import tensors

_BASE, _QUERIES, _K = 16_384, 512, 10


def choose_factor_bytes(x: Floats, bytes_per_vector: int, metric: str, seed: int, stage_factor: bool = False) -> int:
    """1 or 2, or 4 where fp16 does not hold the factors: whichever recalls more on held-out vectors of x float32[n, d].

    Recall@10, ADC and SDC averaged, by the closed form, which is quick; the better recipes rank the two alike.
    stage_factor: there are two factors of that size.
    """
    drawn = np.random.default_rng(seed).permutation(len(x))[: _BASE + _QUERIES]
    queries, base = x[drawn[:_QUERIES]], x[drawn[_QUERIES:]]
    most = 8 * (-(-x.shape[1] // 8))
    count = 2 if stage_factor else 1
    if bytes_per_vector <= 2 * count:  # one byte is all that is left, if that
        return 1
    if len(base) < 10 * _K or bytes_per_vector > 2 * count + most:
        return 2
    truth = exact(base, queries, _K, metric)
    results: dict[int, float] = {}
    own = spectrum(base)
    # Two bytes first: it finds out whether they hold the factors. Equal recall: one byte, whose codes are no longer.
    for wanted in (2, 4, 1):
        left = bytes_per_vector - count * wanted
        if (wanted == 4 and 2 in results) or not 1 <= left <= most:
            continue
        widths = allocate(own.values, 8 * left)
        named = tensors(fit(base, widths, seed, known=own))
        config = {"architecture": "linear", "widths": widths, "metric": metric, "input_dim": x.shape[1]}
        try:
            if stage_factor and len(widths) > 1:
                config["stage_factor"] = True
            config = fit_factors(named, config, base[:8192], None if wanted == 2 else wanted)
        except ValueError:  # out of one byte's reach
            continue
        if config.get("factor_bytes", 2) == wanted:
            results[wanted] = _recall(Binarizer(named, config), base, queries, truth)
    return max(results, key=lambda b: (results[b], -b), default=2)


def _recall(binarizer: Binarizer, base: Floats, queries: Floats, truth: Ids) -> float:
    index = FlatIndex(binarizer)
    index.add(base)
    everything = -(-len(base) // _K)
    modes: tuple[Query, Query] = ("float", "code")
    found = [index.search(queries, _K, query=mode, oversampling=everything).ids for mode in modes]
    return float(np.mean([recall(ids, truth) for ids in found]))
