"""Weight files of others, brought to the network's keys. What a file may hold beside them is named here, and no more.

``gvt``   the released model: ``visual_encoder.``, ``ln_vision.``, ``perceiver.``, and parts of the language model
``eva``   EVA-02 CLIP as its authors save it (EVA02_CLIP_L_psz14): ``visual.`` beside the text encoder's keys; also the
          same keys with nothing before them
``timm``  the same weights in timm's names (``eva02_large_patch14_clip_224``)

The release reads its files leniently; here what is missing, unexpected or of another shape is refused. Tables of the
rotary positions may stand there, even once a block, but have to be the ones that follow from the size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bebr.models import weights as files
from bebr.models.gvt.config import Config, manifest, vision_manifest

__all__ = ["TIMM", "network_state", "timm_key"]

# Ends of keys: ours, timm's. What is in neither column has the same name in both.
TIMM = {
    "attn.q_bias": "attn.q_proj.bias",
    "attn.v_bias": "attn.v_proj.bias",
    "attn.inner_attn_ln.weight": "attn.norm.weight",
    "attn.inner_attn_ln.bias": "attn.norm.bias",
    "mlp.w1.weight": "mlp.fc1_g.weight",
    "mlp.w1.bias": "mlp.fc1_g.bias",
    "mlp.w2.weight": "mlp.fc1_x.weight",
    "mlp.w2.bias": "mlp.fc1_x.bias",
    "mlp.ffn_ln.weight": "mlp.norm.weight",
    "mlp.ffn_ln.bias": "mlp.norm.bias",
    "mlp.w3.weight": "mlp.fc2.weight",
    "mlp.w3.bias": "mlp.fc2.bias",
}
_LANGUAGE = ("llm.", "llm_proj.", "input_ln.")
_NORMS = ("norm", "fc_norm")  # EVA's last norm; it is called fc_norm where patches are averaged, as in GVT's file


def timm_key(key: str) -> str:
    """timm's name of an encoder's key, as ``blocks.0.mlp.fc1_g.weight`` of ``blocks.0.mlp.w1.weight``."""
    start, block, end = key.partition("blocks.")
    number, _, rest = end.partition(".")
    return f"{start}blocks.{number}.{TIMM.get(rest, rest)}" if block else key


def network_state(state: Mapping[str, Any], config: Config, where: str | Path) -> tuple[dict[str, Any], Config]:
    """The tensors under the network's keys, and the config without a resampler where the file has none.

    A file of the encoder alone gives its own last norm as ``ln_vision``. Raises ValueError listing what is missing,
    unexpected or of another shape, or that no layout is known.
    """
    if any(key.startswith("visual_encoder.") for key in state):
        tables, ignored = _tables("visual_encoder.", config)
        ignored += tuple(f"visual_encoder.{name}." for name in (*_NORMS, "head"))
        files.compare(state, manifest(config), where, (*ignored, *_LANGUAGE))
        _check_tables(state, tables, config, where)
        return {key: state[key] for key in manifest(config)}, config
    start = "visual." if any(key.startswith("visual.") for key in state) else ""
    if f"{start}cls_token" not in state:
        raise ValueError(
            f"weights: {where}: of no known layout: wanted keys that start with visual_encoder. (GVT), visual. (EVA-02 "
            "CLIP), or an EVA-02 encoder's own"
        )
    names = {key: f"{start}{key}" for key in vision_manifest(config)}
    if not start and any(".fc1_g." in key for key in state):
        names = {key: timm_key(key) for key in names}
    last = next((norm for norm in _NORMS if f"{start}{norm}.weight" in state), _NORMS[0])
    wanted = {names[key]: shape for key, shape in vision_manifest(config).items()}
    wanted |= {f"{start}{last}.{part}": (config.width,) for part in ("weight", "bias")}
    tables, ignored = _tables(start, config)
    ignored += (f"{start}head.", *(("text.", "logit_scale") if start else ()))
    files.compare(state, wanted, where, ignored)
    _check_tables(state, tables, config, where)
    found = {f"visual_encoder.{key}": state[name] for key, name in names.items()}
    found |= {f"ln_vision.{part}": state[f"{start}{last}.{part}"] for part in ("weight", "bias")}
    return found, config.without_latents()


def _tables(start: str, config: Config) -> tuple[list[str], tuple[str, ...]]:
    """Where the tables of cosines and sines may stand: the keys without their ends."""
    places = [f"{start}rope.", *(f"{start}blocks.{i}.attn.rope." for i in range(config.layers))]
    return places, tuple(f"{place}freqs_{what}" for place in places for what in ("cos", "sin"))


def _check_tables(state: Mapping[str, Any], places: list[str], config: Config, where: str | Path) -> None:
    """ValueError where a table is not that of the size: such weights were made for other positions."""
    from bebr.models.gvt.vision import angles

    table = angles(config.head_width, config.across)
    for place in places:
        for what, values in (("cos", table.cos()), ("sin", table.sin())):
            got = state.get(f"{place}freqs_{what}")
            # half floats are within 5e-4 of what they round
            if got is not None and (got.shape != values.shape or (got.double() - values).abs().max() > 1e-3):
                raise ValueError(
                    f"weights: {where}: {place}freqs_{what} {list(got.shape)} is not the table of {config.across} x "
                    f"{config.across} patches and heads of {config.head_width}: made for another size"
                )
