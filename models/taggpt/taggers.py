"""Tags of the vocabulary for an item: named freely and matched late, or matched early and chosen from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass
from typing import NamedTuple

from bebr.models.producer import Producer
from bebr.models.taggpt import prompts
from bebr.models.taggpt.matching import Coded, Matching, check_radius
from bebr.models.taggpt.port import LanguageModel, ask
from bebr.models.taggpt.prompts import TextFields
from bebr.models.taggpt.replies import parse
from bebr.models.taggpt.vocabulary import Vocabulary, counted

__all__ = ["Chosen", "GenerativeTagger", "SelectiveTagger"]

MATCH, CANDIDATES = 0.9, 10


class Chosen(NamedTuple):
    """A tag of the vocabulary, and how many votes it has."""

    tag: str
    votes: int


@dataclass
class _Tagger(ABC):
    """What both share: the vocabulary's vectors, searchable, and items in, tags out.

    model, producer  answers prompts; embeds texts (any producer of texts)
    matching         ``Coded()`` if None
    samples          answers asked for each item; workers: how many items are waited for at once
    seed, cut        of the prompts: which example is shown, characters of a text field
    """

    model: LanguageModel
    producer: Producer
    vocabulary: InitVar[Vocabulary]
    matching: InitVar[Matching | None] = None
    _: KW_ONLY
    samples: int = 5
    seed: int = 0
    cut: int = prompts.CUT
    workers: int = 1

    def __post_init__(self, vocabulary: Vocabulary, matching: Matching | None) -> None:
        if not len(vocabulary):
            raise ValueError("vocabulary: got no tag, wanted at least one")
        self.tags = vocabulary.tags
        self._searched = (matching or Coded()).over(self.producer.embed(self.tags))

    def tag(
        self, items: Sequence[TextFields], most: int | None = None, progress: Callable[[int, int], None] | None = None
    ) -> list[list[Chosen]]:
        """The tags of each item, most votes first, at most ``most``; none for an item without text fields."""
        if most is not None and most < 1:
            raise ValueError(f"most: got {most}, wanted at least 1")
        told = [place for place, text_fields in enumerate(items) if prompts.has_text(text_fields)]
        out: list[list[Chosen]] = [[] for _ in items]
        for place, chosen in zip(told, self._chosen([items[place] for place in told], progress), strict=True):
            out[place] = chosen[:most]
        return out

    @abstractmethod
    def _chosen(
        self, items: list[TextFields], progress: Callable[[int, int], None] | None
    ) -> Iterable[list[Chosen]]: ...


@dataclass
class GenerativeTagger(_Tagger):
    """Late matching: the model names tags freely, and every vocabulary tag within ``radius`` of one gets its votes.

    Ties in votes go to the more frequent tag of the vocabulary.
    """

    _: KW_ONLY
    radius: float = MATCH

    def __post_init__(self, vocabulary: Vocabulary, matching: Matching | None) -> None:
        check_radius("radius", self.radius)
        super().__post_init__(vocabulary, matching)

    def free(
        self, items: Sequence[TextFields], progress: Callable[[int, int], None] | None = None
    ) -> list[Counter[str]]:
        """What the model names for each item, before any matching: tags and their votes."""
        asked = [prompts.generation(text_fields, self.seed, self.cut) for text_fields in items]
        return [counted(replies) for replies in ask(self.model, asked, self.samples, self.workers, progress)]

    def matched(self, named: Sequence[Counter[str]]) -> list[list[Chosen]]:
        """Carry freely named tags over to the vocabulary; all of one call are searched at once."""
        unique = list(dict.fromkeys(tag for votes in named for tag in votes))
        offsets, _, ids = self._searched.within(self.producer.embed(unique), self.radius)
        rows = {tag: slice(offsets[place], offsets[place + 1]) for place, tag in enumerate(unique)}
        out = []
        for votes in named:
            total: Counter[int] = Counter()
            for tag, count in votes.items():
                for row in ids[rows[tag]].tolist():
                    total[row] += count
            order = sorted(total, key=lambda row: (-total[row], row))
            out.append([Chosen(self.tags[row], total[row]) for row in order])
        return out

    def _chosen(self, items: list[TextFields], progress: Callable[[int, int], None] | None) -> Iterable[list[Chosen]]:
        return self.matched(self.free(items, progress))


@dataclass
class SelectiveTagger(_Tagger):
    """Early matching: the ``candidates`` vocabulary tags nearest to each text field are offered, and the model chooses.

    What it answers beside them is dropped. Ties in votes go to the more frequent tag of the vocabulary.
    """

    _: KW_ONLY
    candidates: int = CANDIDATES

    def __post_init__(self, vocabulary: Vocabulary, matching: Matching | None) -> None:
        if self.candidates < 1:
            raise ValueError(f"candidates: got {self.candidates}, wanted at least 1")
        super().__post_init__(vocabulary, matching)

    def offered(self, items: Sequence[TextFields]) -> list[list[str]]:
        """The candidates of each item: the nearest tags of every field, together, the most frequent first."""
        fields = [
            (place, text) for place, text_fields in enumerate(items) for text in text_fields.values() if text.strip()
        ]
        _, ids = self._searched.nearest(self.producer.embed([text for _, text in fields]), self.candidates)
        found: list[set[int]] = [set() for _ in items]
        for (place, _), near in zip(fields, ids.tolist(), strict=True):
            found[place].update(row for row in near if row >= 0)
        return [[self.tags[row] for row in sorted(rows)] for rows in found]

    def _chosen(self, items: list[TextFields], progress: Callable[[int, int], None] | None) -> Iterable[list[Chosen]]:
        offered = self.offered(items)
        asked = [
            prompts.selection(text_fields, tags, self.cut) for text_fields, tags in zip(items, offered, strict=True)
        ]
        for tags, replies in zip(offered, ask(self.model, asked, self.samples, self.workers, progress), strict=True):
            places = {tag: place for place, tag in enumerate(tags)}
            votes = Counter(tag for reply in replies for tag in parse(reply) if tag in places)
            order = sorted(votes, key=lambda tag: (-votes[tag], places[tag]))
            yield [Chosen(tag, votes[tag]) for tag in order]
