"""A clip changed so little that it looks the same, and so that a fixed random classifier takes it for another.

The classifier is a linear map of both vectors to 128 classes that nothing trains, as in the published code; a clip's
class is the one it is given before. Only this untargeted half was published.

Step by step: Adam on .6 (-cross-entropy) + .4 perceptual, where the perceptual loss is how far accelerations and, times
.7, bone lengths are from the clip's own. At the clip itself that loss has no gradient, and Adam's first step is its
size times g / (|g| + 3e-7): with one step, as published, the attack **is** a step of ``size`` by the gradient's sign.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bebr.models.a2mc.skeleton import Skeleton

__all__ = ["attacked", "perceptual", "random_step"]

_CLASS, _PERCEPTUAL, _BONE = 0.6, 0.4, 0.7
_EPS = 3e-7


def perceptual(changed: Tensor, clips: Tensor, skeleton: Skeleton) -> Tensor:
    """The mean squared difference of accelerations plus .7 times that of bone lengths, a scalar; both clips are [n,
    persons, frames, joints, 3]. (How the published loss is averaged is not known to us.)"""

    def acceleration(x: Tensor) -> Tensor:
        return x[:, :, 2:] - 2 * x[:, :, 1:-1] + x[:, :, :-2]

    joints, parents = (list(one) for one in zip(*skeleton.bones, strict=True))

    def bones(x: Tensor) -> Tensor:
        # a body that is not there has bones of no length, where a root has no gradient
        return ((x[..., joints, :] - x[..., parents, :]).square().sum(-1) + 1e-12).sqrt()

    moved = (acceleration(changed) - acceleration(clips)).square().mean()
    return moved + _BONE * (bones(changed) - bones(clips)).square().mean()


def attacked(
    clips: Tensor, classify: Callable[[Tensor], Tensor], skeleton: Skeleton, size: float = 1e-4, steps: int = 1
) -> Tensor:
    """``clips`` [n, persons, frames, joints, 3] after ``steps`` of the attack; ``classify`` gives logits [n, classes].

    No gradient reaches the classifier or what made the clips.
    """
    clips = clips.detach()
    with torch.no_grad():
        own = classify(clips).argmax(1)
    changed, mean, square = clips.clone(), torch.zeros_like(clips), torch.zeros_like(clips)
    for step in range(1, steps + 1):
        with torch.enable_grad():
            changed.requires_grad_()
            loss = _PERCEPTUAL * perceptual(changed, clips, skeleton) - _CLASS * cross_entropy(classify(changed), own)
            (gradient,) = torch.autograd.grad(loss, changed)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        move = mean / (1 - 0.9**step) / ((square / (1 - 0.999**step)).sqrt() + _EPS)
        changed = changed.detach() - size * move
    return changed


def random_step(clips: Tensor, size: float, generator: torch.Generator) -> Tensor:
    """The control: ``size`` up or down at random, every number for itself."""
    signs = torch.randint(0, 2, clips.shape, generator=generator).to(clips) * 2 - 1
    return clips + size * signs
