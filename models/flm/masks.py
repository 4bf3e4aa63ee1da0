"""Who sees what in FLM (arXiv 2303.14038, section 3): the two streams' masks and the reconstructor's.

The streams stand one behind the other in one sequence of 2 t: forward states at 0 ... t-1, reverse ones at t ... 2t-1.
Row 0 of each sees its whole text and is seen by row 0 alone; so nothing leaks through it. Masks are bool, True where a
row (the last axis but one) may look.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["reconstructor", "spans", "streams"]


def streams(real: Tensor) -> Tensor:
    """Of texts whose tokens are ``real`` (bool [n, t], padding at the end): [n, 2t, 2t].

    Row i sees columns 1 ... i in the forward stream, i and those behind it in the reverse one; neither sees the other.
    """
    row, column = _places(real)
    whole = (row == 0) & real[:, None, :]
    inner = (row >= 1) & (column >= 1) & real[:, None, :]
    forward, backward = whole | (inner & (column <= row)), whole | (inner & (column >= row))
    none = torch.zeros_like(forward)
    return torch.cat([torch.cat([forward, none], 2), torch.cat([none, backward], 2)], 1)


def reconstructor(real: Tensor, hidden: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Which of the 2t states the query at each place sees: [n, t, 2t].

    Query i sees forward states 1 ... i-1 and reverse states i+1 ...: every token but its own. ``hidden``, of ``spans``,
    takes away more beside it. Query 0 sees all states.
    """
    row, column = _places(real)
    before, behind = (torch.zeros_like(real, dtype=torch.int64),) * 2 if hidden is None else hidden
    whole = (row == 0) & real[:, None, :]
    inner = (row >= 1) & (column >= 1) & real[:, None, :]
    forward = whole | (inner & (column < row - before[:, :, None]))
    backward = whole | (inner & (column > row + behind[:, :, None]))
    return torch.cat([forward, backward], 2)


def spans(real: Tensor, corruption: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """How many neighbours before and behind each place are hidden from its query too: two int64 [n, t].

    With m tokens to see or predict, ``corruption`` r hides m r of them on average, the place's own among them: the
    others are drawn from Binomial(m - 1, (m r - 1) / (m - 1)), none where m r <= 1. Half of them lie on each side, an
    odd one on either by chance; what would reach past an end of the text is not made up for on the other side.
    Raises ValueError for a rate outside 0 to 1.
    """
    if not 0 <= corruption <= 1:
        raise ValueError(f"corruption: got {corruption}, wanted 0 to 1")
    count = (real.sum(1, keepdim=True) - 1).clamp(min=1).cpu().double().expand(real.shape)  # m: all but place 0
    share = ((count * corruption - 1) / (count - 1).clamp(min=1)).clamp(0, 1)
    extra = torch.binomial(count - 1, share, generator=generator).long()
    odd = torch.rand(extra.shape, generator=generator) < 0.5
    before = extra // 2 + (extra % 2) * odd.long()
    return before.to(real.device), (extra - before).to(real.device)


def _places(real: Tensor) -> tuple[Tensor, Tensor]:
    places = torch.arange(real.shape[1], device=real.device)
    return places[None, :, None], places[None, None, :]
