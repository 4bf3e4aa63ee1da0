"""Bulk build: a source larger than memory becomes the file of an IVFIndex, in bounded memory. A killed build continues.

Pass 1 learns the model and the centroids from a sample; pass 2 encodes and assigns, chunk by chunk, each chunk a file
whose rows are in the order of their lists; pass 3 merges the chunks, list after list, into the index file.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.bulk.budget import Budget, check_disk
from bebr.bulk.passes import Encoding, engine_of, gathered, sampled
from bebr.bulk.work import FIRST_ROWS, Work, fingerprint
from bebr.device import extension_of
from bebr.errors import LimitExceeded
from bebr.extras import needed
from bebr.index import IVFIndex, open_index
from bebr.index.kmeans import assigning_on, kmeans
from bebr.index.raw import RawType, raw_bytes
from bebr.index.sizes import MOST_LISTS, parse_size, usual_lists
from bebr.training import train
from bebr.training.linear.closed_form import Progress
from bebr.vectors import Blocks, VectorStream, check_output, stream

__all__ = ["build"]

Source = str | Path | Sequence[str | Path] | NDArray[Any] | Blocks
_MOST_ROWS = (1 << 32) - 32
# Lists larger than this many times the mean are said aloud, unless they are so small that it does not matter.
_MOST_UNEQUAL, _FEW_ROWS = 4, 4096


@overload
def build(
    source: Source,
    path: str | Path,
    *,
    nlist: int | None = None,
    bytes_per_vector: int | None = None,
    binarizer: Binarizer | None = None,
    metric: str | None = None,
    ids: ArrayLike | None = None,
    rows: int | None = None,
    column: str | None = None,
    memory: int | str = "4GiB",
    optimize: bool = True,
    rescore: RawType | None = None,
    overwrite: bool = False,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
    on: None = None,
    shards: None = None,
) -> IVFIndex: ...


@overload
def build(
    source: Source,
    path: str | Path,
    *,
    nlist: int | None = None,
    bytes_per_vector: int | None = None,
    binarizer: Binarizer | None = None,
    metric: str | None = None,
    ids: ArrayLike | None = None,
    rows: int | None = None,
    column: str | None = None,
    memory: int | str = "4GiB",
    optimize: bool = True,
    rescore: RawType | None = None,
    overwrite: bool = False,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
    on: Literal["ray"],
    shards: int | None = None,
) -> list[str]: ...


def build(
    source: Source,
    path: str | Path,
    *,
    nlist: int | None = None,
    bytes_per_vector: int | None = None,
    binarizer: Binarizer | None = None,
    metric: str | None = None,
    ids: ArrayLike | None = None,
    rows: int | None = None,
    column: str | None = None,
    memory: int | str = "4GiB",
    optimize: bool = True,
    rescore: RawType | None = None,
    overwrite: bool = False,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
    on: str | None = None,
    shards: int | None = None,
) -> IVFIndex | list[str]:
    """Build the file of an :class:`IVFIndex` from vectors that need not fit in memory; returns it opened, mapped.

    source: a file of vectors (bebr.vectors), several, a folder of them, an array [n, d], or a function that yields
        blocks float32[m, d] from a given row on, the same each time, with ``rows`` in all.
    nlist: None: the power of two nearest to four times the square root of the rows.
        A warning where one ends with over four times the mean.
    bytes_per_vector or binarizer: the code; a binarizer is trained on a sample, for ``metric`` (None: cosine).
    ids: int64[n], a mapped array perhaps; None: the numbers of the rows. Ids that do not ascend are put in order within
        ``memory``.
    rows: the first rows only. column: of Parquet files that hold several of vectors.
    memory: bytes, or "4GiB", beyond the 0.1 GB of the interpreter and its libraries.
    optimize: as :meth:`Binarizer.encode`; False encodes several times as fast, with lower recall.
    rescore: ``"float16"`` or ``"int8"`` keeps the vectors beside their codes, as :class:`IVFIndex` does.
    device: ``"cpu"`` or, such as ``"cuda"``, where vectors are encoded and assigned to lists; the index searches on
        the CPU (:meth:`IVFIndex.to`). Of more than 4,096 lists both look at those in near groups, a device in float32.
    progress: called with (stage, done, total).
    on: ``"ray"``: by the processes of a Ray cluster. ``source`` is then Parquet at a URL, a pattern, a list of such, or
        what each process sees; ``path`` a URL that fsspec knows, or a folder's that all of them see. Returns the names
        of the files beside ``path``, whose bytes are those of one machine's. ``memory`` is that of each process.
    shards: with ``on``, so many files, docs.0of4.bebr to docs.3of4.bebr, each with the rows of a shard of a collection.

    A folder ``path + ".build"`` holds what is finished. A build that was killed goes on from there when called with the
    same arguments; it is deleted at the end, and ``path`` appears whole or not at all. The disk holds about twice the
    index on the way, kept vectors included. The same source, arguments and seed make the same file, byte for byte, up
    to 4,096 lists on a device too.

    ``FileExistsError`` where ``path`` is there and not ``overwrite``. ``ValueError`` names the argument, or file and
    row of a number that is not finite. :class:`LimitExceeded`: disk or memory will not do, said before the work begins.
    :class:`DeviceUnavailable` says why a device cannot be used.
    """
    if on is not None:
        if device != "cpu":
            raise ValueError(f"device is {device!r}: want cpu with on={on!r}")
        options = {
            "nlist": nlist,
            "bytes_per_vector": bytes_per_vector,
            "binarizer": binarizer,
            "metric": metric,
            "ids": ids,
            "rows": rows,
            "column": column,
            "memory": memory,
            "optimize": optimize,
            "rescore": rescore,
            "overwrite": overwrite,
            "seed": int(seed),
            "progress": progress,
        }
        return _spread(on, source, path, shards or 1, options)
    if shards is not None:
        raise ValueError('shards goes with on="ray"')
    if device != "cpu":
        extension_of(device)  # no device: said before any work
    output = check_output(path, ".bebr")
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} is there already: delete it, or build with overwrite=True")
    if (bytes_per_vector is None) == (binarizer is None):
        raise ValueError("want exactly one of bytes_per_vector and binarizer")
    if binarizer is not None and metric is not None and metric != binarizer.metric:
        raise ValueError(f"metric is {metric!r}: the binarizer's is {binarizer.metric!r}")
    vectors = stream(source, column, rows)
    if vectors.rows > _MOST_ROWS:
        raise LimitExceeded(f"source has {vectors.rows:,} vectors: an index holds at most {_MOST_ROWS:,}")
    if binarizer is not None and binarizer.input_dim != vectors.dim:
        raise ValueError(f"source has {vectors.dim} dimensions: the binarizer takes {binarizer.input_dim}")
    report: Progress = progress or (lambda stage, done, total: None)
    made = _Build(output, vectors, row_lists(nlist, vectors.rows), memory, report, device)
    named = own_ids(ids, vectors.rows)
    return made.run(bytes_per_vector, binarizer, metric or "cosine", named, optimize, rescore, int(seed))


def _spread(on: str, source: Source, path: str | Path, shards: int, options: dict[str, Any]) -> list[str]:
    """By what is above this package, and so is looked up by its name."""
    if on != "ray":
        raise ValueError(f"on is {on!r}: want 'ray', or None for this process")
    if (options["bytes_per_vector"] is None) == (options["binarizer"] is None):
        raise ValueError("want exactly one of bytes_per_vector and binarizer")
    with needed("ray", 'bebr.build(…, on="ray")'):
        tasks = import_module("bebr.cluster.ray_tasks").RayTasks()
        building = import_module("bebr.cluster.building")
    made: list[str] = building.build(source, str(path), tasks, shards=shards, **options)
    return made


class _Build:
    def __init__(
        self, output: Path, vectors: VectorStream, nlist: int, memory: int | str, progress: Progress, device: str
    ) -> None:
        self._device = device
        self._output, self._vectors, self._nlist, self._progress = output, vectors, nlist, progress
        self._budget = Budget(parse_size(memory), vectors.dim, nlist)

    def run(
        self,
        size: int | None,
        bz: Binarizer | None,
        metric: str,
        ids: Ids | None,
        optimize: bool,
        rescore: RawType | None,
        seed: int,
    ) -> IVFIndex:
        # First, for it refuses vectors that cannot be kept. A model that is trained here keeps their dimensions.
        kept = raw_bytes(rescore, self._vectors.dim if bz is None else bz.inner_dim, bz)
        count = min(FIRST_ROWS, self._vectors.rows)
        first = gathered(self._vectors.blocks(0, count, count), count)
        fixed = {
            "source": self._vectors.mark,
            "vectors": fingerprint(first),
            "nlist": self._nlist,
            "bytes_per_vector": size,
            "binarizer": None if bz is None else bz.digest,
            "metric": metric if bz is None else bz.metric,
            "ids": None if ids is None else [len(ids), *ids[:4].tolist(), *ids[-4:].tolist()],
            "optimize": optimize,
            "rescore": rescore,
            "seed": seed,
        }
        with Work.of(self._output) as work:
            work.clear_temporaries()
            chunk = self._budget.chunk(((size if bz is None else bz.bytes_per_vector) or 0) + kept)
            began = work.begin({"fixed": fixed, "chunk": chunk})
            if began["chunk"] > chunk:
                raise ValueError(
                    f"memory is {self._budget.memory}: {work.folder} holds chunks of {began['chunk']:,} rows from a "
                    f"build with more: give that again to go on, or delete the folder to begin anew"
                )
            bz = self._model(work, size, bz, metric, seed)
            encoder = bz.to(self._device)  # a model that encodes on the CPU alone: said before centroids are found
            check_disk(self._output, self._vectors.rows, self._nlist, bz, kept, ids is not None, work.present())
            centroids = self._centroids(work, bz, seed)
            engine = engine_of(bz, centroids, rescore)
            chunk, block = began["chunk"], self._budget.block
            assign = engine.assign if self._device == "cpu" else assigning_on(self._device, centroids)
            encoding = Encoding(self._vectors, bz, engine, work, ids, chunk, block, optimize, kept, encoder, assign)
            encoding.run(self._progress)
            sections = IVFIndex(bz, self._nlist, seed)._sections()

            def merged(done: int, total: int) -> None:
                self._progress("merging", done, total)

            engine.merge(str(self._output), encoding.chunks, sections, self._budget.memory, merged)
            work.remove()
        index = open_index(self._output)
        assert isinstance(index, IVFIndex)
        _warn_of_unequal(index)
        return index

    def _sample(self, count: int) -> Floats:
        blocks = sampled(self._vectors, count, self._budget.block)
        return gathered(blocks, min(count, self._vectors.rows))

    def _model(self, work: Work, size: int | None, bz: Binarizer | None, metric: str, seed: int) -> Binarizer:
        if work.model.exists():
            return Binarizer.load(work.model)
        if bz is None:
            x = self._sample(self._budget.training)
            bz = train(x, bytes_per_vector=size, metric=metric, seed=seed, progress=self._progress)
        bz.save(work.model)
        return bz

    def _centroids(self, work: Work, bz: Binarizer, seed: int) -> Floats:
        if (found := work.centroids()) is not None:
            return found
        count = min(self._budget.sample, self._vectors.rows)
        self._progress("reading a sample", 0, count)
        blocks = (bz.vectors(x) for x in sampled(self._vectors, count, self._budget.block))
        x = gathered(blocks, count)
        self._progress("finding centroids", 0, self._nlist)
        centroids = kmeans(x, self._nlist, seed, device=self._device)
        work.keep_centroids(centroids)
        return centroids


def _warn_of_unequal(index: IVFIndex) -> None:
    sizes = index.list_sizes
    mean, largest = sum(sizes) / len(sizes), max(sizes)
    if largest > _MOST_UNEQUAL * mean and largest > _FEW_ROWS:
        warnings.warn(
            f"the largest list holds {largest:,} rows, {largest / mean:.1f} times the mean: searches that look at it "
            "take longer (many equal vectors are in one list, whatever the centroids)",
            stacklevel=4,
        )


def row_lists(nlist: int | None, rows: int) -> int:
    if nlist is None:
        return usual_lists(rows)
    most = min(MOST_LISTS, rows)
    if isinstance(nlist, bool) or not isinstance(nlist, int | np.integer) or not 1 <= nlist <= most:
        raise ValueError(f"nlist is {nlist!r}: want an integer from 1 to {most}")
    return int(nlist)


def own_ids(ids: ArrayLike | None, rows: int) -> Ids | None:
    """Checked in shape; a mapped array stays mapped."""
    if ids is None:
        return None
    array = np.asanyarray(ids)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.dtype == np.uint64:
        raise ValueError(f"ids has dtype {array.dtype} and shape {array.shape}: want int64 (n,)")
    if len(array) < rows:
        raise ValueError(f"ids has {len(array)} entries for {rows} vectors: want one each")
    return array[:rows]
