"""A stand-in for a language model: key phrases of the text fields themselves, by counting words. It knows nothing."""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict

from bebr.models.taggpt import prompts
from bebr.models.taggpt.replies import normal

__all__ = ["KeyPhrases"]

# Words that end a phrase: articles, pronouns, prepositions, auxiliaries, and verbs and adverbs that fill descriptions.
_WORDS_THAT_END = (
    "a about above across after again all allow allows almost along also although always am an and another any are "
    "around as at available aware back be because been before being below between both but by can cannot capable "
    "come common contains could different do does doing done down during each easily easy either enough etc even "
    "ever every few find first for from full further get give given gives good had has have having he help helps "
    "her here him his how however if in include included includes including instead into is it its itself just keep "
    "know known last least less let like lot made main make makes making many may me might more most much must my "
    "need needed needs new no nor not now number of off often on once one only or order other others our out over "
    "own part possible provide provided provides providing rather same see several she should simple simply since "
    "small so some still such support supports take than that the their them then there therefore these they this "
    "those three through thus to together too two under until up upon us use used useful user users uses using "
    "various very via want was way we well were what when where whether which while who whole whose why will with "
    "within without would you your"
)
_STOP = frozenset(_WORDS_THAT_END.split())
_WORD = re.compile(r"[^\W_]+(?:[-+#'.][^\W_]+)*[+#]*")
_WORDS = 3


class KeyPhrases:
    """Answers a prompt of ``prompts`` with phrases of its text fields, or with candidates whose words occur in them.

    Phrases are runs of words between stop words and punctuation, and the ends of such runs, for the head of an English
    noun phrase comes last: up to three words. A word scores its degree over its frequency, where its degree is the
    summed length of the runs it stands in, and a phrase the sum of its words (RAKE: Rose et al., 2010). A candidate
    scores the share of its words that the text fields hold. Several answers differ: each draws noise of standard
    deviation ``noise`` on the logarithm of each score, from a hash of text fields and tag, so that a candidate's chance
    does not hang on which others there are.

    It is there to run, test and measure the rest without a model. It cannot name what the text fields do not say, nor
    translate, generalise or judge: figures measured with it say nothing of a language model's tags.
    """

    def __init__(self, size: int = 8, noise: float = 0.3, seed: int = 0) -> None:
        if size < 1:
            raise ValueError(f"size: got {size}, wanted at least 1")
        if not 0 <= noise < float("inf"):
            raise ValueError(f"noise: got {noise}, wanted at least 0")
        self.size, self.noise, self.seed = size, noise, seed
        self.name = f"key phrases, {size} with noise {noise:g}, seed {seed}"

    def complete(self, prompt: str, n: int = 1) -> list[str]:
        """``n`` answers, the same for the same prompt and seed. ValueError for a prompt that is not of ``prompts``."""
        asked = prompts.read(prompt)
        texts = list(asked.text_fields.values())
        scores = _phrases(texts) if asked.candidates is None else _held(texts, asked.candidates)
        replies = []
        for sample in range(n):
            source = f"{self.seed}:{sample}:{texts}:"
            noisy = {tag: score * math.exp(self.noise * _gauss(source + tag)) for tag, score in scores.items()}
            replies.append(", ".join(sorted(noisy, key=lambda tag: (-noisy[tag], tag))[: self.size]))
        return replies


def _gauss(source: str) -> float:
    """A standard normal number that depends on ``source`` alone (Box and Muller)."""
    digest = hashlib.blake2b(source.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    a, b = (int.from_bytes(part, "big") + 0.5 for part in (digest[:8], digest[8:]))
    return math.sqrt(-2 * math.log(a / 2**64)) * math.cos(2 * math.pi * b / 2**64)


def _runs(texts: list[str]) -> list[list[str]]:
    runs = []
    for text in texts:
        for piece in re.split(r"[^\w\s+#'.-]+|\.(?:\s|$)|\s-+\s", text.casefold()):
            run: list[str] = []
            for word in [*_WORD.findall(piece), ""]:
                if word and word not in _STOP and len(word) > 1 and not word.isdecimal():
                    run.append(word)
                elif run:
                    runs.append(run)
                    run = []
    return runs


def _phrases(texts: list[str]) -> dict[str, float]:
    runs = _runs(texts)
    frequency: dict[str, int] = defaultdict(int)
    degree: dict[str, int] = defaultdict(int)
    for run in runs:
        for word in run:
            frequency[word] += 1
            degree[word] += len(run)
    found: dict[str, float] = {}
    for run in runs:
        for length in range(1, min(_WORDS, len(run)) + 1):
            words = run[-length:]
            if phrase := normal(" ".join(words)):
                found[phrase] = sum(degree[word] / frequency[word] for word in words)
    return found


def _held(texts: list[str], candidates: list[str]) -> dict[str, float]:
    said = {_stem(word) for text in texts for word in _WORD.findall(text.casefold())}
    shares = {}
    for tag in candidates:
        words = [_stem(word) for word in _WORD.findall(tag)]
        share = sum(word in said for word in words) / max(1, len(words))
        if share > 0:
            shares[tag] = share
    return shares


def _stem(word: str) -> str:
    """A word without the ending of its plural."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
