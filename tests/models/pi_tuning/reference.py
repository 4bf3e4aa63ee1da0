"""OFA's encoder in NumPy, float64, one item at a time, straight from the equations; with an expert of any kind."""

import math

import numpy as np


def norm(x, weight, bias):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def bucket(distance, buckets, context):
    """The row of a table for tokens that far from each other."""
    near = buckets // 2
    size = max(abs(distance), near - 1)
    if size <= near:
        return distance + buckets - 1
    far = math.ceil(math.log(size / near) / math.log((context - 1) / near) * (near - 1) - 1e-6) + near
    return int(math.copysign(far, distance)) + buckets - 1


def encode(state, config, shown, ids, expert):
    """States [p + t, d] of a picture's parts ``shown`` [across, across, channels] or None, and a text's ids [t]."""
    w = {key: np.asarray(value, np.float64) for key, value in state.items()}
    heads, d = config.heads, config.width

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def ln(name, x):
        return norm(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = ln("layernorm_embedding", w["embed_tokens.weight"][ids] + w["type_embedding.weight"][0])
    at = ln("pos_ln", w["embed_positions.weight"][: len(ids)])
    places = []
    if shown is not None:
        across = len(shown)
        places = [(row, column) for row in range(across) for column in range(across)]
        parts = linear("image_proj", np.stack([shown[place] for place in places])) + w["type_embedding.weight"][1]
        x = np.concatenate([ln("patch_layernorm_embedding", parts), x])
        numbers = [row * config.image_buckets + column + 1 for row, column in places]
        at = np.concatenate([ln("image_pos_ln", w["embed_image_positions.weight"][numbers]), at])
    p, t = len(places), len(ids)
    scale = (2 * d / heads) ** -0.5

    def split(y):
        return y.reshape(len(y), heads, d // heads).transpose(1, 0, 2)

    absolute = split(linear("pos_q_linear", at)) @ split(linear("pos_k_linear", at)).transpose(0, 2, 1) * scale
    for i in range(config.layers):
        name, bias = f"layers.{i}", absolute.copy()
        for a in range(p):
            for b in range(p):
                down, right = (places[a][side] - places[b][side] + config.image_buckets - 1 for side in (0, 1))
                row = down * (2 * config.image_buckets - 1) + right
                bias[:, a, b] += w[f"image_rel_pos_table_list.{i}.weight"][row]
        for a in range(t):
            for b in range(t):
                row = bucket(a - b, config.buckets, config.context)
                bias[:, p + a, p + b] += w[f"token_rel_pos_table_list.{i}.weight"][row]
        y = ln(f"{name}.self_attn_layer_norm", x)

        def project(part, y, name=name):
            out = linear(f"{name}.self_attn.{part}", y)
            low = expert.get(f"{name}.self_attn.{part}.lora_A")
            if low is not None:
                out = out + y @ low.T @ expert[f"{name}.self_attn.{part}.lora_B"].T / len(low)
            return out

        q, k, v = (split(project(part, y)) for part in ("q_proj", "k_proj", "v_proj"))
        prompt = expert.get(f"{name}.prompt")
        if prompt is not None:
            k, v = (np.concatenate([split(one), y], 1) for one, y in zip(prompt, (k, v), strict=True))
            bias = np.concatenate([np.zeros((heads, p + t, prompt.shape[1])), bias], 2)
        scores = q @ k.transpose(0, 2, 1) * scale + bias
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        y = shares / shares.sum(-1, keepdims=True) @ v * w[f"{name}.self_attn.c_attn"][:, None, None]
        y = ln(f"{name}.attn_ln", project("out_proj", y.transpose(1, 0, 2).reshape(p + t, d)))
        x = x + adapted(expert, f"{name}.adapter1", y)
        inner = gelu(linear(f"{name}.fc1", ln(f"{name}.final_layer_norm", x)))
        y = linear(f"{name}.fc2", ln(f"{name}.ffn_layernorm", inner))
        x = x + adapted(expert, f"{name}.adapter2", y)
    return ln("layer_norm", x)


def adapted(expert, name, x):
    if f"{name}.down_proj.weight" not in expert:
        return x
    inner = np.maximum(x @ expert[f"{name}.down_proj.weight"].T + expert[f"{name}.down_proj.bias"], 0)
    return x + inner @ expert[f"{name}.up_proj.weight"].T + expert[f"{name}.up_proj.bias"]
