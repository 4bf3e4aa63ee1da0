"""Experts' files: the keys of the published code, and a folder of ours under the same keys.

Files are whole checkpoints or their experts alone, with ``encoder.`` before each key. Of the encoder:

``layers.{i}.adapter{1,2}.{down_proj,up_proj}``  an adapter
``layers.{i}.self_attn.{q,k,v,out}_proj.lora_{A,B}``  LoRA
``encoder_prompt_encoder.embedding.weight`` [length, layers x 2 x d]  a prefix
``layers.{i}.adapters{1,2}.{k}...`` and ``layers.{i}.adapter_interpolation_weight{1,2}`` [k]  interpolated adapters,
                                                 which are merged as they are read
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bebr.models import weights as files
from bebr.models.pi_tuning.config import Config, expert_manifest, of_encoder
from bebr.models.pi_tuning.experts import Expert
from bebr.models.pi_tuning.mixture import Mixture

__all__ = ["is_expert_key", "of_state", "read", "save"]

_PROMPT = "encoder_prompt_encoder.embedding.weight"
_EXPERT = re.compile(
    r"layers\.\d+\.(adapters?[12]\.|adapter_interpolation_weight[12]$|self_attn\.\w+\.lora_[AB]$)|encoder_prompt_encoder\."
)
_TOLD = (
    ("adapter", "layers.0.adapter1.down_proj.weight", 0),
    ("lora", "layers.0.self_attn.q_proj.lora_A", 0),
    ("prefix", "layers.0.prompt", 1),
)
"""Kind, the key that tells it, and which side of that tensor is its size."""
_WANTED = "a folder that published.save wrote, or a checkpoint of the published code with an expert"


def is_expert_key(key: str) -> bool:
    """Whether a key, without ``encoder.``, is of an expert and not of the trunk."""
    return _EXPERT.match(key) is not None


def read(weights: str | Path, config: Config) -> Expert:
    """The encoder's expert of a file or folder, for a trunk of ``config``.

    Raises ValueError where there is none, or keys are missing, unexpected or of another shape; FileNotFoundError.
    """
    path = files.find(weights, "pi-tuning", _WANTED)
    state = of_encoder(files.read(path, within="model"))
    return of_state({key: value for key, value in state.items() if is_expert_key(key)}, config, path)


def of_state(state: Mapping[str, Tensor], config: Config, where: str | Path) -> Expert:
    """The expert of these tensors, keys without ``encoder.``; errors name ``where``."""
    found = dict(state)
    if any(".adapters1." in key for key in found):
        return _interpolated(found, config, where)
    if _PROMPT in found:
        found = {**_cut(found.pop(_PROMPT), config, where), **found}
    kind, key, axis = next((one for one in _TOLD if one[1] in found), ("", "", 0))
    if not kind:
        raise ValueError(f"weights: {where}: has no adapter, LoRA or prefix of the encoder")
    size = found[key].shape[axis] if found[key].ndim > axis else 0
    files.compare(found, expert_manifest(kind, size, config.width, config.layers), where)
    return Expert.of(found, kind, size, config.width, config.layers)


def save(expert: Expert, folder: str | Path) -> None:
    """Write the expert alone, under the published keys, and ``config.json``; ``expert=`` of ``load`` takes it."""
    state = expert.state_dict()
    if expert.kind == "prefix":
        prompts = [state[f"layers.{i}.prompt"] for i in range(len(expert.layers))]
        out = {f"encoder.{_PROMPT}": torch.cat(prompts).transpose(0, 1).reshape(expert.size, -1)}
    else:
        out = {f"encoder.{key}": value for key, value in state.items()}
    files.save(folder, out, {"producer": "pi-tuning", "kind": expert.kind, "size": expert.size})


def _cut(table: Tensor, config: Config, where: str | Path) -> dict[str, Tensor]:
    """A prefix's table by layers: each has its keys [length, d], then its values."""
    wanted = config.layers * 2 * config.width
    if table.ndim != 2 or table.shape[1] != wanted:
        raise ValueError(f"weights: {where}: {_PROMPT} {list(table.shape)} (wanted [length, {wanted}])")
    cut = table.view(len(table), config.layers, 2, config.width).permute(1, 2, 0, 3)
    return {f"layers.{i}.prompt": part.contiguous() for i, part in enumerate(cut)}


def _interpolated(state: Mapping[str, Any], config: Config, where: str | Path) -> Expert:
    alphas = {key: value for key, value in state.items() if "adapter_interpolation_weight" in key}
    members: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key not in alphas:
            number = re.search(r"\.adapters([12])\.(\d+)\.", key)
            name = key if number is None else key.replace(number[0], f".adapter{number[1]}.")
            members.setdefault(-1 if number is None else int(number[2]), {})[name] = value
    if sorted(members) != list(range(len(members))):
        raise ValueError(f"weights: {where}: has interpolated adapters {sorted(members)}, wanted them from 0 on")
    wanted = {
        f"layers.{i}.adapter_interpolation_weight{place}": (len(members),)
        for i in range(config.layers)
        for place in (1, 2)
    }
    files.compare(alphas, wanted, where)
    mixture = Mixture([of_state(members[number], config, where) for number in range(len(members))])
    mixture.alpha.data = torch.stack([alphas[key].float() for key in wanted]).view_as(mixture.alpha)
    return mixture.merged()
