"""The float front that pairs tune: x -> s x + network(x), before an ordinary code, in torch; and its export."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bebr.arrays import Floats
from bebr.train.model import folded

# Large against the network's output, so that an epoch of noisy gradients moves directions a little and not a lot:
# x + network alone loses what the embeddings know already (RECALL.md has the figures with 16).
SKIP = 16.0


class Front(nn.Module):  # type: ignore[misc]
    """float32[n, inputs] -> unit vectors float32[n, outputs]. Equal dimensions: the identity until it is trained."""

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.skip = SKIP if inputs == outputs else 0.0
        last = nn.Linear(hidden, outputs)
        if self.skip:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.network = nn.Sequential(nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        moved = self.network(x)
        return functional.normalize(moved + self.skip * x if self.skip else moved, dim=1)

    def evaluated(self, x: Tensor) -> Tensor:
        """The same in evaluation mode, in pieces, without gradients."""
        was = self.training
        self.eval()
        with torch.no_grad():
            parts = [self(piece) for piece in x.split(4096)]
        self.train(was)
        return torch.cat(parts)

    def tensors(self, name: str) -> dict[str, Floats]:
        """Weights under the names of :meth:`bebr.Binarizer.from_tensors`, BatchNorm folded in."""
        named: dict[str, Floats] = {}
        for i, (weight, bias) in enumerate(folded(self.network)):
            named[f"{name}.{i}.weight"], named[f"{name}.{i}.bias"] = weight, bias
        return named


class Fronts(nn.Module):  # type: ignore[misc]
    """One front for both sides, or one for each, into one space."""

    def __init__(self, dim: int, query_dim: int, hidden: int, two: bool) -> None:
        super().__init__()
        self.documents = Front(dim, dim, hidden)
        self.queries = Front(query_dim, dim, hidden) if two else None

    def forward(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides in the common space. A shared front sees them in one pass: BatchNorm must meet one distribution,
        as in use."""
        if self.queries is not None:
            return self.queries(queries), self.documents(documents)
        both = self.documents(torch.cat([queries, documents]))
        return both[: len(queries)], both[len(queries) :]

    def evaluated(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, Tensor]:
        """The same in evaluation mode, without gradients."""
        return (self.queries or self.documents).evaluated(queries), self.documents.evaluated(documents)
