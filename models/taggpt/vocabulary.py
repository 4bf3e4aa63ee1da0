"""The tag system: what the model names often enough, with tags of one meaning merged under the most frequent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bebr.models.files import replacing
from bebr.models.producer import Producer
from bebr.models.taggpt import prompts
from bebr.models.taggpt.matching import Coded, Matching, check_radius, groups
from bebr.models.taggpt.port import LanguageModel, ask
from bebr.models.taggpt.prompts import TextFields
from bebr.models.taggpt.replies import normal, parse

__all__ = ["MERGE", "Entry", "Vocabulary", "build", "counted", "frequent", "merged"]

LEAST, MERGE = 3, 0.95
_CHUNK = 256


@dataclass(frozen=True)
class Entry:
    """One tag, how often it was named, and what was merged into it (whose counts it does not have)."""

    tag: str
    count: int
    merged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """Tags by falling count. ``save`` writes a line of JSON each: ``{"tag": ..., "count": ..., "merged": [...]}``."""

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for entry in self.entries:
            for tag in (entry.tag, *entry.merged):
                if normal(tag) != tag or not tag:
                    raise ValueError(f"vocabulary: got {tag!r}, wanted a tag as replies.normal gives it")
                if tag in seen:
                    raise ValueError(f"vocabulary: {tag!r} is there twice")
                seen.add(tag)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def tags(self) -> list[str]:
        return [entry.tag for entry in self.entries]

    @classmethod
    def of(cls, tags: Iterable[str]) -> Vocabulary:
        """Of tags that somebody wrote; they are normalised, and those that become equal stand once."""
        return cls(tuple(Entry(tag, 0) for tag in dict.fromkeys(map(normal, tags)) if tag))

    def save(self, path: str | Path) -> None:
        """The whole file or none."""
        with replacing(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
            for entry in self.entries:
                record = {"tag": entry.tag, "count": entry.count, "merged": list(entry.merged)}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """What ``save`` wrote. FileNotFoundError; ValueError naming a line that is not an entry."""
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such vocabulary")
        entries = []
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                tag, count, others = record["tag"], record["count"], record.get("merged", [])
                if not (isinstance(others, list) and all(isinstance(one, str) for one in [tag, *others])):
                    raise TypeError("wanted a string as 'tag' and strings as 'merged'")
                if not isinstance(count, int):
                    raise TypeError("wanted a whole number as 'count'")
                entries.append(Entry(tag, count, tuple(others)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}: line {number}: not an entry of a vocabulary: {error}") from error
        try:
            return cls(tuple(entries))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def counted(replies: Iterable[str]) -> Counter[str]:
    """In how many replies each tag stands."""
    return Counter(tag for reply in replies for tag in parse(reply))


def frequent(counts: Counter[str], least: int = LEAST) -> list[tuple[str, int]]:
    """Tags named at least so often, by falling count, then by name."""
    if least < 1:
        raise ValueError(f"least: got {least}, wanted at least 1")
    kept = [(tag, count) for tag, count in counts.items() if count >= least]
    return sorted(kept, key=lambda one: (-one[1], one[0]))


def merged(
    kept: Sequence[tuple[str, int]], producer: Producer, matching: Matching, radius: float = MERGE
) -> Vocabulary:
    """Merge what lies within ``radius`` of a more frequent tag into it."""
    check_radius("radius", radius)
    if not kept:
        return Vocabulary(())
    x = producer.embed([tag for tag, _ in kept])
    found = groups(matching.over(x), x, radius)
    entries = []
    for first, *others in found:
        tag, count = kept[first]
        entries.append(Entry(tag, count, tuple(kept[row][0] for row in others)))
    return Vocabulary(tuple(entries))


def build(
    items: Iterable[TextFields],
    model: LanguageModel,
    producer: Producer,
    matching: Matching | None = None,
    *,
    samples: int = 5,
    least: int = LEAST,
    radius: float = MERGE,
    seed: int = 0,
    cut: int = prompts.CUT,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Vocabulary:
    """Tag generation, frequency filter and semantic deduplication over ``items``, which are read once and not held.

    samples   answers asked for each item
    least     a tag has to stand in so many answers, whatever items they were about
    radius    a tag at least this near to a more frequent one is merged into it; ``matching`` is ``Coded()`` if None
    progress  called with the number of items done

    Raises ValueError naming an argument out of range, or where no tag is frequent enough; LanguageModelError.
    """
    check_radius("radius", radius)
    counts: Counter[str] = Counter()
    stream, done = iter(items), 0
    while chunk := list(islice(stream, _CHUNK)):
        asked = [prompts.generation(text_fields, seed, cut) for text_fields in chunk if prompts.has_text(text_fields)]
        for replies in ask(model, asked, samples, workers):
            counts.update(counted(replies))
        done += len(chunk)
        if progress is not None:
            progress(done)
    kept = frequent(counts, least)
    if not kept:
        raise ValueError(f"items: of {done}, no tag was named {least} times: give more items, or a smaller least")
    return merged(kept, producer, matching or Coded(), radius)
