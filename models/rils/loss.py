"""RILS's two losses (arXiv 2301.06958, section 3): contrast, and reconstruction among sentences.

L = L_con + 0.5 L_rec. Of one process: nothing is gathered from others.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, normalize, softmax

__all__ = ["RECONSTRUCTION", "STUDENT", "TEACHER", "contrast", "reconstruction"]

STUDENT, TEACHER = 0.1, 0.04
RECONSTRUCTION = 0.5


def contrast(pictures: Tensor, texts: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """CLIP's loss of n pairs [n, d], a scalar, and for each picture whether its own text is the nearest, bool [n].

    Half the cross-entropy of finding the text among all, half that of finding the picture, over ``scale`` times cosine.
    """
    logits = scale * normalize(pictures, dim=1) @ normalize(texts, dim=1).T
    own = torch.arange(len(logits), device=logits.device)
    loss = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
    return loss, logits.argmax(1) == own


def reconstruction(predicted: Tensor, real: Tensor, prototypes: Tensor, hidden: Tensor, found: Tensor) -> Tensor:
    """Mean KL(p || q) over the hidden patches of the pictures that were found, a scalar; 0 where none was.

    predicted   g W, [n, patches, d]: patches as the decoder foretells them, in the common space
    real        f W, the same shape: as the encoder sees them in the whole picture
    prototypes  [m, d]: the batch's text vectors. p and q are softmaxes over the cosines to them, with temperatures
                .04 (real, without gradient) and .1 (predicted)
    hidden      bool [n, patches]: what the decoder had not seen
    found       bool [n]: whether a picture's own text is the nearest; others could only teach mistakes

    The prototypes get no gradient from here, whatever the number of processes: texts are trained by the contrast alone.
    (In the published code they get one in a single process and none in several.)
    """
    chosen = hidden & found[:, None]
    if not bool(chosen.any()):
        return predicted.sum() * 0
    sentences = normalize(prototypes.detach(), dim=1)
    teacher = softmax(normalize(real.detach()[chosen], dim=1) @ sentences.T / TEACHER, 1)
    student = log_softmax(normalize(predicted[chosen], dim=1) @ sentences.T / STUDENT, 1)
    return kl_div(student, teacher, reduction="batchmean")
