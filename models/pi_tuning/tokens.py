"""OFA's texts: RoBERTa's byte pairs, whose ids OFA's own are up to 50,264; behind them OFA has codes of pictures and
places, which no text here uses. A text is lower case with a space before its first word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tokenizers
import torch
from torch import Tensor

from bebr.models.pi_tuning.network import PADDING
from bebr.models.simcse.tokens import Tokens as Roberta
from bebr.models.simcse.tokens import learn_roberta

__all__ = ["Tokens"]


class Tokens:
    """Texts to ids between marks of beginning and end, padded to the longest of a batch, cut to ``context``."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, context: int) -> None:
        if tokenizer.token_to_id("<pad>") != PADDING:
            raise ValueError(f"vocabulary: <pad> has the id {tokenizer.token_to_id('<pad>')}, wanted {PADDING}")
        self._roberta = Roberta(tokenizer, PADDING, context)
        self.size = self._roberta.size

    @classmethod
    def read(cls, folder: Path, context: int) -> Tokens:
        """From a folder with ``tokenizer.json``, or RoBERTa's ``vocab.json`` and ``merges.txt``; FileNotFoundError."""
        return cls(Roberta.read(folder, "roberta", PADDING, context).tokenizer, context)

    @classmethod
    def learn(cls, texts: Sequence[str], size: int, context: int) -> Tokens:
        """A vocabulary of at most ``size``: the marks, the 256 bytes and merges of what occurs in ``texts`` twice."""
        return cls(learn_roberta([_written(text) for text in texts], size), context)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``."""
        self._roberta.save(folder)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """int64 [n, t]."""
        return torch.from_numpy(self._roberta([_written(text) for text in texts])[0])


def _written(text: str) -> str:
    words = text.strip().lower()
    return f" {words}" if words else ""
