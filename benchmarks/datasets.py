"""Data sets for measurements: base, training sample, held-out queries and exact answers, built once and cached.

Text sets are embedded by the packaged MiniLM or bge-small, pictures by EfficientNet. The cache is ``$BEBR_DATA``, else
``~/.cache/bebr``; a file's name holds the checksum of what it was made from, so a changed source makes a new file and
never a wrong one.

Build and describe from a shell: ``python -m benchmarks.datasets wordnet debian``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import Progress, TaskID

from bebr.files import replacing
from benchmarks import encoders, output, sources

__all__ = ["Dataset", "cache", "checksum", "embedded", "exact", "load", "load_or_say", "names"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

QUERIES = 1_000
TRAIN = 60_000
TRUTH_DEPTH = 100
SEED = 0

# What the published figures were measured on. apt's descriptions change by the day, so they have none.
EXPECTED: dict[str, str] = {
    "wordnet": "38d83c28d46d649cd305055da8fefa64ed4ff83bfeaf08ee39318d546ef05867",
    "glove": "2d8f854bb078949c98db4af235d14e5834efa7e3c3058af5855016d2ba060c3c",
    "french": "f313e08a3b4efe52fd8364fbb58a4edbe76a0ab47c917766ad747fc64b98c8ab",
    "openclipart": "e2408826be617cc75d2f0c5ccabb7ef7ea22f03a10948edaf661237515bc99e6",
    "fashion": "f6dbbc68019e1afed449c7e2130a3c1080565792ee36a6e205901fae1ff56d3b",
}

_TEXTS: dict[str, tuple[Callable[[], list[str]], int]] = {
    # Most long descriptions say what a package is in their first 64 word pieces; reading on doubles the time.
    "debian": (sources.debian, 64),
    "wordnet": (sources.wordnet, 64),
    "docstrings": (lambda: [document.text for document in sources.docstrings()], 64),
}
_PRODUCERS = ("minilm", "bge")
_FEWER_QUERIES = {"openclipart": 500}  # of 6,900 pictures


@dataclass(frozen=True)
class Dataset:
    """``base`` float32 ``[n, d]`` to search, ``train`` (a sample of it, for those that learn), ``queries`` not in it.

    ``checksum`` is the SHA-256 of the source texts, or of the vectors where the source is vectors.
    """

    name: str
    metric: str
    checksum: str
    base: Floats
    train: Floats
    queries: Floats

    def truth(self, k: int = 10) -> Ids:
        """Rows of the exact top ``k`` (at most 100) for each query, int64 ``[queries, k]``, best first; cached."""
        if not 1 <= k <= TRUTH_DEPTH:
            raise ValueError(f"k: got {k}, wanted 1 to {TRUTH_DEPTH}")
        # The vectors are hashed, not the texts: two builds may have embedded the same texts in different arithmetic.
        key = hashlib.sha256()
        for part in (self.metric.encode(), self.base.tobytes(), self.queries.tobytes()):
            key.update(part)
        path = cache() / f"{self.name}-truth-{key.hexdigest()[:16]}.npy"
        if not path.is_file():
            _write(path, exact(self.base, self.queries, TRUTH_DEPTH, self.metric))
        answers: Ids = np.load(path)[:, :k]
        return answers

    def recall(self, found: Ids) -> float:
        """Mean share of ``found`` int64 ``[queries, k]`` that is in the exact top k, rows as good as the k-th included.

        Texts that embed alike are many in some sets (debian): whoever orders equal scores by row, as ``truth`` does,
        would otherwise win where nothing was found better. Scores within a millionth are equal. -1 and repeated ids
        miss.
        """
        worst = self._scores(self.truth(found.shape[1])[:, -1:])
        scores = self._scores(np.maximum(found, 0))
        right = (scores >= worst - 1e-6 * np.maximum(np.abs(worst), 1e-30)) & (found >= 0)
        order = np.argsort(found, axis=1, kind="stable")
        ascending = np.take_along_axis(found, order, axis=1)
        repeated = np.zeros(found.shape, bool)
        np.put_along_axis(repeated, order[:, 1:], ascending[:, 1:] == ascending[:, :-1], axis=1)
        return float((right & ~repeated).mean())

    def _scores(self, rows: Ids) -> npt.NDArray[np.float64]:
        """Scores float64 ``[queries, any]`` of rows; for l2 the negative squared distance."""
        scores = np.empty(rows.shape)
        for i, query in enumerate(self.queries.astype(np.float64)):
            x = self.base[rows[i]].astype(np.float64)
            if self.metric == "l2":
                scores[i] = -((x - query) ** 2).sum(axis=1)
            else:
                unit = np.maximum(np.linalg.norm(x, axis=1), 1e-30) if self.metric == "cosine" else 1.0
                scores[i] = x @ query / unit
        return scores


def names() -> list[str]:
    """Names that ``load`` knows."""
    return [*_TEXTS, "debian-bge", "docstrings-bge", "glove", "french", "openclipart", "fashion"]


def cache() -> Path:
    """The folder of built sets, made on first use."""
    folder = Path(os.environ.get("BEBR_DATA") or Path.home() / ".cache" / "bebr").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def checksum(content: Sequence[str | Path] | Floats) -> str:
    """SHA-256 of an array's bytes, or of texts or files (each with its length, so that boundaries count)."""
    digest = hashlib.sha256()
    if isinstance(content, np.ndarray):
        digest.update(content.tobytes())
    else:
        for part in content:
            raw = part.read_bytes() if isinstance(part, Path) else part.encode()
            digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


