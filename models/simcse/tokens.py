"""The tokenizer files beside a checkpoint: ``tokenizer.json``, BERT's ``vocab.txt``, RoBERTa's two files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

__all__ = ["ROBERTA_MARKS", "Tokens", "learn_roberta"]

ROBERTA_MARKS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


class Tokens:
    """Texts to word pieces with the model's marks for beginning and end, padded to the longest of a batch."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, pad: int, max_tokens: int) -> None:
        if max_tokens < 2:
            raise ValueError(f"max_tokens: got {max_tokens}, wanted at least 2")
        self.tokenizer = tokenizer
        self.size = int(tokenizer.get_vocab_size())
        tokenizer.enable_truncation(max_tokens)
        tokenizer.enable_padding(pad_id=pad, pad_token=tokenizer.id_to_token(pad) or "[PAD]")

    @classmethod
    def read(cls, folder: Path, model_type: str, pad: int, max_tokens: int) -> Tokens:
        """From a checkpoint's folder. FileNotFoundError naming the files that would do."""
        if (folder / "tokenizer.json").is_file():
            made = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        elif model_type == "bert" and (folder / "vocab.txt").is_file():
            # Read as text: the loader of the library takes lines apart differently from version to version.
            words = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
            vocabulary = {word.rstrip("\r"): place for place, word in enumerate(words) if word.strip()}
            made = _bert(vocabulary, _lowercase(folder))
        elif model_type == "roberta" and (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            made = _roberta(folder)
        else:
            wanted = "vocab.txt" if model_type == "bert" else "vocab.json with merges.txt"
            raise FileNotFoundError(f"weights: {folder}: has no tokenizer; wanted tokenizer.json or {wanted}")
        return cls(made, pad, max_tokens)

    def __call__(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Ids and mask (0 on padding), int64 [n, t] both."""
        coded = self.tokenizer.encode_batch(list(texts))
        ids = np.array([one.ids for one in coded], dtype=np.int64)
        return ids, np.array([one.attention_mask for one in coded], dtype=np.int64)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``, without this session's settings: they are not of the model."""
        serial = json.loads(self.tokenizer.to_str())
        serial["truncation"] = serial["padding"] = None
        (folder / "tokenizer.json").write_text(json.dumps(serial, ensure_ascii=False), encoding="utf-8")


def learn_roberta(texts: Sequence[str], size: int) -> tokenizers.Tokenizer:
    """A vocabulary of RoBERTa's kind, of at most ``size``: the marks, the 256 bytes and merges of what occurs in
    ``texts`` twice."""
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(texts, size, min_frequency=2, show_progress=False, special_tokens=list(ROBERTA_MARKS))
    inner = made._tokenizer
    marks = [(mark, inner.token_to_id(mark)) for mark in ("<s>", "</s>")]
    inner.post_processor = tokenizers.processors.TemplateProcessing("<s> $A </s>", special_tokens=marks)
    return inner


def _lowercase(folder: Path) -> bool:
    path = folder / "tokenizer_config.json"
    return bool(json.loads(path.read_text()).get("do_lower_case", True)) if path.is_file() else True


def _bert(vocabulary: dict[str, int], lowercase: bool) -> Any:
    for mark in ("[UNK]", "[CLS]", "[SEP]", "[PAD]"):
        if mark not in vocabulary:
            raise ValueError(f"vocab.txt: has no {mark}: not a BERT vocabulary")
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    marks = [(mark, vocabulary[mark]) for mark in ("[CLS]", "[SEP]")]
    made.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=marks)
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return made


def _roberta(folder: Path) -> Any:
    made = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    ids = {}
    for mark in ("</s>", "<s>"):
        if made.token_to_id(mark) is None:
            raise ValueError(f"{folder / 'vocab.json'}: has no {mark}: not a RoBERTa vocabulary")
        ids[mark] = made.token_to_id(mark)
    made.add_special_tokens(["<s>", "</s>", "<pad>", "<unk>"])
    made._tokenizer.post_processor = tokenizers.processors.RobertaProcessing(
        ("</s>", ids["</s>"]), ("<s>", ids["<s>"]), add_prefix_space=False
    )  # by place: the second one has changed its name
    return made._tokenizer
