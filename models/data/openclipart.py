"""Debian's clip art (``openclipart-svg``, public domain): drawings with the titles and keywords of their authors."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path

from bebr.models.data.sources import MissingSource, checksum, verified
from bebr.models.data.splits import split

__all__ = ["FOLDER", "Clip", "load"]

FOLDER = Path("/usr/share/openclipart")

# The files are XML of many programs, some of it broken further down: the head is read by its marks, not parsed.
_WORK = re.compile(rb"<(?:\w+:)?Work\b.*?</(?:\w+:)?Work>", re.DOTALL)
_TITLE = re.compile(rb"<dc:title\b[^>]*>([^<]*)</dc:title>")
_SUBJECT = re.compile(rb"<dc:subject\b[^>]*>(.*?)</dc:subject>", re.DOTALL)
_WORD = re.compile(rb"<rdf:li\b[^>]*>([^<]*)</rdf:li>")


@dataclass(frozen=True)
class Clip:
    """``key``: path below the ``svg`` folder, without its suffix; ``category``: the folders it lies in.

    ``svg`` is the drawing; ``png`` the same as pixels where ``openclipart-png`` is installed, else None.
    """

    key: str
    title: str
    keywords: tuple[str, ...]
    category: str
    svg: Path
    png: Path | None

    @property
    def text(self) -> str:
        """Title and keywords in one line."""
        return ": ".join(part for part in (self.title, ", ".join(self.keywords)) if part)


def load(folder: Path = FOLDER) -> list[Clip]:
    """The drawings that have a title or keywords, by key. Raises MissingSource where there is none."""
    clips, found = [], []
    for svg in sorted((folder / "svg").rglob("*.svg")):
        content = svg.read_bytes()
        title, keywords = _described(content)
        if title or keywords:
            place = svg.relative_to(folder / "svg").with_suffix("")
            png = (folder / "png" / place).with_suffix(".png")
            category = place.parent.as_posix()
            clips.append(Clip(place.as_posix(), title, keywords, category, svg, png if png.is_file() else None))
            found.append(content)
    if not clips:
        raise MissingSource(f"openclipart: no drawing under {folder}: apt-get install openclipart-svg")
    verified("openclipart", checksum(found))
    return clips


def parts(clips: list[Clip], seed: int = 0) -> dict[str, list[int]]:
    """Rows of train, validation and test. Drawings of one title go together: many are variants of each other."""
    return split([clip.title.lower() or clip.key for clip in clips], seed=seed)


def _described(content: bytes) -> tuple[str, tuple[str, ...]]:
    work = _WORK.search(content)
    if work is None:
        return "", ()
    title = _TITLE.search(work[0])
    subject = _SUBJECT.search(work[0])
    words = [] if subject is None else [_text(word) for word in _WORD.findall(subject[1])]
    # "hash" is what the collection's own upload form left in front of the keywords
    return _text(title[1]) if title else "", tuple(dict.fromkeys(word for word in words if word not in ("", "hash")))


def _text(raw: bytes) -> str:
    return " ".join(html.unescape(raw.decode("utf-8", errors="replace")).split())
