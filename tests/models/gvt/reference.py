"""GVT in float64 NumPy, one picture, one head, one token at a time, written from the equations to be read."""

from __future__ import annotations

import math

import numpy as np


def norm(x, state, name, eps):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * state[f"{name}.weight"] + state[f"{name}.bias"]


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


# The encoder


def turn(x, row, column):
    """RoPE in two directions: the first half of a head turns by the row, the second by the column, pair by pair."""
    half = len(x) // 2
    out = np.empty_like(x)
    for start, place in ((0, row), (half, column)):
        for k in range(half // 2):
            angle = place * 10000 ** (-2 * k / half)
            a, b = x[start + 2 * k], x[start + 2 * k + 1]
            out[start + 2 * k] = a * math.cos(angle) - b * math.sin(angle)
            out[start + 2 * k + 1] = b * math.cos(angle) + a * math.sin(angle)
    return out


def attention(x, state, name, heads, places):
    """``places``: the (row, column) of each token, None for the class token."""
    q = x @ state[f"{name}.q_proj.weight"].T + state[f"{name}.q_bias"]
    k = x @ state[f"{name}.k_proj.weight"].T  # no bias
    v = x @ state[f"{name}.v_proj.weight"].T + state[f"{name}.v_bias"]
    width = q.shape[1] // heads
    out = np.zeros_like(q)
    for head in range(heads):
        at = slice(head * width, (head + 1) * width)
        placed = [
            [one[at] if where is None else turn(one[at], *where) for one, where in zip(rows, places, strict=True)]
            for rows in (q, k)
        ]
        for token in range(len(x)):
            weights = softmax(np.array([placed[0][token] @ other for other in placed[1]]) / math.sqrt(width))
            out[token, at] = weights @ v[:, at]
    out = norm(out, state, f"{name}.inner_attn_ln", 1e-6)
    return out @ state[f"{name}.proj.weight"].T + state[f"{name}.proj.bias"]


def perceptron(x, state, name):
    gate = x @ state[f"{name}.w1.weight"].T + state[f"{name}.w1.bias"]
    inner = gate / (1 + np.exp(-gate)) * (x @ state[f"{name}.w2.weight"].T + state[f"{name}.w2.bias"])
    return norm(inner, state, f"{name}.ffn_ln", 1e-6) @ state[f"{name}.w3.weight"].T + state[f"{name}.w3.bias"]


def block(x, state, name, heads, places):
    x = x + attention(norm(x, state, f"{name}.norm1", 1e-6), state, f"{name}.attn", heads, places)
    return x + perceptron(norm(x, state, f"{name}.norm2", 1e-6), state, f"{name}.mlp")


def embed(pixels, state, config):
    """Pixels [3, side, side] to patches [n, d]: a linear map of each square."""
    size, across = config.patch_size, config.image_size // config.patch_size
    weight, bias = (state[f"visual_encoder.patch_embed.proj.{part}"] for part in ("weight", "bias"))
    rows = []
    for place in range(across * across):
        top, left = size * (place // across), size * (place % across)
        square = pixels[:, top : top + size, left : left + size]
        rows.append(np.array([(square * one).sum() for one in weight]) + bias)
    return np.stack(rows)


def encode(patches, state, config, kept=None):
    """Class token, then all patches or those of ``kept``, after the last block."""
    across = config.image_size // config.patch_size
    kept = range(len(patches)) if kept is None else kept
    position = state["visual_encoder.pos_embed"][0]
    x = np.stack([state["visual_encoder.cls_token"][0, 0] + position[0], *(patches[i] + position[i + 1] for i in kept)])
    places = [None, *((i // across, i % across) for i in kept)]
    for i in range(config.layers):
        x = block(x, state, f"visual_encoder.blocks.{i}", config.heads, places)
    return x


def tokens(pixels, state, config):
    return norm(encode(embed(pixels, state, config), state, config), state, "ln_vision", 1e-5)


# The resampler


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def latent_attention(inputs, latents, state, name, heads):
    inputs, latents = (
        norm(inputs, state, f"{name}.norm_media", 1e-5),
        norm(latents, state, f"{name}.norm_latents", 1e-5),
    )
    seen = np.concatenate([inputs, latents])
    q, both = latents @ state[f"{name}.to_q.weight"].T, seen @ state[f"{name}.to_kv.weight"].T
    inner = q.shape[1]
    k, v, width = both[:, :inner], both[:, inner:], inner // heads
    out = np.zeros_like(q)
    for head in range(heads):
        at = slice(head * width, (head + 1) * width)
        for row in range(len(q)):
            out[row, at] = softmax(k[:, at] @ q[row, at] * width**-0.5) @ v[:, at]
    return out @ state[f"{name}.to_out.weight"].T


def resample(inputs, state, config, latents=None):
    inputs = inputs + state["perceiver.media_pos_emb"][0, 0]
    x = state["perceiver.latents"] if latents is None else latents
    for i in range(config.latent_layers):
        name = f"perceiver.layers.{i}"
        x = x + latent_attention(inputs, x, state, f"{name}.0", config.latent_heads)
        inner = gelu(norm(x, state, f"{name}.1.0", 1e-5) @ state[f"{name}.1.1.weight"].T)
        x = x + inner @ state[f"{name}.1.3.weight"].T
    return norm(x, state, "perceiver.norm", 1e-5)


# The loss


def whitened(token):
    return (token - token.mean()) / math.sqrt(((token - token.mean()) ** 2).mean() + 1e-5)


def distance(predicted, wanted, only=None):
    """Smooth L1 with beta 2, the mean over the tokens that ``only`` names and all channels."""
    errors = []
    for i in range(len(predicted)):
        for t in range(len(predicted[i])):
            if only is None or only[i][t]:
                for y, z in zip(predicted[i][t], wanted[i][t], strict=True):
                    e = abs(y - z)
                    errors.append(e * e / 4 if e < 2 else e - 1)
    return sum(errors) / len(errors)
