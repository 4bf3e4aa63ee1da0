"""RoBERTa's byte pairs for captions: of its own vocabulary, or learned from captions. A text ends with one full stop.

The files are those that ``simcse.tokens`` reads beside a RoBERTa checkpoint; the mark for a hidden token is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tokenizers
import torch
from torch import Tensor

from bebr.models.flm.network import Marks
from bebr.models.simcse.tokens import ROBERTA_MARKS, learn_roberta
from bebr.models.simcse.tokens import Tokens as Roberta

__all__ = ["Tokens", "sentence"]


class Tokens:
    """Captions to ids with RoBERTa's marks, padded to the longest of a batch, cut to ``max_tokens``."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, max_tokens: int) -> None:
        ids = {mark: found for mark in ROBERTA_MARKS if (found := tokenizer.token_to_id(mark)) is not None}
        missing = [mark for mark in ROBERTA_MARKS if mark not in ids]
        if missing or ids["<pad>"] != 1:
            raise ValueError(f"vocabulary: has no {', '.join(missing) or '<pad>, id 1'}: not a RoBERTa vocabulary")
        begin, padding, end, _, mask = (ids[mark] for mark in ROBERTA_MARKS)
        self.marks = Marks(begin, end, mask, padding)
        self._roberta = Roberta(tokenizer, padding, max_tokens)
        self.size = self._roberta.size

    @classmethod
    def read(cls, folder: Path, max_tokens: int) -> Tokens:
        """From a folder with ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``; FileNotFoundError without."""
        return cls(Roberta.read(folder, "roberta", 1, max_tokens).tokenizer, max_tokens)

    @classmethod
    def learn(cls, texts: Sequence[str], size: int, max_tokens: int) -> Tokens:
        """A vocabulary of at most ``size``: the marks, the 256 bytes and merges of what occurs in ``texts`` twice."""
        return cls(learn_roberta([sentence(text) for text in texts], size), max_tokens)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``."""
        self._roberta.save(folder)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """int64 [n, t]."""
        return torch.from_numpy(self._roberta([sentence(text) for text in texts])[0])


def sentence(text: str) -> str:
    """``text`` without space around it and with exactly one full stop at its end."""
    return text.strip().rstrip(".").rstrip() + "."
