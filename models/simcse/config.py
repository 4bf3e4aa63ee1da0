"""Sizes of the encoders, and the keys and shapes of their files: no torch here.

The layout is that of Hugging Face's BertModel and RobertaModel, whose checkpoints SimCSE's authors publish. Figures of
``SIZES`` are those of the models' own config files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["SIZES", "Config", "manifest", "renamed"]


@dataclass(frozen=True)
class Config:
    """Names as in ``config.json``. ``model_type``, ``"bert"`` or ``"roberta"``, decides how positions are counted."""

    model_type: str = "bert"
    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1

    def __post_init__(self) -> None:
        if self.model_type not in ("bert", "roberta"):
            raise ValueError(f"model_type: got {self.model_type!r}, wanted 'bert' or 'roberta'")
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size: got {self.hidden_size}, wanted a multiple of {self.num_attention_heads} attention heads"
            )
        if self.max_tokens < 2:
            raise ValueError(f"max_position_embeddings: got {self.max_position_embeddings}, too few for a sentence")

    @property
    def max_tokens(self) -> int:
        """The longest input. RoBERTa counts positions from the padding's id plus one: rows before are never read."""
        unused = self.pad_token_id + 1 if self.model_type == "roberta" else 0
        return self.max_position_embeddings - unused

    def to_json(self) -> dict[str, Any]:
        """What ``config.json`` holds, for Hugging Face's loaders too."""
        name = {"bert": "BertModel", "roberta": "RobertaModel"}[self.model_type]
        return {**asdict(self), "hidden_act": "gelu", "position_embedding_type": "absolute", "architectures": [name]}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Config:
        """Read ``config.json``. ValueError for an activation or kind of positions that this encoder does not have."""
        for name, wanted in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
            if raw.get(name, wanted) != wanted:
                raise ValueError(f"config.json: {name} is {raw[name]!r}, wanted {wanted!r}")
        given = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
        if "model_type" not in given:
            raise ValueError("config.json: says no model_type, wanted 'bert' or 'roberta'")
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
            if type(given.get(name)) is not int:
                raise ValueError(f"config.json: {name} is {given.get(name)!r}, wanted a whole number")
        if given["model_type"] == "roberta":  # what RoBERTa's own config class fills in where the file is silent
            given = {"pad_token_id": 1, "layer_norm_eps": 1e-12, **given}
        return cls(**given)


_ROBERTA = Config("roberta", 50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
SIZES = {
    "bert-base-uncased": Config(),
    "bert-large-uncased": Config(**_LARGE),  # type: ignore[arg-type]
    "roberta-base": _ROBERTA,
    "roberta-large": Config(**{**asdict(_ROBERTA), **_LARGE}),
}


def manifest(config: Config) -> dict[str, tuple[int, ...]]:
    """Every key of a checkpoint and its shape, all float32. Linear weights are [out, in]."""
    d, wide = config.hidden_size, config.intermediate_size
    keys: dict[str, tuple[int, ...]] = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        keys[f"{name}.weight"], keys[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def norm(name: str) -> None:
        keys[f"{name}.weight"] = keys[f"{name}.bias"] = (d,)

    keys["embeddings.word_embeddings.weight"] = (config.vocab_size, d)
    keys["embeddings.position_embeddings.weight"] = (config.max_position_embeddings, d)
    keys["embeddings.token_type_embeddings.weight"] = (config.type_vocab_size, d)
    norm("embeddings.LayerNorm")
    for i in range(config.num_hidden_layers):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", d, d)
        linear(f"{layer}.attention.output.dense", d, d)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", wide, d)
        linear(f"{layer}.output.dense", d, wide)
        norm(f"{layer}.output.LayerNorm")
    linear("pooler.dense", d, d)
    return keys


_HEADS = ("cls.", "lm_head.")


def renamed(state: Mapping[str, Any], model_type: str) -> dict[str, Any]:
    """A checkpoint's tensors under the manifest's keys, as far as files in circulation differ from it by name alone.

    The prefix ``bert.`` or ``roberta.`` goes; ``mlp.dense`` of a training checkpoint is the pooler; LayerNorm's
    ``gamma`` and ``beta`` are its weight and bias; language model heads and the constant ``position_ids`` are left out.
    """
    out: dict[str, Any] = {}
    for key, tensor in state.items():
        name = key.removeprefix(f"{model_type}.")
        if name.startswith(_HEADS) or name == "embeddings.position_ids":
            continue
        name = "pooler." + name.removeprefix("mlp.") if name.startswith("mlp.") else name
        if "LayerNorm." in name:
            name = name.replace(".gamma", ".weight").replace(".beta", ".bias")
        if name in out:
            raise ValueError(f"weights: {key} is there twice, under another name")
        out[name] = tensor
    return out
