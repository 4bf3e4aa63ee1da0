"""Search by words: the inverted index of a segment file beside SQLite FTS5 and tantivy, on the same rows and queries.

Rows have 20 to 80 words drawn by Zipf's law of 200,000; a query has three words of one row, some of them common.
Figures are CPU times of this process, all its threads: the machine may have other work.

    python -m benchmarks.text_search [--rows 100000]     # tantivy beside them where it is installed
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import bebr

_WORDS, _DIM, _K, _BATCH, _QUERIES = 200_000, 8, 10, 10_000, 100


def rows_of_words(rows: int, seed: int) -> Iterator[list[str]]:
    """Words of each row, by Zipf's law."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, _WORDS + 1)
    ends = np.cumsum(shares / shares.sum())
    for _ in range(rows):
        drawn = np.searchsorted(ends, rng.random(rng.integers(20, 81)))
        yield [f"w{number}" for number in np.minimum(drawn, _WORDS - 1).tolist()]


class Ours:
    """A collection whose field is declared as text, of vectors that cost little."""

    name = "bebr"

    def __init__(self, folder: Path, text: str | None = "body") -> None:
        self._folder = folder
        self._db = bebr.open(folder)
        self._docs = self._db.create_collection("docs", dim=_DIM, keep=None, text=text)
        self._vectors = np.random.default_rng(0).standard_normal((_BATCH, _DIM), np.float32)

    def add(self, begin: int, texts: list[str]) -> None:
        ids = np.arange(begin, begin + len(texts))
        self._docs.upsert(ids, self._vectors[: len(texts)], [{"body": text} for text in texts])

    def finish(self) -> None:
        self._docs.settle()

    def search(self, words: list[str]) -> list[int]:
        found: list[int] = self._docs.search(None, _K, text=" ".join(words)).ids[0].tolist()
        return found

    def size(self) -> int:
        return sum(file.stat().st_size for file in (self._folder / "segments").iterdir())


class Plain(Ours):
    """The same without words: what is left of these figures is theirs."""

    name = "bebr without text"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None)


class Fts5:
    """A table of words alone: the texts are elsewhere, as they are for the others."""

    name = "SQLite FTS5"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "words.db"
        self._db = sqlite3.connect(self._file)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("CREATE VIRTUAL TABLE words USING fts5(body, content='')")

    def add(self, begin: int, texts: list[str]) -> None:
        self._db.executemany("INSERT INTO words (rowid, body) VALUES (?, ?)", enumerate(texts, begin))
        self._db.commit()

    def finish(self) -> None:
        self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
        self._db.commit()
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def search(self, words: list[str]) -> list[int]:
        query = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?"
        return [row for (row,) in self._db.execute(query, (" OR ".join(words), _K))]

    def size(self) -> int:
        return self._file.stat().st_size


class Tantivy:
    """One writing thread; ids are stored, texts are not."""

    name = "tantivy"

    def __init__(self, folder: Path) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_integer_field("id", stored=True)
        builder.add_text_field("body", index_option="freq")
        self._tantivy, self._folder = tantivy, folder
        self._index = tantivy.Index(builder.build(), path=str(folder))
        self._writer = self._index.writer(256 << 20, 1)

    def add(self, begin: int, texts: list[str]) -> None:
        for id, text in enumerate(texts, begin):
            self._writer.add_document(self._tantivy.Document(id=id, body=text))
        self._writer.commit()

    def finish(self) -> None:
        self._writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()

    def search(self, words: list[str]) -> list[int]:
        query = self._index.parse_query(" ".join(words), ["body"])
        return [self._searcher.doc(at)["id"][0] for _, at in self._searcher.search(query, _K).hits]

    def size(self) -> int:
        return sum(file.stat().st_size for file in self._folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", help="the one of this name: bebr, SQLite FTS5 or tantivy")
    options = parser.parse_args()
    rows = options.rows
    queries = [list(dict.fromkeys(words))[:3] for words in rows_of_words(_QUERIES, seed=1)]
    print(f"{rows:,} rows, {_QUERIES} queries of three words, k = {_K}; CPU times")
    kinds: list[type[Ours] | type[Fts5] | type[Tantivy]] = [Plain, Ours, Fts5, Tantivy]
    for make in kinds:
        if options.only not in (None, make.name):
            continue
        with tempfile.TemporaryDirectory(prefix="text-", dir=".") as folder:
            try:
                index = make(Path(folder))
            except ImportError:
                print("tantivy is not installed: left out")
                continue
            _measure(index, rows, queries)


def _measure(index: Ours | Fts5 | Tantivy, rows: int, queries: list[list[str]]) -> None:
    spent, batch, begin = 0.0, list[str](), 0
    for number, words in enumerate(rows_of_words(rows, seed=0), 1):
        batch.append(" ".join(words))
        if len(batch) == _BATCH or number == rows:
            start = time.process_time()
            index.add(begin, batch)
            spent += time.process_time() - start
            begin, batch = number, []
    start = time.process_time()
    index.finish()
    spent += time.process_time() - start
    line = f"{index.name:18} built in {1e6 * spent / rows:6.1f} µs a row, {index.size() / rows:6.1f} bytes a row"
    if not isinstance(index, Plain):
        for words in queries[:10]:
            index.search(words)
        taken = []
        for words in queries:
            start = time.process_time()
            index.search(words)
            taken.append(1000 * (time.process_time() - start))
        line += f", a query {statistics.median(taken):5.2f} ms, 95 of 100 below {np.percentile(taken, 95):5.2f} ms"
    print(line, flush=True)


if __name__ == "__main__":
    main()
