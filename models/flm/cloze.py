"""Leave-one-out cloze: each token of a caption is foretold from all others and the picture. Fair to whatever reads both
ways; marks are not asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from bebr.models.flm.network import Marks, Network

__all__ = ["cloze"]


def cloze(network: Network, tokens: Tensor, picture: Tensor, marks: Marks, objective: str) -> tuple[Tensor, Tensor]:
    """The tokens foretold, int64 [n, t], and which places count, bool [n, t].

    ``"flm"``: all at once, query i for place i. ``"mlm"``: one place at a time under the mark for a hidden token, so
    one pass of the network for each. Places of the begin and end marks and of padding do not count.
    """
    asked = (tokens != marks.padding) & (tokens != marks.end)
    asked[:, 0] = False
    with torch.inference_mode():
        if objective == "flm":
            seen = network.look(network.read(tokens, marks), picture)
            return network.lm_score(seen.queries).argmax(2), asked
        out = tokens.clone()
        for place in range(1, tokens.shape[1] - 1):
            some = asked[:, place]
            if bool(some.any()):
                given = tokens[some].clone()
                given[:, place] = marks.mask
                states = network.bidirectional(given, picture[some])
                out[some, place] = network.lm_score(states[:, place]).argmax(1)
    return out, asked