def load(name: str, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """Read or build the set called ``name``; ``progress(done, total)`` follows an embedding run.

    The split depends on the seed and the number of rows alone: 1,000 queries (500 of openclipart) leave the base, and
    up to 60,000 rows of the base are the training sample. Row i of ``debian-bge`` is the text of row i of ``debian``,
    in every part. Raises KeyError for an unknown name, sources.MissingSource where a package is absent.
    """
    generator = np.random.default_rng(SEED)
    if name == "fashion":
        base, test = sources.fashion()
        queries = test[np.sort(generator.permutation(len(test))[:QUERIES])]
        metric, found = "l2", checksum(base)
    elif name in names():
        vectors, found = _rows(name, progress)
        order, count = generator.permutation(len(vectors)), _FEWER_QUERIES.get(name, QUERIES)
        queries, base = vectors[order[:count]], vectors[np.sort(order[count:])]
        metric = "cosine"
    else:
        raise KeyError(f"name: no data set is called {name!r}; known: {', '.join(names())}")
    if name in EXPECTED and found != EXPECTED[name]:
        warnings.warn(
            f"{name}: the installed source is not the one the published figures were measured on "
            f"(checksum {found[:16]}, expected {EXPECTED[name][:16]}); figures may differ",
            stacklevel=2,
        )
    sample = np.sort(generator.permutation(len(base))[:TRAIN])
    return Dataset(name, metric, found, base, base[sample], queries)


def load_or_say(name: str, say: Callable[[str], object]) -> Dataset | None:
    """The set called ``name``, or None once ``say`` was told why there is none."""
    try:
        return load(name)
    except (KeyError, sources.MissingSource) as error:
        say(str(error.args[0]))
        return None


def _rows(name: str, progress: Callable[[int, int], None] | None) -> tuple[Floats, str]:
    """All vectors of a set that has no split of its own, and the checksum of its source."""
    if name in ("glove", "french"):
        vectors = sources.glove() if name == "glove" else sources.french()
        return vectors, checksum(vectors)
    if name == "openclipart":
        files = sources.openclipart()
        found = checksum(files)
        return _kept(f"{name}-{found[:16]}-efficientnet", found, encoders.EfficientNet, files, progress), found
    source, _, producer = name.partition("-")
    read, max_tokens = _TEXTS[source]
    texts = read()
    return embedded(source, texts, max_tokens, progress, producer or "minilm"), checksum(texts)


def embedded(
    name: str,
    texts: Sequence[str],
    max_tokens: int = 64,
    progress: Callable[[int, int], None] | None = None,
    producer: str = "minilm",
) -> Floats:
    """Vectors of ``texts`` by ``"minilm"`` or ``"bge"``, float32 ``[n, 384]`` in their order, from the cache if there.

    Beside the vectors lies a JSON record: checksum of the texts, producer, and checksum of the vectors, which is
    verified whenever they are read. Raises ValueError naming the file where it does not hold.
    """
    if producer not in _PRODUCERS:
        raise ValueError(f"producer: got {producer!r}, wanted one of {', '.join(_PRODUCERS)}")
    source = checksum(texts)

    def made() -> Any:
        if producer == "bge":
            return encoders.BGE(max_tokens)
        # Imported here and by name: only building a set needs this encoder, and it needs torch.
        return importlib.import_module("bebr.models").load("minilm", max_tokens=max_tokens)

    return _kept(f"{name}-{source[:16]}-{producer}{max_tokens}", source, made, texts, progress, max_tokens=max_tokens)


def _kept(
    stem: str,
    source: str,
    producer: Callable[[], Any],
    items: Sequence[str | Path],
    progress: Callable[[int, int], None] | None,
    **facts: Any,
) -> Floats:
    """The vectors of ``items`` from the cache, or made by ``producer()`` and put there."""
    path, record = cache() / f"{stem}.npy", cache() / f"{stem}.json"
    if record.is_file():
        recorded = json.loads(record.read_text())["vectors_sha256"]
        vectors: Floats = np.load(path)
        if (found := checksum(vectors)) != recorded:
            raise ValueError(f"{path}: checksum {found[:16]}, recorded {recorded[:16]}: delete it and its .json")
        return vectors
    encoder = producer()
    vectors = encoder.embed(items, progress=progress)
    _write(path, vectors)
    facts |= {
        "items": len(items),
        "source_sha256": source,
        "vectors_sha256": checksum(vectors),
        "producer": encoder.name,
        "version": encoder.version,
    }
    record.write_text(json.dumps(facts, indent=1) + "\n")  # last: its presence says that the vectors are whole
    return vectors


def exact(base: Floats, queries: Floats, k: int, metric: str) -> Ids:
    """Exact top ``k`` rows of ``base`` for each query, int64 ``[queries, k]``; equal scores go to the lower row.

    Candidates come from float32 products, their order from float64 ones.
    """
    k = min(k, len(base))
    wide = np.asarray(base, dtype=np.float64)
    norms = np.einsum("nd,nd->n", wide, wide)
    if metric == "cosine":
        scale, shift = 1 / np.sqrt(np.maximum(norms, np.finfo(np.float64).tiny)), np.zeros(len(base))
    elif metric == "l2":
        scale, shift = np.full(len(base), 2.0), -norms
    else:
        scale, shift = np.ones(len(base)), np.zeros(len(base))
    pool = min(len(base), k + 32)
    answers = np.empty((len(queries), k), dtype=np.int64)
    scale32, shift32 = scale.astype(np.float32), shift.astype(np.float32)
    for start in range(0, len(queries), 128):
        block = queries[start : start + 128]
        rough = (block @ base.T) * scale32 + shift32
        near = np.sort(np.argpartition(-rough, pool - 1, axis=1)[:, :pool], axis=1)
        for row, candidates in enumerate(near):
            scores = (wide[candidates] @ block[row].astype(np.float64)) * scale[candidates] + shift[candidates]
            answers[start + row] = candidates[np.argsort(-scores, kind="stable")[:k]]
    return answers


def _write(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Write whole or not at all: an interrupted build must not leave half a file under the final name."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the sets named on the command line and print what they hold; 1 where a source is absent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.datasets", description="Build and cache data sets.")
    parser.add_argument("names", nargs="*", default=names(), metavar="NAME", help=f"of: {', '.join(names())}")
    console = output.console()
    failed = False
    for name in parser.parse_args(arguments).names:
        with Progress(console=console) as bar:
            task = bar.add_task(name, total=None)

            def report(done: int, total: int, bar: Progress = bar, task: TaskID = task) -> None:
                bar.update(task, completed=done, total=total)

            try:
                data = load(name, report)
                data.truth(10)
            except (sources.MissingSource, KeyError) as error:
                console.print(str(error.args[0]))
                failed = True
                continue
            bar.update(task, completed=1, total=1)
        console.print(
            f"{name}: base {data.base.shape}, train {len(data.train)}, queries {len(data.queries)}, "
            f"{data.metric}, checksum {data.checksum[:16]}",
            soft_wrap=True,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
