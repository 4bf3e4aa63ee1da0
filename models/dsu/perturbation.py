"""Feature statistics drawn anew in training (arXiv 2202.03958, section 3), what that is compared with, and how either
gets into a network.

Of x [n, channels, ...]: mu and sigma [n, channels] are each map's mean and deviation; S_mu and S_sigma [channels] are
the deviations of mu and sigma over the batch. Then beta = mu + e1 S_mu, gamma = sigma + e2 S_sigma, e of N(0, 1) for
each picture and channel, and x becomes gamma (x - mu) / sigma + beta. All variances are unbiased, with 1e-6 added
under the root. The gradient flows through the statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

__all__ = [
    "PERTURBATIONS",
    "FixedNoise",
    "MixStyle",
    "Perturbation",
    "Uncertainty",
    "plugged",
    "restyled",
    "statistics",
    "token_places",
]

_EPS = 1e-6
CHANCE = 0.5


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each map of x [n, channels, ...]: both [n, channels]. One number has a variance of 0."""
    flat = x.flatten(2)
    variance = flat.var(2) if flat.shape[2] > 1 else torch.zeros_like(flat[..., 0])
    return flat.mean(2), (variance + _EPS).sqrt()


def restyled(x: Tensor, own: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> Tensor:
    """x [n, channels, ...], whose statistics are ``own``, with those ``wanted``: mean and deviation, [n, channels]."""
    wide = (..., *(None,) * (x.ndim - 2))
    return (x - own[0][wide]) / own[1][wide] * wanted[1][wide] + wanted[0][wide]


class Perturbation(Protocol):
    """What is put behind a place of a network: x [n, channels, ...] to the same shape."""

    def __call__(self, x: Tensor) -> Tensor: ...


class _Drawn:
    """With the chance ``p``, one coin for a place and batch, ``drawn`` of x; else x. Numbers are drawn on the CPU from
    ``seed``: the same everywhere. A batch of one picture and a map of one number have no spread: they stay as they are
    (the published code makes them NaN)."""

    def __init__(self, p: float = CHANCE, seed: int = 0) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p: got {p}, wanted a chance from 0 to 1")
        self.p, self.generator = p, torch.Generator().manual_seed(seed)

    def __call__(self, x: Tensor) -> Tensor:
        kept = float(torch.rand((), generator=self.generator)) >= self.p
        if kept or len(x) == 1 or x[0, 0].numel() == 1:
            return x
        return self.drawn(x)

    def normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator).to(like)

    def drawn(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Uncertainty(_Drawn):
    """DSU: statistics drawn as far apart as the batch's own are."""

    def drawn(self, x: Tensor) -> Tensor:
        own = statistics(x)
        mean, deviation = (one + self.normal(one) * (one.var(0) + _EPS).sqrt() for one in own)
        return restyled(x, own, (mean, deviation))


class FixedNoise(_Drawn):
    """The control: statistics drawn ``share`` of the map's own deviation apart, whatever the batch is. Ours."""

    share = 0.5

    def drawn(self, x: Tensor) -> Tensor:
        own = statistics(x)
        mean, deviation = (one + self.normal(one) * self.share * own[1] for one in own)
        return restyled(x, own, (mean, deviation))


class MixStyle(_Drawn):
    """The rival (Zhou et al. 2021, arXiv 2104.02008): each picture's statistics mixed with those of another of the
    batch, its own share drawn from Beta(.1, .1), without gradient through the statistics."""

    alpha = 0.1

    def drawn(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            own = statistics(x)
        with torch.random.fork_rng(devices=[]):  # the sampler of Beta takes no generator
            torch.manual_seed(int(torch.randint(2**31, (), generator=self.generator)))
            share = torch.distributions.Beta(self.alpha, self.alpha).sample((len(x), 1)).to(x)
        other = torch.randperm(len(x), generator=self.generator).to(x.device)
        mean, deviation = (share * one + (1 - share) * one[other] for one in own)
        return restyled(x, own, (mean, deviation))


PERTURBATIONS: dict[str, Callable[[float, int], _Drawn]] = {
    "dsu": Uncertainty,
    "mixstyle": MixStyle,
    "noise": FixedNoise,
}


@contextmanager
def plugged(places: Sequence[nn.Module], perturb: Perturbation | None) -> Iterator[None]:
    """While it lasts, what the modules ``places`` give passes through ``perturb``; None: it does not.

    A module gives maps [n, channels, height, width], or tokens [n, 1 + t, channels], class token first: that one is
    left as it is (ours). Nothing is added to the network or its files.
    """

    def changed(module: nn.Module, inputs: Any, out: Tensor) -> Tensor:
        assert perturb is not None
        if out.ndim == 4:
            return perturb(out)
        return torch.cat([out[:, :1], perturb(out[:, 1:].transpose(1, 2)).transpose(1, 2)], 1)

    with ExitStack() as stack:
        for place in places if perturb is not None else ():
            stack.callback(place.register_forward_hook(changed).remove)
        yield


def token_places(patches: nn.Module, blocks: Sequence[nn.Module]) -> list[nn.Module]:
    """Six places of a vision transformer, or fewer where it is shallow: behind the ``patches`` and behind five of the
    ``blocks``, evenly spaced, the last among them. Ours: the paper's are those of a ResNet."""
    count = min(5, len(blocks))
    return [patches, *(blocks[(i + 1) * len(blocks) // count - 1] for i in range(count))]
