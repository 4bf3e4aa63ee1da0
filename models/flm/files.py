"""Keys and shapes of FLM's checkpoints: Lightning's ``state_dict``, as the published class names its parts.

A published file stores shared modules again under other names, and parts that retrieval never asks. The first are
compared with their original and dropped; the second may be there or not, and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bebr.models.flm.config import Config

__all__ = ["manifest", "renamed"]

# Another name -> the module it stands for.
_ALIASES = {
    "text_transformer2.": "text_transformer.",
    "cross_modal_text_layers_r.": "cross_modal_text_layers.",
    "cross_modal_layers.": "cross_modal_text_layers.",
    "cross_modal_text_transform_r.": "cross_modal_text_transform.",
    "cross_modal_text_transform_f.": "cross_modal_text_transform.",
    "fusion_token_embedding.": "text_transformer.embeddings.",
    "lm_score_r.": "lm_score.",
    "lm_score_f.": "lm_score.",
}
# CLIP's text side, poolers that no retrieval reads, heads of other tasks, constants.
_UNUSED = (
    "vit_model.positional_embedding",
    "vit_model.ln_final.",
    "text_transformer.pooler.",
    "text_transformer.embeddings.position_ids",
    "cross_modal_image_pooler.",
    "cross_modal_text_pooler.",
    "lm_type_embeddings.",
    "vqa_classifier.",
    "nlvr2_classifier.",
    "itm_score.",
    "itm_score_flm.",
)
_WORDS = ("text_transformer.embeddings.word_embeddings.weight", "lm_score.decoder.weight", "lm_score.bias")


def manifest(config: Config) -> dict[str, tuple[int, ...]]:
    """Every key that the network needs and its shape, all float32. Linear weights are [out, in]."""
    d = config.width
    keys: dict[str, tuple[int, ...]] = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        keys[f"{name}.weight"], keys[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def norm(name: str) -> None:
        keys[f"{name}.weight"] = keys[f"{name}.bias"] = (d,)

    def layer(name: str, *attentions: str) -> None:
        for attention in attentions:
            for part in ("query", "key", "value"):
                linear(f"{name}.{attention}.self.{part}", d, d)
            linear(f"{name}.{attention}.output.dense", d, d)
            norm(f"{name}.{attention}.output.LayerNorm")
        linear(f"{name}.intermediate.dense", 4 * d, d)
        linear(f"{name}.output.dense", d, 4 * d)
        norm(f"{name}.output.LayerNorm")

    visual = "vit_model.visual"
    keys[f"{visual}.class_embedding"] = (d,)
    keys[f"{visual}.positional_embedding"] = (config.patches + 1, d)
    keys[f"{visual}.conv1.weight"] = (d, 3, config.patch_size, config.patch_size)
    norm(f"{visual}.ln_pre")
    for i in range(config.vision_layers):
        block = f"{visual}.transformer.resblocks.{i}"
        keys[f"{block}.attn.in_proj_weight"], keys[f"{block}.attn.in_proj_bias"] = (3 * d, d), (3 * d,)
        linear(f"{block}.attn.out_proj", d, d)
        norm(f"{block}.ln_1")
        norm(f"{block}.ln_2")
        linear(f"{block}.mlp.c_fc", 4 * d, d)
        linear(f"{block}.mlp.c_proj", d, 4 * d)
    norm(f"{visual}.ln_post")
    text = "text_transformer"
    keys[f"{text}.embeddings.word_embeddings.weight"] = (config.vocab_size, d)
    keys[f"{text}.embeddings.position_embeddings.weight"] = (config.positions, d)
    keys[f"{text}.embeddings.token_type_embeddings.weight"] = (1, d)
    norm(f"{text}.embeddings.LayerNorm")
    for i in range(config.layers):
        layer(f"{text}.encoder.layer.{i}", "attention")
        layer(f"fusion_layers_bottom.{i}", "crossattention")
    for i in range(config.cross_layers):
        layer(f"cross_modal_text_layers.{i}", "attention", "crossattention")
        layer(f"fusion_layers_top.{i}", "crossattention")
    for part in ("text", "image"):
        linear(f"cross_modal_{part}_transform", d, d)
    keys["token_type_embeddings.weight"] = keys["token_type_embeddings_flm.weight"] = (2, d)
    linear("cross_modal_text_pooler_f.dense", d, d)
    linear("lm_score.transform.dense", d, d)
    norm("lm_score.transform.LayerNorm")
    keys["lm_score.decoder.weight"], keys["lm_score.bias"] = (config.vocab_size, d), (config.vocab_size,)
    if config.ranked:
        linear("rank_output", 1, d)
    if config.projected:  # ours
        keys["image_projection"] = keys["text_projection"] = (d, d)
        keys["logit_scale"] = ()
    return keys


def renamed(state: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """A checkpoint's tensors under the manifest's keys.

    Aliases must equal what they stand for: ValueError naming one that does not. What two later trainings append is cut
    off: two words after captioning, which no text has, and a third token type after NLVR2, for a second picture.
    """
    out: dict[str, Any] = {}
    again: dict[str, tuple[str, Any]] = {}
    for key, tensor in state.items():
        prefix = next((one for one in _ALIASES if key.startswith(one)), None)
        if prefix is not None:
            again[key] = (_ALIASES[prefix] + key.removeprefix(prefix), tensor)
        else:
            out[key] = tensor
    for key, (original, tensor) in again.items():
        if original not in out:
            out[original] = tensor
        elif out[original].shape != tensor.shape or not bool((out[original] == tensor).all()):
            raise ValueError(f"weights: {key} differs from {original}, which it stands for: not one model's file")
    out = {key: tensor for key, tensor in out.items() if not key.startswith(_UNUSED)}
    appended = [(key, config.vocab_size, 2) for key in _WORDS] + [("token_type_embeddings.weight", 2, 1)]
    for key, rows, more in appended:
        if key in out and out[key].ndim and len(out[key]) == rows + more:
            out[key] = out[key][:rows]
    return out
