"""BERT and RoBERTa in float64 NumPy, one position and one head at a time, written from the papers to be read."""

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


def embeddings(tokens, mask, state, config):
    """One sentence: ids [t] and mask [t] to [t, d]."""
    rows, seen = [], 0
    for place, (token, real) in enumerate(zip(tokens, mask, strict=True)):
        if config.model_type == "roberta":
            seen += int(real)
            position = config.pad_token_id + seen if real else config.pad_token_id
        else:
            position = place
        rows.append(
            state["embeddings.word_embeddings.weight"][token]
            + state["embeddings.position_embeddings.weight"][position]
            + state["embeddings.token_type_embeddings.weight"][0]
        )
    return norm(np.stack(rows), state, "embeddings.LayerNorm", config.layer_norm_eps)


def attention(x, mask, state, name, config):
    q, k, v = (linear(x, state, f"{name}.{part}") for part in ("query", "key", "value"))
    width = config.hidden_size // config.num_attention_heads
    out = np.zeros_like(x)
    for head in range(config.num_attention_heads):
        at = slice(head * width, (head + 1) * width)
        for place in range(len(x)):
            scores = np.array([q[place, at] @ k[other, at] / math.sqrt(width) for other in range(len(x))])
            scores[np.asarray(mask) == 0] = -np.inf
            weights = np.exp(scores - scores.max())
            out[place, at] = (weights / weights.sum()) @ v[:, at]
    return out


def layer(x, mask, state, name, config):
    eps = config.layer_norm_eps
    y = linear(attention(x, mask, state, f"{name}.attention.self", config), state, f"{name}.attention.output.dense")
    x = norm(x + y, state, f"{name}.attention.output.LayerNorm", eps)
    y = linear(gelu(linear(x, state, f"{name}.intermediate.dense")), state, f"{name}.output.dense")
    return norm(x + y, state, f"{name}.output.LayerNorm", eps)


def sentence(tokens, mask, state, config, pooled):
    x = embeddings(tokens, mask, state, config)
    for i in range(config.num_hidden_layers):
        x = layer(x, mask, state, f"encoder.layer.{i}", config)
    return np.tanh(linear(x[0], state, "pooler.dense")) if pooled else x[0]


def contrast(anchors, positives, negatives, temperature, hard_weight):
    """Mean over the anchors of -log(e^own / sum of e^all), by loops."""

    def cosine(a, b):
        return float(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b))

    total = 0.0
    for i, anchor in enumerate(anchors):
        logits = [cosine(anchor, one) / temperature for one in positives]
        for j, one in enumerate(() if negatives is None else negatives):
            logits.append(cosine(anchor, one) / temperature + (hard_weight if i == j else 0.0))
        total -= logits[i] - math.log(sum(math.exp(one) for one in logits))
    return total / len(anchors)
