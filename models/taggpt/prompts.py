"""What a language model is asked: tags for an item, or a choice among candidates. Both can be read back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["CUT", "Asked", "TextFields", "generation", "has_text", "read", "selection"]

TextFields = Mapping[str, str]  # what is known of an item, by field: title, caption, category, ...
CUT = 100  # characters of a text field that are told, as in the released code

_GENERATE = (
    "You tag the items of a collection. From an item's clues, name 3 to 10 short tags that someone would look for, "
    "the most fitting first. Answer with the tags alone, separated by commas."
)
_SELECT = (
    "You tag the items of a collection. Choose those candidates that fit the item's clues, the most fitting first. "
    "Answer with candidates alone, written as they are given, separated by commas."
)
_EXEMPLARS: tuple[tuple[dict[str, str], str], ...] = (
    (
        {"title": "Sourdough for beginners", "caption": "a round loaf of bread on a wooden board"},
        "bread, baking, sourdough, home cooking",
    ),
    (
        {"title": "How I store ten thousand photos", "category": "technology"},
        "photography, backup, data storage, home server",
    ),
    (
        {"title": "Night train to the north", "caption": "snow outside of a train window", "category": "travel"},
        "train travel, winter, scenery",
    ),
    ({"title": "Ten minutes of stretching after work", "category": "sport"}, "stretching, fitness, health, exercise"),
    (
        {"title": "Old clocks repaired", "caption": "hands holding a small brass gear"},
        "clock, repair, craft, antiques, mechanics",
    ),
)
# Words of the prompt itself: recorded answers are looked up by it, so they stay.
_ITEM, _CANDIDATES, _TAGS = "Clues:", "Candidates:", "Tags:"


@dataclass(frozen=True)
class Asked:
    """A prompt read back. ``candidates`` is None where tags are to be made up freely."""

    text_fields: dict[str, str]
    candidates: list[str] | None


def has_text(text_fields: TextFields) -> bool:
    """Whether any field says something."""
    return any(text.strip() for text in text_fields.values())


def generation(text_fields: TextFields, seed: int = 0, cut: int = CUT) -> str:
    """Ask for tags, after one of five examples of ours; which one depends on the text fields and ``seed`` alone."""
    item = _item(text_fields, cut)
    drawn = hashlib.sha256(f"{seed}:{item}".encode("utf-8", "surrogatepass")).digest()[0]
    example, tags = _EXEMPLARS[drawn % len(_EXEMPLARS)]
    return f"{_GENERATE}\n\n{_item(example, cut)}\n{_TAGS} {tags}\n\n{item}\n{_TAGS}"


def selection(text_fields: TextFields, candidates: Sequence[str], cut: int = CUT) -> str:
    """Ask for a choice among ``candidates``, tags that ``replies.normal`` would leave as they are."""
    return f"{_SELECT}\n\n{_item(text_fields, cut)}\n{_CANDIDATES} {', '.join(candidates)}\n{_TAGS}"


def read(prompt: str) -> Asked:
    """The item that a prompt of this module asks about. ValueError for any other text."""
    _, found, item = prompt.rpartition(f"\n{_ITEM}\n")
    if not found or not item.endswith(f"\n{_TAGS}"):
        raise ValueError(f"prompt: not one of bebr.models.taggpt.prompts: {prompt[-60:]!r}")
    text_fields: dict[str, str] = {}
    candidates = None
    for line in item.removesuffix(f"\n{_TAGS}").split("\n"):
        if line.startswith(_CANDIDATES):
            listed = line.removeprefix(_CANDIDATES).strip()
            candidates = listed.split(", ") if listed else []
        else:
            name, _, text = line.partition(": ")
            text_fields[name] = text
    return Asked(text_fields, candidates)


def _item(text_fields: TextFields, cut: int) -> str:
    """One line a text field. Its own line breaks go, so that no text can pose as another part of the prompt."""
    if cut < 1:
        raise ValueError(f"cut: got {cut}, wanted at least 1")
    lines = [_ITEM]
    for name, text in text_fields.items():
        label = " ".join(name.split())
        if not label or ":" in label:
            raise ValueError(f"text_fields: got the field name {name!r}, wanted some text without a colon")
        if f"{label}:" in (_ITEM, _CANDIDATES, _TAGS):
            raise ValueError(f"text_fields: the field name {name!r} has a meaning of its own in a prompt")
        if said := " ".join(text.split())[:cut].strip():
            lines.append(f"{label}: {said}")
    if len(lines) == 1:
        raise ValueError(
            f"text_fields: nothing is said in any field of {', '.join(text_fields) or 'an item without fields'}"
        )
    return "\n".join(lines)
