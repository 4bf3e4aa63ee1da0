"""RILS in float64 NumPy, one picture, one head, one token at a time, written from the equations to be read."""

from __future__ import annotations

import math

import numpy as np


def norm(x, state, name, eps):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def quick_gelu(x):
    return x / (1 + np.exp(-1.702 * x))


def unit(x):
    return x / math.sqrt(float(x @ x))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def heads(q, k, v, count, causal):
    """Softmax(q k / sqrt(width)) v, head by head and place by place; causal: of the places up to one's own."""
    width = q.shape[1] // count
    out = np.zeros_like(q)
    for head in range(count):
        at = slice(head * width, (head + 1) * width)
        for place in range(len(q)):
            seen = place + 1 if causal else len(q)
            weights = softmax(np.array([q[place, at] @ k[other, at] for other in range(seen)]) / math.sqrt(width))
            out[place, at] = sum(weights[other] * v[other, at] for other in range(seen))
    return out


# Pictures


def position(place, side, width):
    """The fixed vector of patch ``place``, counted row by row: column first, then row, each sines then cosines."""
    quarter = width // 4
    out = []
    for coordinate in (place % side, place // side):
        angles = [coordinate / 10000 ** (i / quarter) for i in range(quarter)]
        out += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    return np.array(out)


def attention(x, state, name, count):
    weight, d = state[f"{name}.qkv.weight"], x.shape[1]
    q = x @ weight[:d].T + state[f"{name}.q_bias"]
    k = x @ weight[d : 2 * d].T  # no bias
    v = x @ weight[2 * d :].T + state[f"{name}.v_bias"]
    return linear(heads(q, k, v, count, False), state, f"{name}.proj")


def block(x, state, name, count):
    x = x + attention(norm(x, state, f"{name}.norm1", 1e-6), state, f"{name}.attn", count)
    y = gelu(linear(norm(x, state, f"{name}.norm2", 1e-6), state, f"{name}.mlp.fc1"))
    return x + linear(y, state, f"{name}.mlp.fc2")


def embed(pixels, state, config):
    """Pixels [3, side, side] to patches [n, d]: a linear map of each square, and its position."""
    size, across = config.patch_size, config.image_size // config.patch_size
    rows = []
    for place in range(across * across):
        top, left = size * (place // across), size * (place % across)
        square = pixels[:, top : top + size, left : left + size]
        weight = state["visual.patch_embed.proj.weight"]
        mapped = np.array([(square * one).sum() for one in weight]) + state["visual.patch_embed.proj.bias"]
        rows.append(mapped + position(place, across, config.width))
    return np.stack(rows)


def encode(pixels, state, config, kept=None):
    """Class token, then all patches or those of ``kept``."""
    patches = embed(pixels, state, config)
    patches = patches if kept is None else patches[list(kept)]
    x = np.concatenate([state["visual.cls_token"][0], patches])  # the class token's position is zero
    for i in range(config.layers):
        x = block(x, state, f"visual.blocks.{i}", config.heads)
    return norm(x, state, "visual.norm", 1e-6)


def predict(pixels, state, config, kept):
    """What the decoder foretells for every patch from those of ``kept``."""
    seen = linear(encode(pixels, state, config, kept), state, "visual.decoder_embed")
    across = config.image_size // config.patch_size
    rows = [seen[0]]
    for place in range(across * across):
        token = seen[1 + list(kept).index(place)] if place in kept else state["visual.mask_token"][0, 0]
        rows.append(token + position(place, across, config.decoder_width))
    x = np.stack(rows)
    for i in range(config.decoder_layers):
        x = block(x, state, f"visual.decoder_blocks.{i}", config.heads)
    return linear(norm(x, state, "visual.decoder_norm", 1e-6), state, "visual.decoder_pred")[1:]


def picture(pixels, state, config):
    patches = encode(pixels, state, config)[1:]
    return sum(one @ state["image_projection"] for one in patches) / len(patches)


# Texts


def text_attention(x, state, name, count):
    d = x.shape[1]
    weight, bias = state[f"{name}.in_proj_weight"], state[f"{name}.in_proj_bias"]
    q, k, v = (x @ weight[i * d : (i + 1) * d].T + bias[i * d : (i + 1) * d] for i in range(3))
    return linear(heads(q, k, v, count, True), state, f"{name}.out_proj")


def text_block(x, state, name, count):
    x = x + text_attention(norm(x, state, f"{name}.ln_1", 1e-5), state, f"{name}.attn", count)
    y = quick_gelu(linear(norm(x, state, f"{name}.ln_2", 1e-5), state, f"{name}.mlp.c_fc"))
    return x + linear(y, state, f"{name}.mlp.c_proj")


def text(tokens, state, config):
    """One text's ids up to its end mark, the largest."""
    x = np.stack([state["token_embedding.weight"][t] + state["positional_embedding"][i] for i, t in enumerate(tokens)])
    for i in range(config.text_layers):
        x = text_block(x, state, f"transformer.resblocks.{i}", config.text_heads)
    return norm(x[-1], state, "ln_final", 1e-5) @ state["text_projection"]


# Losses


def contrast(pictures, texts, scale):
    """The mean over pictures of -log softmax of its own text, the same the other way round, halved; who was right."""
    n = len(pictures)
    logits = np.array([[scale * float(unit(p) @ unit(t)) for t in texts] for p in pictures])
    forward = -sum(math.log(softmax(logits[i])[i]) for i in range(n)) / n
    backward = -sum(math.log(softmax(logits[:, i])[i]) for i in range(n)) / n
    return (forward + backward) / 2, [int(np.argmax(logits[i])) == i for i in range(n)]


def reconstruction(predicted, real, prototypes, hidden, found):
    """Mean of sum_l p_l log(p_l / q_l) over hidden patches of pictures that were found."""
    divergences = []
    for i in range(len(predicted)):
        for k in range(len(predicted[i])):
            if hidden[i][k] and found[i]:
                p = softmax(np.array([unit(real[i][k]) @ unit(z) for z in prototypes]) / 0.04)
                q = softmax(np.array([unit(predicted[i][k]) @ unit(z) for z in prototypes]) / 0.1)
                divergences.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))
    return sum(divergences) / len(divergences)
