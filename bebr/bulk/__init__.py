"""Bulk build: a source larger than memory becomes the file of an IVFIndex, in bounded memory. A killed build continues.

Pass 1 learns the model and the centroids from a sample; pass 2 encodes and assigns, chunk by chunk, each chunk a file
whose rows are in the order of their lists; pass 3 merges the chunks, list after list, into the index file.
"""

from __future__ import annotations

import inspect
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.bulk.budget import check_disk
from bebr.bulk.options import Asked, Options
from bebr.bulk.passes import Encoding, engine_of
from bebr.bulk.setup import Setup, Source
from bebr.bulk.work import Work
from bebr.device import extension_of
from bebr.extras import needed
from bebr.index import IVFIndex, open_index
from bebr.index.kmeans import assigning_on
from bebr.vectors import check_output

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["build"]

# Lists larger than this many times the mean are said aloud, unless they are so small that it does not matter.
_MOST_UNEQUAL, _FEW_ROWS = 4, 4096


@overload
def build(
    source: Source, path: str | Path, *, on: None = None, shards: None = None, **options: Unpack[Asked]
) -> IVFIndex: ...


@overload
def build(
    source: Source, path: str | Path, *, on: Literal["ray"], shards: int | None = None, **options: Unpack[Asked]
) -> list[str]: ...


def build(
    source: Source, path: str | Path, *, on: str | None = None, shards: int | None = None, **options: Unpack[Asked]
) -> IVFIndex | list[str]:
    """Build the file of an :class:`IVFIndex` from vectors that need not fit in memory, and return it opened and mapped.

    >>> index = bebr.build("vectors.npy", "x.bebr", bytes_per_vector=52, memory="4GiB")

    source: a file of vectors (bebr.vectors), several, a folder of them, an array [n, d], or a function that yields
        blocks float32[m, d] from a given row on, the same each time, with ``rows`` in all.
    nlist: number of lists; None: the power of two nearest to four times the square root of the rows. A warning says if
        a list ends up with more than four times the mean.
    bytes_per_vector or binarizer: the code; a binarizer is trained on a sample, for ``metric`` (None: cosine).
    ids: int64[n], possibly a mapped array; None: row numbers. Ids that do not ascend are sorted within ``memory``.
    rows: use only the first rows.
    column: the column of vectors in Parquet files that have several.
    memory: bytes, or "4GiB", beyond the 0.1 GB of the interpreter and its libraries.
    optimize: as :meth:`Binarizer.encode`; False encodes several times as fast, with lower recall.
    rescore: ``"float16"`` or ``"int8"`` keeps the vectors with their codes, as :class:`IVFIndex` does.
    device: where vectors are encoded and assigned to lists, ``"cpu"`` or for example ``"cuda"``. The index searches on
        the CPU (:meth:`IVFIndex.to`). Above 4,096 lists both compare only lists in near groups, a device in float32.
    progress: called with (stage, done, total).
    on: ``"ray"``: build with the processes of a Ray cluster. ``source`` is then Parquet: a URL, a pattern, a list of
        these, or a path that every process sees; ``path`` is a URL that fsspec knows or a path in a shared folder.
        Returns the names of the files at ``path``, which have the same bytes as built on one machine. ``memory`` is
        per process.
    shards: with ``on``: number of files, docs.0of4.bebr to docs.3of4.bebr, each with the rows of one shard of a
        collection.

    The folder ``path + ".build"`` has the finished parts. A killed build continues from there when called with the same
    arguments; the folder is deleted at the end, and ``path`` appears only when complete. The build needs about twice
    the index's disk space, kept vectors included. The same source, arguments and seed make the same file, byte for
    byte; on a device too, up to 4,096 lists.

    Raises ``FileExistsError`` if ``path`` exists, without ``overwrite``; ``ValueError``, which names the argument, or
    file and row of a number that is not finite; :class:`LimitExceeded`, before the work begins, if disk or memory will
    not suffice; :class:`DeviceUnavailable`, which says why a device cannot be used.
    """
    if on is not None:
        return _spread(on, source, str(path), shards or 1, Options(**options))
    if shards is not None:
        raise ValueError('shards goes with on="ray"')
    asked = Options(**options)
    if asked.device != "cpu":
        extension_of(asked.device)  # no device: said before any work
    output = check_output(path, ".bebr")
    if output.exists() and not asked.overwrite:
        raise FileExistsError(f"{output} is there already: delete it, or build with overwrite=True")
    return _Build(output, Setup.of(source, asked)).run()


_written = inspect.signature(build)
_parameters = [one for one in _written.parameters.values() if one.kind is not one.VAR_KEYWORD]
_parameters += inspect.signature(Options).parameters.values()
build.__signature__ = _written.replace(parameters=_parameters)  # type: ignore[attr-defined]  # for help()


def _spread(on: str, source: Source, path: str, shards: int, options: Options) -> list[str]:
    """By what is above this package, and so is looked up by its name."""
    if on != "ray":
        raise ValueError(f"on is {on!r}: want 'ray', or None for this process")
    if options.device != "cpu":
        raise ValueError(f"device is {options.device!r}: want cpu with on={on!r}")
    with needed("ray", 'bebr.build(…, on="ray")'):
        tasks = import_module("bebr.cluster.ray_tasks").RayTasks()
        building = import_module("bebr.cluster.building")
    made: list[str] = building.build(source, path, tasks, options, shards)
    return made


class _Build:
    def __init__(self, output: Path, setup: Setup) -> None:
        self._output, self._setup, self._options = output, setup, setup.options

    def run(self) -> IVFIndex:
        setup, options = self._setup, self._options
        fixed = setup.fixed()
        with Work.of(self._output) as work:
            work.clear_temporaries()
            began = work.begin({"fixed": fixed, "chunk": setup.chunk})
            if began["chunk"] > setup.chunk:
                raise ValueError(
                    f"memory is {setup.budget.memory}: {work.folder} holds chunks of {began['chunk']:,} rows from a "
                    f"build with more: give that again to go on, or delete the folder to begin anew"
                )
            bz = self._model(work)
            encoder = bz.to(options.device)  # a model that encodes on the CPU alone: said before centroids are found
            rows, own_ids = setup.vectors.rows, setup.ids is not None
            check_disk(self._output, rows, setup.nlist, bz, setup.kept, own_ids, work.present())
            centroids = self._centroids(work, bz)
            engine = engine_of(bz, centroids, options.rescore)
            assign = engine.assign if options.device == "cpu" else assigning_on(options.device, centroids)
            encoding = Encoding(
                *(setup.vectors, bz, engine, work, setup.ids, began["chunk"], setup.budget.block),
                *(options.optimize, setup.kept, encoder, assign),
            )
            encoding.run(options.report)
            sections = IVFIndex(bz, setup.nlist, options.seed)._sections()

            def merged(done: int, total: int) -> None:
                options.report("merging", done, total)

            engine.merge(str(self._output), encoding.chunks, sections, setup.budget.memory, merged)
            work.remove()
        index = open_index(self._output)
        assert isinstance(index, IVFIndex)
        _warn_of_unequal(index)
        return index

    def _model(self, work: Work) -> Binarizer:
        if work.model.exists():
            return Binarizer.load(work.model)
        bz = self._setup.model()
        bz.save(work.model)
        return bz

    def _centroids(self, work: Work, bz: Binarizer) -> Floats:
        centroids = work.centroids()
        if centroids is None:
            centroids = self._setup.centroids(bz)
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
