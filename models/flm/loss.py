"""FLM's loss (arXiv 2303.14038, section 3) and that of masked language modelling, which it is compared with.

Each is the mean cross-entropy over the tokens that it predicts. Begin marks and padding are never targets.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bebr.models.flm.masks import spans
from bebr.models.flm.network import Marks, Network

__all__ = ["covered", "free", "masked"]


def free(
    network: Network,
    tokens: Tensor,
    picture: Tensor,
    marks: Marks,
    corruption: float,
    generator: torch.Generator,
    weights: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """(L_R + w1 L_f + w2 L_r) / (1 + w1 + w2), a scalar.

    L_R: query i foretells token i, for all i from 1 to the end mark. L_f: forward state i foretells token i + 1. L_r:
    reverse state i foretells token i - 1. Row 0 of the streams sees the whole text and foretells nothing. One head for
    all. ``corruption`` is r of ``masks.spans``, 0 for none.
    """
    real = tokens != marks.padding
    hidden = spans(real, corruption, generator) if corruption else None
    seen = network.look(network.read(tokens, marks, hidden), picture)
    t = tokens.shape[1]
    forward, backward = seen.states[:, :t], seen.states[:, t:]
    parts = [
        (seen.queries[:, 1:], tokens[:, 1:], real[:, 1:]),
        (forward[:, 1:-1], tokens[:, 2:], real[:, 2:]),
        (backward[:, 1:], tokens[:, :-1], real[:, 1:]),
    ]
    logits = network.lm_score(torch.cat([states[chosen] for states, _, chosen in parts]))
    targets = [wanted[chosen] for _, wanted, chosen in parts]
    found = logits.split([len(one) for one in targets])
    losses = [cross_entropy(one, wanted) for one, wanted in zip(found, targets, strict=True)]
    shares = (1.0, *weights)
    return torch.stack([w * one for w, one in zip(shares, losses, strict=True)]).sum() / sum(shares)


def masked(
    network: Network, tokens: Tensor, picture: Tensor, marks: Marks, rate: float, generator: torch.Generator
) -> Tensor:
    """Cross-entropy of the tokens that ``covered`` chose, foretold where every token sees every other, a scalar."""
    given, chosen = covered(tokens, marks, rate, generator, network.config.vocab_size)
    states = network.bidirectional(given, picture)
    return cross_entropy(network.lm_score(states[chosen]), tokens[chosen])


def covered(tokens: Tensor, marks: Marks, rate: float, generator: torch.Generator, words: int) -> tuple[Tensor, Tensor]:
    """BERT's masking (Devlin et al. 2019, section 3.1): the tokens to be read, and bool [n, t] which are foretold.

    Each token but the marks is chosen by chance ``rate``, at least one a text (ours: short captions would often have
    none). Of those chosen 8 in 10 become the mark for hidden tokens, one in ten any token, one stays.
    """
    shape = tokens.shape
    inner = ((tokens != marks.padding) & (tokens != marks.end)).cpu()
    inner[:, 0] = False
    drawn = torch.rand(shape, generator=generator).masked_fill(~inner, 2.0)
    least = drawn == drawn.amin(1, keepdim=True)
    chosen = inner & ((drawn < rate) | least)
    fate, any_ = torch.rand(shape, generator=generator), torch.randint(0, words, shape, generator=generator)
    chosen, fate, any_ = (part.to(tokens.device) for part in (chosen, fate, any_))
    given = torch.where(chosen & (fate < 0.8), marks.mask, tokens)
    given = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), any_, given)
    return given, chosen
