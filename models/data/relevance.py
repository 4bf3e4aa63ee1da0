"""Sets of documents, queries and judgements, as Cranfield: from a folder that the user has. Nothing is fetched.

Two layouts are read. *BEIR*: ``corpus.jsonl`` and ``queries.jsonl`` (``_id``, ``title``, ``text``) and ``qrels/*.tsv``
or ``qrels.tsv`` (query, document, grade; one line of heading). *SMART*, as the Cranfield and CISI collections come:
``.I``, ``.T``, ``.W`` records in ``*.all*`` and ``*.qry``, and judgements in ``*rel``, in any case.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bebr.models.data.sources import MissingSource, checksum

__all__ = ["Judged", "load"]


@dataclass(frozen=True)
class Judged:
    """``documents`` and ``queries`` by id; ``grades[query][document]`` is at least 1, and higher is better.

    Queries without a relevant document are there and have no grades.
    """

    documents: dict[str, str]
    queries: dict[str, str]
    grades: dict[str, dict[str, int]]
    checksum: str


def load(folder: str | Path) -> Judged:
    """Read the set in ``folder``. Raises MissingSource saying which files it wants, ValueError naming a line that is
    wrong or judges a query or document that is not there."""
    path = Path(folder).expanduser()
    if (path / "corpus.jsonl").is_file():
        files = [path / "corpus.jsonl", path / "queries.jsonl", *sorted(path.glob("qrels.tsv"))]
        files += sorted((path / "qrels").glob("*.tsv"))
        if len(files) > 2 and files[1].is_file():
            return _judged(files, dict(_json(files[0])), dict(_json(files[1])), [_tsv(one) for one in files[2:]])
    names = sorted(one for one in path.glob("*") if one.is_file()) if path.is_dir() else []
    found = [
        next((one for one in names if fits(one.name.lower())), None)
        for fits in (
            lambda name: ".all" in name and not name.startswith("query"),
            lambda name: name.endswith((".qry", ".query")),
            lambda name: name.endswith("rel") or "qrel" in name,
        )
    ]
    smart = [one for one in found if one is not None]
    if len(smart) < 3:
        raise MissingSource(
            f"relevance: {path}: wanted corpus.jsonl, queries.jsonl and qrels/*.tsv, or the SMART files "
            "*.all, *.qry and *rel (as cran.all.1400, cran.qry, cranqrel)"
        )
    every = dict(_records(smart[0]))
    documents = {number: text for number, text in every.items() if text}
    # Judgements number the queries by their order in the file; the .I numbers of Cranfield have gaps.
    queries = {str(place): text for place, (_, text) in enumerate(_records(smart[1]), 1)}
    return _judged(smart, documents, queries, [_smart_judgements(smart[2], every)])


def _judged(
    files: list[Path],
    documents: dict[str, str],
    queries: dict[str, str],
    judgements: list[Iterator[tuple[str, str, str, int]]],
) -> Judged:
    grades: dict[str, dict[str, int]] = {}
    for lines in judgements:
        for where, query, document, grade in lines:
            for name, one, known in (("query", query, queries), ("document", document, documents)):
                if one not in known:
                    raise ValueError(f"{where}: {name} {one!r} is not in the set")
            if grade > 0:
                grades.setdefault(query, {})[document] = grade
    return Judged(documents, queries, grades, checksum(one.read_bytes() for one in files))


def _json(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if line.strip():
            try:
                record = json.loads(line)
                yield str(record["_id"]), f"{record.get('title') or ''} {record['text']}".strip()
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}: line {number}: wanted an object with _id and text: {error}") from error


def _tsv(path: Path) -> Iterator[tuple[str, str, str, int]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[1:], 2):
        if line.strip():
            where = f"{path}: line {number}"
            try:
                query, document, grade = line.rstrip("\r").split("\t")
                yield where, query, document, int(grade)
            except ValueError as error:
                raise ValueError(f"{where}: wanted query, document and a whole grade between tabs") from error


def _records(path: Path) -> Iterator[tuple[str, str]]:
    """(.I number, title and text) of each record; other fields (authors, references) are left out."""
    number, field, kept = "", "", {"T": [], "W": []}  # type: str, str, dict[str, list[str]]
    for line in path.read_text(encoding="latin-1").split("\n"):
        if line.startswith(".I"):
            if number:
                yield number, _joined(kept)
            number, field, kept = line[2:].strip(), "", {"T": [], "W": []}
        elif len(line.rstrip()) == 2 and line.startswith(".") and line[1].isupper():
            field = line[1]
        elif field in kept:
            kept[field].append(line)
    if number:
        yield number, _joined(kept)


def _joined(fields: dict[str, list[str]]) -> str:
    title, text = (" ".join(" ".join(fields[name]).split()) for name in "TW")
    return text if text.startswith(title) else f"{title} {text}".strip()  # Cranfield's abstracts repeat the title


def _smart_judgements(path: Path, every: dict[str, str]) -> Iterator[tuple[str, str, str, int]]:
    """Query, document and, in Cranfield, a code. All codes but -1 (of no interest) are grade 1: published descriptions
    disagree on whether 1 or 4 is the best of them."""
    for number, line in enumerate(path.read_text(encoding="latin-1").split("\n"), 1):
        fields = line.split()
        if not fields:
            continue
        where = f"{path}: line {number}"
        try:
            query, document = str(int(fields[0])), str(int(fields[1]))
            grade = 0 if len(fields) == 3 and int(fields[2]) < 0 else 1
        except (ValueError, IndexError) as error:
            raise ValueError(f"{where}: wanted numbers of a query and a document") from error
        if every.get(document) != "":  # two of Cranfield's documents are empty
            yield where, query, document, grade
