"""Reading tags out of what a language model wrote, whatever it wrote: lists, lines, JSON, prose around them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

__all__ = ["MOST", "normal", "parse"]

MOST = 50  # tags of one reply: a model that repeats itself without end must not fill the vocabulary
_CHARACTERS, _WORDS = 60, 5  # more than that is a sentence, not a tag
_SEPARATORS = re.compile(r"[|,;、\t\n]")
_NUMBERED = re.compile(r"^\s*(?:[-*•·]\s+|\(?\d{1,4}[.):]\s+|\d{1,6}\s*\|\|)")
_INTRODUCED = re.compile(r"^[^:,;|]{0,60}\b(?:tags?|keywords?|answers?|candidates)\b[^:,;|]{0,20}:", re.IGNORECASE)
_QUOTES = str.maketrans(dict.fromkeys('"“”„«»`', "") | {"’": "'", "‘": "'"})
_LEFT, _RIGHT = " .'*#•·-–—:!?[]{}<>…_\\", " .'*•·-–—:!?[]{}<>…_\\"  # "c#" keeps its end


def normal(text: str) -> str:
    """A tag as it is counted and compared: one case, single spaces, no quotes or full stops around it; "" where
    nothing is left or it is longer than a tag is. ``normal(normal(text)) == normal(text)``."""
    for _ in range(8):  # one step may uncover work for another; a few settle every text
        before = text
        text = unicodedata.normalize("NFKC", text.translate(_QUOTES)).lower()
        text = " ".join(text.split()).lstrip(_LEFT).rstrip(_RIGHT)
        if text == before:
            break
    else:
        return ""
    if not any(map(str.isalnum, text)) or len(text) > _CHARACTERS or text.count(" ") >= _WORDS:
        return ""
    return "" if _SEPARATORS.search(text) else text


def parse(reply: str, most: int = MOST) -> list[str]:
    """The tags of a reply, each once, in its order; [] where there are none. Any text is read, none is an error."""
    found: dict[str, None] = {}
    for line in _lines(reply):
        line = _INTRODUCED.sub("", _NUMBERED.sub("", line))
        if line.rstrip(" *").endswith(":"):  # "Here you are:"
            continue
        for part in _SEPARATORS.split(unicodedata.normalize("NFKC", line)):
            if tag := normal(part):
                found.setdefault(tag)
                if len(found) == most:
                    return list(found)
    return list(found)


def _lines(reply: str) -> Iterator[str]:
    lines = [line for line in reply.splitlines() if not line.lstrip().startswith("```")]
    text = "\n".join(lines).strip()
    if text.startswith(("[", "{")):
        try:
            yield from _strings(json.loads(text))
            return
        except (ValueError, RecursionError):  # cut off, or no JSON after all: brackets and quotes fall away below
            pass
    yield from lines


def _strings(value: Any) -> Iterator[str]:
    """Strings of a JSON list, or of the lists inside an object; single strings of an object are remarks."""
    for part in value if isinstance(value, list) else value.values():
        if isinstance(part, str) and isinstance(value, list):
            yield part
        elif isinstance(part, list):
            yield from (one for one in part if isinstance(one, str))
