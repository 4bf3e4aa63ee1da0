"""The pairs recipe (docs/method.md, "Pairs"; the loss is the paper's, arXiv 2302.08714). Needs torch.

Two stages. A small float network in front of everything moves queries to their documents, by gradients and without
signs. Then the unsupervised recipe fits a code to the moved documents, without gradients.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from bebr.arrays import Floats, Ids, as_ids, as_vectors, normalized
from bebr.binarizer import Binarizer
from bebr.binarizer.config import INPUT_ADAPTER, QUERY_ADAPTER
from bebr.training.gradient.contrastive import TrainingData, tune
from bebr.training.gradient.device import torch_device
from bebr.training.gradient.groups import joined, split
from bebr.training.gradient.heldout import HeldOut
from bebr.training.gradient.input_adapter import InputAdapter, InputAdapters, aligned
from bebr.training.gradient.loop import Checkpoint
from bebr.training.gradient.settings import PairSettings, Teacher
from bebr.training.linear.closed_form import Progress

Fit = Callable[[Floats], Binarizer]

_FEWEST, _MOST_HELD_OUT = 16, 1_000  # pairs
_MOST_POOL = 8_192  # other documents that held-out ones are searched among
_DEFAULTS = PairSettings()


def train_pairs(
    x: Floats,
    fit: Fit,
    pairs: tuple[ArrayLike, ArrayLike],
    settings: PairSettings = _DEFAULTS,
    *,
    labels: ArrayLike | None = None,
    teacher: Teacher | None = None,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Binarizer:
    """Tune an input adapter on pairs, then fit the unsupervised recipe behind it (metric cosine).

    x: float32[n, d], unit rows; the code is fitted to them, so they should be like the documents that will be stored.
        The pairs' own documents will do.
    fit: the unsupervised recipe: float32[n, d] -> binarizer.
    pairs: (queries, documents), float32[p, d_q] and float32[p, d]; row i of one belongs to row i of the other.
    labels: int64[p]; pairs of one label are no negatives of one another. Nor are pairs that share a row.
    teacher: scores of other documents for the queries, to learn from besides.
    checkpoint: a file that is written after every epoch of the adapter; a run of the same data and settings that finds
        it goes on from there, to the same bits. It stays when training is done.

    A tenth of the pairs is held out (at most 1,000; a fifth of under 1,000; pairs that share a row stay together). It
    says which epoch's adapter is the best, and whether the tuned binarizer is better than one without an adapter. The
    better one is returned, with a ``UserWarning`` when that is the untuned one; ``config["heldout"]`` has the figures,
    mean of R@1 and R@10 among the documents of ``pairs`` and, without labels, ``x`` (8,192 beside those held out). The
    same seed, device and number of torch threads give the same bits. Raises ``ValueError``, which names the argument.
    """
    where = torch_device(settings.device)
    queries, documents = _checked(pairs, x.shape[1], settings.two_encoders)
    shared = joined(queries, documents)
    groups = shared if labels is None else joined(shared, as_ids(labels, "labels", len(shared)))
    judged = (teacher or Teacher()).checked(documents)
    held, kept = split(shared, _share(len(shared)), seed)
    if min(len(held), len(kept)) < _FEWEST:
        raise ValueError(
            f"pairs has {len(shared)} rows in {len(np.unique(shared))} groups that share rows; {len(held)} can be held "
            f"out and {len(kept)} trained on: want at least {_FEWEST} each"
        )
    settings = settings.resolved(len(kept))

    def tensor(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
        return torch.from_numpy(array).to(where)

    heldout, dim = _heldout(queries, documents, groups, held, None if labels is not None else x, seed), x.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapters = InputAdapters(InputAdapter(dim, dim, settings.hidden)).to(where)
        if settings.two_encoders:
            score = heldout.adapter_recall
            adapters = _two(adapters, queries[kept], documents[kept], settings.hidden, score).to(where)
    training_data = TrainingData(tensor(queries[kept]), tensor(documents[kept]), tensor(groups[kept]), tensor(x))
    if judged is not None:
        rows, scores, pool = judged
        training_data = replace(
            training_data, candidates=tensor(rows[kept]), scores=tensor(scores[kept]), pool=tensor(pool)
        )
    report = progress or (lambda stage, done, total: None)
    generator = torch.Generator().manual_seed(seed)
    inputs = (x, queries, documents, groups, *(judged or ()), settings, seed)
    kept_in = None if checkpoint is None else Checkpoint(checkpoint, *inputs)
    first, best = tune(adapters, training_data, heldout.adapter_recall, settings, generator, report, kept_in)
    moved = adapters.documents.evaluated(tensor(x)).cpu().numpy()
    return _better(x, moved, adapters.cpu(), fit, heldout.code_recall, {"start": first, "end": best})


def _share(pairs: int) -> int:
    """How many pairs to hold out: a tenth; a larger share of few, because 20 pairs decide nothing."""
    return min(max(_FEWEST, pairs // 10, min(pairs // 5, 200)), _MOST_HELD_OUT)


def _heldout(queries: Floats, documents: Floats, groups: Ids, held: Ids, x: Floats | None, seed: int) -> HeldOut:
    """Held-out pairs, to be searched among the other pairs' documents and the remaining rows of ``x``: among a few
    documents every model finds the right one."""
    others = np.setdiff1d(np.arange(len(documents)), held)
    pool, pool_groups = documents[others], groups[others]
    if x is not None:
        known = {row.tobytes() for row in documents}
        more = x[[row.tobytes() not in known for row in x]]
        pool, pool_groups = np.concatenate([pool, more]), np.append(pool_groups, np.full(len(more), -1))
    drawn = np.random.default_rng(seed).permutation(len(pool))[:_MOST_POOL]
    return HeldOut(
        *(queries[held], groups[held], np.concatenate([documents[held], pool[drawn]])),
        np.concatenate([groups[held], pool_groups[drawn]]),
    )


def _two(
    shared: InputAdapters, queries: Floats, documents: Floats, hidden: int, score: Callable[[InputAdapters], float]
) -> InputAdapters:
    """An adapter for queries beside the documents'. It starts as the map that least squares finds, unless queries meet
    their documents better as they are."""
    inputs, dim = queries.shape[1], documents.shape[1]
    mapped = InputAdapters(shared.documents, InputAdapter(inputs, dim, hidden, aligned(queries, documents)))
    if inputs != dim or score(mapped) > score(shared):
        return mapped
    return InputAdapters(shared.documents, InputAdapter(inputs, dim, hidden))


def _better(
    x: Floats,
    moved: Floats,
    adapters: InputAdapters,
    fit: Fit,
    score: Callable[[Binarizer], float],
    floats: dict[str, float],
) -> Binarizer:
    """The tuned binarizer or the one without an adapter, whichever finds more held-out documents."""
    comparable = adapters.queries is None or adapters.queries.inputs == adapters.documents.inputs
    untuned = fit(x) if comparable else None
    before = None if untuned is None else score(untuned)
    tuned = with_adapters(fit(moved), adapters)
    after = score(tuned)
    heldout = {"floats": floats, "untuned": before, "tuned": after}
    if untuned is None or before is None or after > before:
        return _recorded(tuned, heldout)
    warnings.warn(
        f"held-out recall {after:.3f} after tuning on pairs, {before:.3f} without: the binarizer is left untuned",
        UserWarning,
        stacklevel=4,
    )
    return _recorded(untuned, heldout)


def with_adapters(inner: Binarizer, adapters: InputAdapters) -> Binarizer:
    """``inner``, which codes vectors behind the adapters, with the adapters (on the CPU) before it."""
    tensors, config = inner.tensors, inner.config
    tensors |= adapters.documents.tensors(INPUT_ADAPTER)
    config |= {INPUT_ADAPTER: {"skip": adapters.documents.skip}, "input_dim": adapters.documents.inputs}
    if adapters.queries is not None:
        tensors |= adapters.queries.tensors(QUERY_ADAPTER)
        config |= {QUERY_ADAPTER: {"skip": adapters.queries.skip}, "query_dim": adapters.queries.inputs}
    return Binarizer.from_tensors(tensors, config)


def _recorded(binarizer: Binarizer, heldout: Mapping[str, object]) -> Binarizer:
    config = binarizer.config
    return Binarizer.from_tensors(binarizer.tensors, config | {"heldout": config.get("heldout", {}) | dict(heldout)})


def _checked(pairs: tuple[ArrayLike, ArrayLike], dim: int, two_encoders: bool) -> tuple[Floats, Floats]:
    if len(pairs) != 2:
        raise ValueError(f"pairs has {len(pairs)} entries: want (queries, documents)")
    queries = as_vectors(pairs[0], "pairs[0]", None if two_encoders else dim)
    documents = as_vectors(pairs[1], "pairs[1]", dim)
    if len(queries) != len(documents):
        raise ValueError(f"pairs has {len(queries)} queries and {len(documents)} documents: want one each")
    return normalized(queries), normalized(documents)
