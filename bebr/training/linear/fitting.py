"""The default recipe, from vectors to a binarizer: closed form, optimization, and of the two the better on held-out
rows; then what has to be measured: the range of the factor and how many rows the default search completes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bebr.arrays import Floats, Ids, normalized
from bebr.binarizer import Binarizer
from bebr.binarizer.config import FIRST_STAGE_ROWS, OPTIMIZE
from bebr.exact import exact, hits, recall
from bebr.index import FlatIndex, IVFIndex
from bebr.training.linear.alternating import ALPHA, ROUNDS, SWEEPS, optimize
from bebr.training.linear.closed_form import ClosedForm, Progress, Spectrum, fit, ridge
from bebr.training.linear.factors import fit_factors
from bebr.training.linear.grid import signs

Candidate = tuple[dict[str, Floats], dict[str, Any]]  # tensors and configuration of a binarizer to be

TRIES = 4  # restarts (csrc/binarizer/descent.h); docs/experiments/code-search.md compares more

_BASE, _QUERIES, _K = 65_536, 256, 10
_WIDEST = 80  # tenths of a deviation: nothing is ruled out any more
_LOSS = 0.002  # share of the exact answer over codes that the default search may lose
_HELD_OUT, _COMPARED = 1_000, 16_384  # queries kept from training to compare recipes, and the rows they are compared on


def fit_linear(
    x: Floats,
    widths: tuple[int, ...],
    metric: str,
    seed: int,
    progress: Progress | None = None,
    *,
    rounds: int = ROUNDS,
    alpha: float = ALPHA,
    tries: int = TRIES,
    factor_bytes: int | None = None,
    stage_factor: bool = False,
    noted: Mapping[str, Any] | None = None,
) -> Binarizer:
    """The default recipe on vectors float32[n, d], normalised already for cosine.

    rounds: of alternating least squares; 0 leaves the closed form. alpha: weight of strong directions (see
    bebr/training/linear/alternating.py). tries: restarts of the descent that encodes a vector. ``config["heldout"]``
    has recall@10 of the closed form and of the optimized code, mean of ADC and SDC, on rows that neither saw; the
    better one is returned. factor_bytes: see :func:`bebr.training.linear.factors.fit_factors`. stage_factor: the
    sign plane has its own. noted: entries of the config beside those that the recipe makes.
    """
    if stage_factor and len(widths) == 1:
        raise ValueError("stage_factor needs a second plane: these widths have one")
    for name, value in (("rounds", rounds), ("tries", tries)):
        if value < 0:
            raise ValueError(f"{name} is {value}: want at least 0")
    config: dict[str, Any] = {"architecture": "linear", "widths": widths, "metric": metric, "seed": seed}
    config |= noted or {}
    if stage_factor:
        config["stage_factor"] = True
    queries, kept = held_out(x, seed)
    form = fit(kept, widths, seed, progress)
    if rounds == 0:
        return finish(tensors(form), config, x, seed, factor_bytes)
    optimized = optimize(kept, form, widths, seed, rounds=rounds, alpha=alpha, progress=progress)
    both = [
        (tensors(form), config),
        (
            with_stage(optimized.tensors(), optimized.codes(kept, widths), kept),
            config | {OPTIMIZE: {"sweeps": SWEEPS, "tries": tries}},
        ),
    ]
    scores = [float(heldout_hits(one, queries, kept[:_COMPARED]).mean()) for one in both]
    named, config = both[int(scores[1] >= scores[0])]
    return finish(named, config | {"heldout": {"closed_form": scores[0], "refined": scores[1]}}, x, seed, factor_bytes)


def optimized_candidate(
    x: Floats, known: Spectrum, widths: tuple[int, ...], metric: str, seed: int, *, rounds: int
) -> Candidate:
    """A code after few rounds of alternating least squares, to be compared with others of its kind. known: the
    spectrum of x."""
    optimized = optimize(x, fit(x, widths, seed, known=known), widths, seed, rounds=rounds, alpha=ALPHA)
    config = {"architecture": "linear", "widths": widths, "metric": metric}
    return optimized.tensors(), config | {OPTIMIZE: {"sweeps": SWEEPS, "tries": TRIES}}


def held_out(x: Floats, seed: int) -> tuple[Floats, Floats]:
    """(queries, the rest). A tenth of the rows, at most 1,000; too few rows to spare any serve as both."""
    if len(x) < 400:
        return x, x
    order = np.random.default_rng(seed).permutation(len(x))
    held = min(len(x) // 10, _HELD_OUT)
    return x[np.sort(order[:held])], x[np.sort(order[held:])]


def heldout_hits(candidate: Candidate, queries: Floats, base: Floats) -> Floats:
    """Recall@10 of each query float32[q], mean of ADC and SDC, by the decoded codes. Factors are taken as exact."""
    named, config = candidate
    binarizer = Binarizer(named, {**config, "input_dim": base.shape[1], "factor": "none"})
    metric, k = config["metric"], min(_K, len(base))
    documents, coded = (binarizer.decode(binarizer.encode(v)) for v in (base, queries))
    if metric == "ip":
        documents = normalized(documents) * np.linalg.norm(base, axis=1, keepdims=True)
    truth = exact(base, queries, k, metric)
    shares = [hits(exact(documents, q, k, metric), truth) for q in (queries, coded)]
    return np.asarray((shares[0] + shares[1]) / 2, np.float32)


def tensors(form: ClosedForm) -> dict[str, Floats]:
    """The closed form as tensors of :meth:`Binarizer.from_tensors`."""
    return _float32(
        {
            "encoder.0.weight": form.encoder,
            "encoder.0.bias": form.bias,
            "decoder.weight": form.decoder,
            "decoder.bias": form.mean,
            "stage.weight": form.stage_decoder,
            "stage.bias": form.stage_mean,
        }
    )


def with_stage(named: dict[str, Floats], v: Floats, x: Floats) -> dict[str, Floats]:
    """``named`` with the least-squares decoder of the sign plane alone, from code values ``v`` of ``x``."""
    weight, bias = ridge(signs(v), x)
    return named | _float32({"stage.weight": weight, "stage.bias": bias})


def _float32(named: dict[str, Any]) -> dict[str, Floats]:
    return {name: np.ascontiguousarray(value, np.float32) for name, value in named.items()}


def finish(
    named: dict[str, Floats], config: dict[str, Any], x: Floats, seed: int, factor_bytes: int | None = None
) -> Binarizer:
    """Fix what only measurement can tell: what factors of ``factor_bytes`` stand for, the rows of the first stage and
    ``margin``."""
    config = {**config, "input_dim": x.shape[1]}
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(x))[: _BASE + _QUERIES]
    queries, base = x[drawn[:_QUERIES]], x[drawn[_QUERIES:]]
    if len(base) < 10 * _K:
        queries, base = x, x
    if len(config["widths"]) == 1:
        named = {k: v for k, v in named.items() if not k.startswith("stage.")}
    config = fit_factors(named, config, base[:8192], factor_bytes)
    rows, margin = measure_search(Binarizer(named, config), base, queries)
    return Binarizer(named, config | {FIRST_STAGE_ROWS: {"rows": rows, "of": len(base)}, "margin": margin})


def measure_search(binarizer: Binarizer, base: Floats, queries: Floats) -> tuple[int, float]:
    """How few rows a search may complete after the sign plane, losing at most _LOSS of the top 10 that completing all
    rows gives: as a number of rows (FlatIndex), and as a margin in deviations (IVFIndex)."""
    codes, numbers = binarizer.encode(base), np.arange(len(base))
    flat, lists = FlatIndex(binarizer), IVFIndex(binarizer, nlist=1)
    flat.add_codes(codes, numbers)
    lists.add_codes(codes, numbers)
    prepared = binarizer.prepare(queries)
    k = min(_K, len(base))
    everything = flat.search_prepared(prepared, k, oversampling=-(-len(base) // k)).ids

    def enough(found: Ids) -> bool:
        return recall(found, everything) >= 1 - _LOSS

    rows = _least(-(-len(base) // k), lambda times: enough(flat.search_prepared(prepared, k, oversampling=times).ids))
    # As one query at a time: in a batch they may be scored over all planes, and no margin matters.
    tenths = _least(
        _WIDEST, lambda n: enough(lists.search_prepared(prepared, k, margin=n / 10, batch_invariant=True).ids)
    )
    return rows * k, tenths / 10


def _least(most: int, enough: Callable[[int], bool]) -> int:
    """The smallest number from 1 to ``most`` that is enough, ``most`` where none is; more than enough is enough."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
