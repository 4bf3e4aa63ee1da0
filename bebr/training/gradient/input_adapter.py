"""The input adapter that pairs tune: x -> 16 x + network(x), before an ordinary code, in torch; and its export."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bebr.arrays import Floats
from bebr.training.gradient.model import folded
from bebr.training.linear.closed_form import ridge

# Weight of what the embeddings know already against the network's output, so that noisy gradients turn a vector a
# little and not a lot: a network without it ends below on held-out pairs
# (docs/experiments/pairs.md).
SKIP = 16.0

Linear = tuple[Floats, Floats]  # weight [out, in], bias [out]


class InputAdapter(nn.Module):  # type: ignore[misc]
    """float32[n, inputs] -> unit vectors float32[n, outputs]. Before training: the identity, or ``linear``."""

    def __init__(self, inputs: int, outputs: int, hidden: int, linear: Linear | None = None) -> None:
        super().__init__()
        self.inputs = inputs
        self.linear = None
        if linear is not None:
            self.linear = nn.Linear(inputs, outputs)
            self.linear.load_state_dict(dict(zip(("weight", "bias"), map(torch.from_numpy, linear), strict=True)))
        last = nn.Linear(hidden, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.linear is None else self.linear(x)
        return functional.normalize(SKIP * kept + self.network(x), dim=1)

    def evaluated(self, x: Tensor) -> Tensor:
        """The same in evaluation mode, in pieces, without gradients."""
        was = self.training
        self.eval()
        with torch.no_grad():
            parts = [self(piece) for piece in x.split(4096)]
        self.train(was)
        return torch.cat(parts)

    @property
    def skip(self) -> float:
        """The factor of x in the export."""
        return SKIP if self.linear is None else 0.0

    def tensors(self, name: str) -> dict[str, Floats]:
        """Weights under the names of :meth:`bebr.Binarizer.from_tensors`, BatchNorm folded in (on the CPU)."""
        (inner, shift), (outer, last) = folded(self.network)
        if self.linear is not None:
            # Through the hidden layer, because a file knows no other way: relu(a) - relu(-a) = a.
            weight, bias = (part.detach().numpy() for part in (self.linear.weight, self.linear.bias))
            carried = SKIP * np.eye(len(weight), dtype=np.float32)
            inner, shift = np.vstack([inner, weight, -weight]), np.concatenate([shift, bias, -bias])
            outer = np.hstack([outer, carried, -carried])
        return {f"{name}.0.weight": inner, f"{name}.0.bias": shift, f"{name}.1.weight": outer, f"{name}.1.bias": last}


class InputAdapters(nn.Module):  # type: ignore[misc]
    """One adapter for both sides, or one for each, into one space."""

    def __init__(self, documents: InputAdapter, queries: InputAdapter | None = None) -> None:
        super().__init__()
        self.documents, self.queries = documents, queries

    def forward(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides in the common space. A shared adapter sees them in one pass: BatchNorm must meet one distribution,
        as in use."""
        if self.queries is not None:
            return self.queries(queries), self.documents(documents)
        both = self.documents(torch.cat([queries, documents]))
        return both[: len(queries)], both[len(queries) :]

    def evaluated(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, Tensor]:
        """The same in evaluation mode, without gradients."""
        return (self.queries or self.documents).evaluated(queries), self.documents.evaluated(documents)


def aligned(queries: Floats, documents: Floats) -> Linear:
    """The least-squares map from queries float32[p, d_q] to their documents float32[p, d], at unit length on
    average."""
    weight, bias = ridge(queries, documents)
    length = float(np.linalg.norm(queries @ weight + bias, axis=1).mean())
    scale = 1 / max(length, 1e-12)
    return np.ascontiguousarray((weight * scale).T, np.float32), np.asarray(bias * scale, np.float32)
