"""Training the paper's recurrent binarizer (arXiv 2302.08714), started from the closed form or at random.
Needs torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from bebr.arrays import Floats, as_vectors, normalized
from bebr.binarizer import Binarizer
from bebr.training.gradient.device import torch_device
from bebr.training.gradient.groups import joined, split
from bebr.training.gradient.heldout import neighbour_recall, pair_recall
from bebr.training.gradient.loop import Checkpoint
from bebr.training.gradient.model import RecurrentNetwork
from bebr.training.gradient.start import ClosedFormCode, start_from_closed_form
from bebr.training.gradient.trainer import Decoded, Pairs, Schedule, train_network, with_decoder
from bebr.training.linear.closed_form import Progress, fit, ridge
from bebr.training.linear.fitting import finish
from bebr.training.linear.grid import signs

Start = Literal["closed_form", "random"]

_FEWEST, _MOST_HELD_OUT = 16, 4_000  # rows held out
_FITTED = 16_384  # rows for the decoder while training; the last fit takes all
# Measured on MiniLM embeddings and a synthetic mixture; hidden layers carry the closed form and are easier to upset.
_RATES = {("closed_form", False): 0.02, ("closed_form", True): 0.005, ("random", False): 0.1, ("random", True): 0.1}
_UNIT = 1e-3  # how far from length 1 a "unit" vector may be


def train_recurrent(
    x: Floats,
    *,
    widths: Sequence[int],
    metric: str = "cosine",
    pairs: tuple[ArrayLike, ArrayLike] | None = None,
    hidden: int = 0,
    blocks: int = 1,
    init: Start = "closed_form",
    epochs: int = 10,
    batch: int = 1000,
    learning_rate: float | None = None,
    weight_decay: float = 1e-2,
    seed: int = 0,
    progress: Progress | None = None,
    factor_bytes: int | None = None,
    checkpoint: str | Path | None = None,
    device: str = "cpu",
) -> Binarizer:
    """Train on embeddings alone, or on pairs, and export with BatchNorm folded in.

    x: float32[n, d] of unit length, because planes after the first code what a reconstruction of unit length leaves
        over; for ``metric="cosine"`` any length, it is scaled.
    pairs: (queries, documents), float32[p, d] each; row i of one belongs to row i of the other. Equal rows of a side
        form a group whose other members are no negatives. Without pairs the float neighbourhoods are the target.
    hidden, blocks: units of a hidden layer (0: linear maps) and hidden layers of each of the 2u + 1 networks. The
        paper: 2048 and 1.
    init: ``"closed_form"`` or ``"random"`` (Xavier).
    epochs, batch: passes over the data, rows a step.
    factor_bytes: as in :func:`bebr.train`, but None is 2, or 4 where fp16 does not hold the factors.
    checkpoint: a file that is written after every epoch; a run of the same data and settings that finds it goes on from
        there, to the same bits. It stays when training is done.
    learning_rate: relative to the size of each layer's weights; None: .02 from the closed form (.005 with
        hidden layers), .1 at random.
    device: where torch trains the network, ``"cpu"`` or ``"cuda"``; it starts, and is judged, on the CPU.

    A tenth of the data (at most 4,000 rows or pairs) is held out. What is returned is the best state by recall on it,
    the start included: it never ends below where it began. ``config["heldout"]`` has that recall at the start, at the
    end and of the plain closed form; a ``UserWarning`` says when the closed form is the better one. The same seed,
    device and number of torch threads give the same bits. Raises ``ValueError``, which names the argument.
    """
    report = progress or (lambda stage, done, total: None)
    where = torch_device(device)
    _check(hidden, blocks, init, epochs, batch)
    vectors = _unit(as_vectors(x, "x"), "x", metric)
    sides = None if pairs is None else _checked_pairs(pairs, vectors.shape[1], metric)
    groups = np.arange(len(vectors)) if sides is None else joined(*sides)
    if len(groups) < 2 * _FEWEST:
        raise ValueError(f"{'x' if sides is None else 'pairs'} has {len(groups)} rows: want at least {2 * _FEWEST}")
    held, kept = split(groups, min(max(_FEWEST, len(groups) // 10), _MOST_HELD_OUT), seed)
    if min(len(held), len(kept)) < _FEWEST:
        raise ValueError(
            f"pairs share too many rows: {len(held)} can be held out and {len(kept)} trained on, "
            f"want at least {_FEWEST} each"
        )
    if sides is None:
        training = vectors[kept]
        score, training_pairs = neighbour_recall(vectors[held], training), None
    else:
        training = vectors
        score = pair_recall(sides[0][held], sides[1][held])
        queries, documents = (torch.from_numpy(side[kept]).to(where) for side in sides)
        training_pairs = Pairs(queries, documents, torch.from_numpy(groups[kept]).to(where))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RecurrentNetwork(vectors.shape[1], widths, hidden, blocks)
    form = fit(training, tuple(widths), seed, progress)
    plain = score(with_decoder(ClosedFormCode(form, widths), torch.from_numpy(training[:_FITTED])))
    if init == "closed_form":
        start_from_closed_form(network, form, training)
    rate = learning_rate if learning_rate is not None else _RATES[init, hidden > 0]
    model = with_decoder(network, torch.from_numpy(training[:_FITTED])).to(where)
    schedule = Schedule(epochs, batch, rate, weight_decay)
    generator = torch.Generator().manual_seed(seed)
    inputs = (vectors, *(sides or ()), tuple(widths), metric, hidden, blocks, init, schedule, seed)
    kept_in = None if checkpoint is None else Checkpoint(checkpoint, *inputs)
    rows = torch.from_numpy(training).to(where)
    first, best = train_network(model, rows, training_pairs, score, schedule, generator, report, kept_in)
    if best < plain:
        warnings.warn(
            f"held-out recall {best:.3f}, the closed form's {plain:.3f}: architecture='linear' does better here",
            UserWarning,
            stacklevel=3,
        )
    heldout = {"closed_form": plain, "start": first, "end": best}
    config = {"architecture": "recurrent", "widths": list(widths), "metric": metric, "seed": seed}
    return _export(model.cpu(), vectors, config | {"heldout": heldout}, pairs is None, factor_bytes)


def _export(model: Decoded, x: Floats, config: dict[str, Any], refit: bool, factor_bytes: int | None) -> Binarizer:
    """The binarizer of a trained network, its decoders fitted to the engine's own codes.

    refit: without pairs the decoder becomes the least-squares one. A decoder trained on pairs stays: it places
    queries and documents where they meet, not where they came from.
    """
    tensors = model.network.tensors()
    plain = Binarizer.from_tensors(tensors, config | {"input_dim": x.shape[1], "factor": "none"})
    v = plain.code_values(plain.encode(x))
    fits = {"stage": ridge(signs(v), x)}
    if refit:
        fits["decoder"] = ridge(v, x)
    else:
        tensors["decoder.weight"] = model.decoder.detach().numpy().copy()
        tensors["decoder.bias"] = model.mean.detach().numpy().copy()
        fits["stage"] = ridge(signs(v), v @ tensors["decoder.weight"] + tensors["decoder.bias"])
    for name, (weight, bias) in fits.items():
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight.astype(np.float32), bias.astype(np.float32)
    return finish(tensors, config, x, config["seed"], factor_bytes)


def _check(hidden: int, blocks: int, init: str, epochs: int, batch: int) -> None:
    if init not in ("closed_form", "random"):
        raise ValueError(f"init is {init!r}: want 'closed_form' or 'random'")
    for name, value, least in (
        ("hidden", hidden, 0),
        ("blocks", blocks, 1 if hidden else 0),
        ("epochs", epochs, 0),
        ("batch", batch, 8),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}: want at least {least}")


def _unit(x: Floats, name: str, metric: str) -> Floats:
    """``x`` at unit length, as the network expects it."""
    if metric == "cosine":
        return normalized(x)
    lengths = np.linalg.norm(x, axis=1)
    worst = int(np.argmax(np.abs(lengths - 1)))
    if abs(lengths[worst] - 1) > _UNIT:
        raise ValueError(
            f"{name}[{worst}] has length {lengths[worst]:.4g}: architecture='recurrent' with "
            f"metric={metric!r} wants unit vectors (or use metric='cosine', or architecture='linear')"
        )
    return x


def _checked_pairs(pairs: tuple[ArrayLike, ArrayLike], dim: int, metric: str) -> tuple[Floats, Floats]:
    if len(pairs) != 2:
        raise ValueError(f"pairs has {len(pairs)} entries: want (queries, documents)")
    queries, documents = (
        _unit(as_vectors(side, f"pairs[{i}]", dim), f"pairs[{i}]", metric) for i, side in enumerate(pairs)
    )
    if len(queries) != len(documents):
        raise ValueError(f"pairs has {len(queries)} queries and {len(documents)} documents: want one each")
    return queries, documents
