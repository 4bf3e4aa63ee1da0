"""A2MC's graph network for one clip in NumPy, float64, by the equations of models/a2mc/graph.py."""

from __future__ import annotations

import numpy as np


def norm(x, state, name):
    """x [c, ...] by the statistics that the norm keeps."""
    wide = (slice(None),) + (None,) * (x.ndim - 1)
    scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + 1e-5)
    return (x - state[f"{name}.running_mean"][wide]) * scale[wide] + state[f"{name}.bias"][wide]


def conv(x, state, name, apart=1):
    """x [c, t, v] by a kernel [out, c, frames, 1], zeros beyond the ends."""
    weight = state[f"{name}.weight"][..., 0]
    reach = weight.shape[2] // 2 * apart
    padded = np.pad(x, ((0, 0), (reach, reach), (0, 0)))
    out = sum(
        np.einsum("oc,ctv->otv", weight[:, :, i], padded[:, i * apart : i * apart + x.shape[1]])
        for i in range(weight.shape[2])
    )
    return out + state[f"{name}.bias"][:, None, None]


def refined(x, state, name):
    """A graph convolution, [c, t, v] to [out, t, v]."""
    total = 0.0
    for i in range(3):
        part = f"{name}.convs.{i}"
        first, second = conv(x, state, f"{part}.conv1").mean(1), conv(x, state, f"{part}.conv2").mean(1)
        apart = np.tanh(first[:, :, None] - second[:, None, :])  # [between, u, v]
        graph = np.einsum("ob,buv->ouv", state[f"{part}.conv4.weight"][..., 0, 0], apart)
        graph = (graph + state[f"{part}.conv4.bias"][:, None, None]) * state[f"{name}.alpha"] + state[f"{name}.PA"][i]
        total = total + np.einsum("ouv,otv->otu", graph, conv(x, state, f"{part}.conv3"))
    down = norm(conv(x, state, f"{name}.down.0"), state, f"{name}.down.1")
    return np.maximum(norm(total, state, f"{name}.bn") + down, 0)


def timed(x, state, name):
    """The four branches in time."""
    out = []
    for branch in range(4):
        part = f"{name}.branches.{branch}"
        y = norm(conv(x, state, f"{part}.0"), state, f"{part}.1")
        if branch < 2:
            y = conv(np.maximum(y, 0), state, f"{part}.3.conv", apart=branch + 1)
            y = norm(y, state, f"{part}.3.bn")
        elif branch == 2:
            padded = np.pad(np.maximum(y, 0), ((0, 0), (1, 1), (0, 0)), constant_values=-np.inf)
            y = norm(np.max([padded[:, i : i + x.shape[1]] for i in range(3)], 0), state, f"{part}.4")
        out.append(y)
    return np.concatenate(out)


def graph_network(clip, state, name):
    """One clip [persons, frames, joints, 3] to [persons, channels, frames, joints]."""
    persons, frames, joints, _ = clip.shape
    read = norm(clip.transpose(0, 2, 3, 1).reshape(-1, frames), state, f"{name}.data_bn")
    out = []
    for x in read.reshape(persons, joints, 3, frames).transpose(0, 2, 3, 1):
        for block in ("l1", "l2", "l3"):
            own = f"{name}.{block}"
            residual = norm(conv(x, state, f"{own}.residual.conv"), state, f"{own}.residual.bn")
            x = np.maximum(timed(refined(x, state, f"{own}.gcn1"), state, f"{own}.tcn1") + residual, 0)
        out.append(x)
    return np.stack(out)
