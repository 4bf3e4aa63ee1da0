"""What a word is, and which words a payload has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from bebr.collection.field_values import values_at

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Runs of Unicode letters, digits and underscores, in compatibility form (NFKC) and casefolded; no stemming, no
    stop words. Scripts that write no spaces give a word a run."""
    # ASCII is its own NFKC, and its casefold is its lower case.
    plain = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(plain)


def payload_words(payload: dict[str, Any] | None, fields: Sequence[str]) -> list[str]:
    """The words of all strings at the dotted paths `fields`, elements of lists included."""
    if payload is None:
        return []
    paths = [tuple(field.split(".")) for field in fields]
    texts = (value for path in paths for value, _ in values_at(payload, path) if isinstance(value, str))
    return [word for text in texts for word in words(text)]
