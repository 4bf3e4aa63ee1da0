"""Refiners: by rules, offline, and by a language model (TagGPT's client, or its recorded answers)."""

from __future__ import annotations

from bebr.models.caption_anything.port import Controls
from bebr.models.taggpt.port import LanguageModel, ask

__all__ = ["ByModel", "ByRules", "keeps_length"]

_FILLING = "that can be seen here in this picture, shown on its own and apart from all that lies around it"
_TONE = {"positive": "lovely", "negative": "dreary"}


def keeps_length(text: str, length: int) -> bool:
    """Whether ``text`` has ``length`` words, give or take a fifth."""
    return abs(len(text.split()) - length) <= length / 5


class ByRules:
    """Cuts a caption or fills it up to its length, and puts an adjective in front. English alone, and it adds nothing
    about the thing: other languages, imagination and factuality are a ValueError."""

    def __call__(self, text: str, controls: Controls) -> str:
        if controls.language != "English":
            raise ValueError(f"language: got {controls.language!r}, but rules write English: it takes a language model")
        if controls.imagination or controls.factuality:
            raise ValueError("imagination, factuality: rules have none: it takes a language model")
        words = text.split()
        if controls.sentiment in _TONE:
            words = [_TONE[controls.sentiment], *words]
        if controls.length is not None:
            while len(words) < controls.length:
                words += _FILLING.split()
            words = words[: controls.length]
        return " ".join(words)


class ByModel:
    """Asks a language model, as ``taggpt.Chat(url, model, temperature=0)``, to rewrite the caption.

    A reply that misses the length is asked for again, up to ``tries`` in all; the nearest counts. Replies are brought
    to one line without quotation marks around it.
    """

    def __init__(self, model: LanguageModel, tries: int = 3) -> None:
        if tries < 1:
            raise ValueError(f"tries: got {tries}, wanted at least 1")
        self.model, self.tries = model, tries

    def __call__(self, text: str, controls: Controls) -> str:
        wanted = controls.length
        replies: list[str] = []
        for _ in range(self.tries):
            prompt = _prompt(text, controls, replies[-1] if replies else None)
            (answers,) = ask(self.model, [prompt], 1)
            replies.append(" ".join(answers[0].split()).strip("\"'“”"))
            if wanted is None or keeps_length(replies[-1], wanted):
                return replies[-1]
        return min(replies, key=lambda reply: abs(len(reply.split()) - (wanted or 0)))


def _prompt(text: str, controls: Controls, missed: str | None) -> str:
    """What is asked. The words are ours, in English."""
    rules = [f"Write in {controls.language}."]
    if controls.length is not None:
        rules.append(f"Use {controls.length} words.")
    rules.append(f"The tone is {controls.sentiment}.")
    rules.append("You may invent details beyond what is described." if controls.imagination else "Invent no details.")
    if controls.factuality:
        rules.append("Add one thing that is generally known about what is described.")
    if missed is not None:
        rules.append(f"This earlier answer has {len(missed.split())} words, which is wrong: {missed}")
    listed = "\n".join(f"- {rule}" for rule in rules)
    asked = f"A part of a picture is described so: {text}\nRewrite the description by these rules:\n{listed}"
    return f"{asked}\nAnswer with it alone."
