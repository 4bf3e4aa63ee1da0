"""FLM in float64 NumPy, one text, one head, one place at a time, written from the equations to be read."""

from __future__ import annotations

import math

import numpy as np

PADDING = 1


def norm(x, state, name, eps):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def heads(q, k, v, count, sees):
    """Place i attends to the places of ``sees(i)``; where that is none, to nothing: zeros."""
    width = q.shape[1] // count
    out = np.zeros_like(q)
    for head in range(count):
        at = slice(head * width, (head + 1) * width)
        for place in range(len(q)):
            seen = sees(place)
            if seen:
                weights = softmax(np.array([q[place, at] @ k[other, at] for other in seen]) / math.sqrt(width))
                out[place, at] = sum(w * v[other, at] for w, other in zip(weights, seen, strict=True))
    return out


# Pictures


def patches(pixels, state, config):
    """Pixels [3, side, side] to the class token and the patches, [1 + n, d], after the last layer."""
    name, size, across = "vit_model.visual", config.patch_size, config.image_size // config.patch_size
    rows = [state[f"{name}.class_embedding"]]
    for place in range(across * across):
        top, left = size * (place // across), size * (place % across)
        square = pixels[:, top : top + size, left : left + size]
        rows.append(np.array([(square * one).sum() for one in state[f"{name}.conv1.weight"]]))
    x = norm(np.stack(rows) + state[f"{name}.positional_embedding"], state, f"{name}.ln_pre", 1e-5)
    for i in range(config.vision_layers):
        x = clip_block(x, state, f"{name}.transformer.resblocks.{i}", config.vision_heads)
    return norm(x, state, f"{name}.ln_post", 1e-5)


def clip_block(x, state, name, count):
    d, everything = x.shape[1], list(range(len(x)))
    y = norm(x, state, f"{name}.ln_1", 1e-5)
    weight, bias = state[f"{name}.attn.in_proj_weight"], state[f"{name}.attn.in_proj_bias"]
    q, k, v = (y @ weight[i * d : (i + 1) * d].T + bias[i * d : (i + 1) * d] for i in range(3))
    x = x + linear(heads(q, k, v, count, lambda _: everything), state, f"{name}.attn.out_proj")
    y = linear(norm(x, state, f"{name}.ln_2", 1e-5), state, f"{name}.mlp.c_fc")
    return x + linear(y / (1 + np.exp(-1.702 * y)), state, f"{name}.mlp.c_proj")


def bicubic(square, side):
    """[old, old, d] to [side, side, d] by cubic convolution (Keys 1981, a = -3/4), pixels' centres aligned, edges
    repeated."""

    def weight(x, a=-0.75):
        x = abs(x)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    old = len(square)
    line = np.zeros((side, old))
    for i in range(side):
        centre = (i + 0.5) * old / side - 0.5
        for j in range(math.floor(centre) - 1, math.floor(centre) + 3):
            line[i, min(max(j, 0), old - 1)] += weight(centre - j)
    return np.einsum("ai,bj,ijd->abd", line, line, square)


# Who sees what, of a text of ``length`` tokens


def forward_sees(i, length):
    return list(range(length)) if i == 0 else list(range(1, i + 1))


def reverse_sees(i, length):
    return list(range(length)) if i == 0 else list(range(i, length))


def query_sees(i, length, before=0, behind=0):
    """Places among forward states, and places among reverse states."""
    if i == 0:
        return list(range(length)), list(range(length))
    return [j for j in range(1, length) if j < i - before], [j for j in range(1, length) if j > i + behind]


# Texts


def embed(tokens, state):
    name = "text_transformer.embeddings"
    rows = [
        state[f"{name}.word_embeddings.weight"][token]
        + state[f"{name}.position_embeddings.weight"][PADDING + 1 + place]
        + state[f"{name}.token_type_embeddings.weight"][0]
        for place, token in enumerate(tokens)
    ]
    return norm(np.stack(rows), state, f"{name}.LayerNorm", 1e-5)


def attention(x, memory, state, name, count, sees, eps):
    q = linear(x, state, f"{name}.self.query")
    k, v = (linear(memory, state, f"{name}.self.{part}") for part in ("key", "value"))
    y = linear(heads(q, k, v, count, sees), state, f"{name}.output.dense")
    return norm(x + y, state, f"{name}.output.LayerNorm", eps)


def feed(x, state, name, eps):
    y = linear(gelu(linear(x, state, f"{name}.intermediate.dense")), state, f"{name}.output.dense")
    return norm(x + y, state, f"{name}.output.LayerNorm", eps)


def text_layer(x, state, name, count, sees):
    return feed(attention(x, x, state, f"{name}.attention", count, sees, 1e-5), state, name, 1e-5)


def cross_layer(x, image, state, name, count, sees):
    x = attention(x, x, state, f"{name}.attention", count, sees, 1e-12)
    everything = list(range(len(image)))
    return feed(
        attention(x, image, state, f"{name}.crossattention", count, lambda _: everything, 1e-12), state, name, 1e-12
    )


def ask(q, forward, reverse, state, name, count, hidden):
    """The reconstructor's layer: queries ask forward states, then reverse ones, in one softmax."""
    length = len(q)

    def sees(i):
        first, second = query_sees(i, length, *(one[i] for one in hidden))
        return first + [length + j for j in second]

    memory = np.concatenate([forward, reverse])
    return feed(attention(q, memory, state, f"{name}.crossattention", count, sees, 1e-12), state, name, 1e-12)


def read(tokens, state, config, mask, hidden=None):
    """Forward states, reverse states and queries after the layers that see the text alone."""
    length, count = len(tokens), config.heads
    hidden = ([0] * length, [0] * length) if hidden is None else hidden
    forward = reverse = embed(tokens, state)
    q = embed([tokens[0], *[mask] * (length - 2), tokens[-1]], state)
    for i in range(config.layers):
        name = f"text_transformer.encoder.layer.{i}"
        forward = text_layer(forward, state, name, count, lambda i: forward_sees(i, length))
        reverse = text_layer(reverse, state, name, count, lambda i: reverse_sees(i, length))
        q = ask(q, forward, reverse, state, f"fusion_layers_bottom.{i}", count, hidden)
    return forward, reverse, q


def look(forward, reverse, q, image, state, config, hidden=None):
    """The same after the layers that see the picture too."""
    length, count = len(q), config.heads
    hidden = ([0] * length, [0] * length) if hidden is None else hidden
    types, ours = state["token_type_embeddings.weight"], state["token_type_embeddings_flm.weight"]
    forward = linear(forward, state, "cross_modal_text_transform") + types[0]
    reverse = linear(reverse, state, "cross_modal_text_transform") + ours[0]
    q = linear(q, state, "cross_modal_text_transform") + ours[1]
    image = linear(image, state, "cross_modal_image_transform") + types[1]
    for i in range(config.cross_layers):
        name = f"cross_modal_text_layers.{i}"
        forward = cross_layer(forward, image, state, name, count, lambda i: forward_sees(i, length))
        reverse = cross_layer(reverse, image, state, name, count, lambda i: reverse_sees(i, length))
        q = ask(q, forward, reverse, state, f"fusion_layers_top.{i}", count, hidden)
    return forward, reverse, q


def bidirectional(tokens, image, state, config):
    everything, count = list(range(len(tokens))), config.heads
    x = embed(tokens, state)
    for i in range(config.layers):
        x = text_layer(x, state, f"text_transformer.encoder.layer.{i}", count, lambda _: everything)
    x = linear(x, state, "cross_modal_text_transform") + state["token_type_embeddings.weight"][0]
    image = linear(image, state, "cross_modal_image_transform") + state["token_type_embeddings.weight"][1]
    for i in range(config.cross_layers):
        x = cross_layer(x, image, state, f"cross_modal_text_layers.{i}", count, lambda _: everything)
    return x


def pair(q, state):
    return np.tanh(linear(q[0], state, "cross_modal_text_pooler_f.dense"))


def words(x, state):
    y = norm(gelu(linear(x, state, "lm_score.transform.dense")), state, "lm_score.transform.LayerNorm", 1e-12)
    return y @ state["lm_score.decoder.weight"].T + state["lm_score.bias"]


# Losses


def surprise(x, token, state):
    return -math.log(softmax(words(x, state))[token])


def free(texts, images, state, config, mask, weights=(1.0, 1.0), hidden=None):
    """The three mean surprises, weighed: queries of their own token, forward states of the next, reverse ones of the
    one before. ``hidden[row]`` of each text."""
    own, following, before = [], [], []
    for row, (tokens, image) in enumerate(zip(texts, images, strict=True)):
        away = None if hidden is None else hidden[row]
        forward, reverse, q = look(*read(tokens, state, config, mask, away), image, state, config, away)
        for i in range(1, len(tokens)):
            own.append(surprise(q[i], tokens[i], state))
            before.append(surprise(reverse[i], tokens[i - 1], state))
        for i in range(1, len(tokens) - 1):
            following.append(surprise(forward[i], tokens[i + 1], state))
    means = [sum(one) / len(one) for one in (own, following, before)]
    return (means[0] + weights[0] * means[1] + weights[1] * means[2]) / (1 + sum(weights))
