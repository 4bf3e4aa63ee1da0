"""A build of many processes: each encodes some rows into runs, one a shard; then one of them merges a shard's runs.

Runs and results are in object storage, so that any process may do any part, and again where one died. What is finished
stays: a build whose driver was killed goes on when it is called again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.bulk.options import Options
from bebr.bulk.passes import Encoding, engine_of
from bebr.bulk.setup import Setup, Source
from bebr.bulk.work import Work
from bebr.cluster.dividing import divided
from bebr.cluster.names import MOST_SHARDS, Shard
from bebr.collection.keys import Named
from bebr.index import IVFIndex
from bebr.index.raw import RawType, raw_bytes
from bebr.store.files.places import Place, pieces_of, place_of
from bebr.training.linear.closed_form import Progress
from bebr.vectors import VectorStream

C = TypeVar("C")
T = TypeVar("T")
R = TypeVar("R")

# Rows of a run at most: what is lost where a process dies.
_RUN_ROWS = 1 << 18


class Tasks(Protocol):
    """Where work is done."""

    def map(self, work: Callable[[C, T], R], common: C, items: Sequence[T], memory: int) -> Iterator[R]:
        """`work` of `common` and each item, in whatever order it ends; again, elsewhere, where a process died.
        `memory`: bytes that it needs for one. An error of `work` is the caller's."""
        ...


@dataclass(frozen=True)
class Job:
    """What each process is told. `place`: a URL, or a folder that all of them see; `output`: the name of the result
    there."""

    place: str
    output: str
    vectors: VectorStream
    ids: Ids | None
    model: bytes
    centroids: Floats
    shards: int
    rows: int  # of a run
    block: int
    memory: int
    optimize: bool
    rescore: RawType | None
    seed: int

    @property
    def work(self) -> str:
        return f"{self.output}.build"

    def run_name(self, number: int, shard: int) -> str:
        return f"run-{number:06d}-{shard:04d}"


def build(source: Source, url: str, tasks: Tasks, options: Options, shards: int = 1) -> list[str]:
    """As :func:`bebr.build`, by `tasks`; the names of the files, one a shard. The memory is that of each process."""
    folder, _, output = url.rpartition("/")
    if not output.endswith(".bebr") or not folder:
        raise ValueError(f"path is {url!r}: want the URL, or the path, of a .bebr file")
    if not 1 <= shards <= MOST_SHARDS:
        raise ValueError(f"shards is {shards}: want 1 to {MOST_SHARDS}")
    place, setup = place_of(folder), Setup.of(source, options, shards)
    about = {**setup.fixed(), "shards": shards, "rows": min(_RUN_ROWS, setup.chunk)}
    work, names = _Work(place, f"{output}.build"), [name_of(output, shard, shards) for shard in range(shards)]
    there = place.sizes("").keys() & set(names)
    if there and not options.overwrite and not work.merging:
        raise FileExistsError(f"{folder} has {min(there)} already: delete it, or build with overwrite=True")
    began = work.begin(about)
    bz = work.model() or setup.model()
    work.keep_model(bz)
    centroids = work.centroids()
    if centroids is None:
        work.keep_centroids(centroids := setup.centroids(bz))
    job = Job(
        *(folder, output, setup.vectors, setup.ids, bz.to_bytes(), centroids, shards, began["rows"]),
        *(setup.budget.block, setup.budget.memory, options.optimize, options.rescore, options.seed),
    )
    return _done(job, work, tasks, names, options.report)


def _done(job: Job, work: _Work, tasks: Tasks, names: list[str], report: Progress) -> list[str]:
    """Has everything done that is not there yet."""
    numbers = range(-(-job.vectors.rows // job.rows))
    missing = [number for number in numbers if not work.has(f"done-{number:06d}")]
    done = len(numbers) - len(missing)
    for _ in tasks.map(encode, job, missing, job.memory):
        done += 1
        report("encoding", min(done * job.rows, job.vectors.rows), job.vectors.rows)
    work.begin_merge()
    for merged, _ in enumerate(tasks.map(merge, job, range(job.shards), job.memory), 1):
        report("merging", merged, job.shards)
    work.remove()
    return names


def encode(job: Job, number: int) -> None:
    """Run `number`, of each shard that has rows of it; then says that it is done."""
    bz = Binarizer.from_bytes(job.model)
    place = place_of(job.place)
    with tempfile.TemporaryDirectory() as folder:
        encoding = _Runs(job, bz, Work(Path(folder)))
        encoding.only(number)
        for path in sorted(Path(folder).glob("run-*")):
            place.write(f"{job.work}/{path.name}", pieces_of(path))
    place.write(f"{job.work}/done-{number:06d}", [b""])


def merge(job: Job, shard: int) -> None:
    """The file of a shard, from its runs."""
    bz, place = Binarizer.from_bytes(job.model), place_of(job.place)
    names = sorted(name for name in place.sizes(job.work) if name.startswith("run-") and int(name[-4:]) == shard)
    if not names:
        raise ValueError(f"shard {shard} of {job.shards} would have no rows: want fewer shards")
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / name for name in names]
        for run in runs:
            with run.open("wb") as file:
                file.writelines(place.read(f"{job.work}/{run.name}"))
        made = Path(folder) / "made.bebr"
        sections = IVFIndex(bz, len(job.centroids), job.seed)._sections()
        engine = engine_of(bz, job.centroids, job.rescore)
        engine.merge(str(made), list(map(str, runs)), sections, job.memory, lambda done, total: None)
        place.write(name_of(job.output, shard, job.shards), pieces_of(made))


def name_of(output: str, shard: int, shards: int) -> str:
    """Of a result: as of a collection's shards, docs.bebr or docs.0of4.bebr."""
    return f"{Shard(output.removesuffix('.bebr'), shard, shards)}.bebr"


class _Runs(Encoding):
    """Encodes one run, and writes what of it each shard has."""

    def __init__(self, job: Job, bz: Binarizer, work: Work) -> None:
        engine = engine_of(bz, job.centroids, job.rescore)
        self._job, self._folder = job, work.folder
        kept = raw_bytes(job.rescore, bz.inner_dim, bz)
        super().__init__(
            *(job.vectors, bz, engine, work, job.ids, job.rows, job.block, job.optimize, kept, bz, engine.assign)
        )

    def _write(
        self,
        number: int,
        first: int,
        planes: NDArray[np.uint8],
        factors: NDArray[np.uint8],
        lists: NDArray[np.uint32],
        raw: NDArray[np.uint8],
    ) -> None:
        job, rows = self._job, len(lists)
        kept = raw if raw.shape[1] else None
        if job.shards == 1:
            ids = None if job.ids is None else np.ascontiguousarray(job.ids[first : first + rows], np.int64)
            path = self._folder / job.run_name(number, 0)
            self._engine.write_chunk(str(path), first, planes, factors, lists, ids, kept)
            return
        own = np.arange(first, first + rows) if job.ids is None else job.ids[first : first + rows]
        own = np.ascontiguousarray(own, np.int64)
        for shard, at in divided(Named(own, None), job.shards):
            path = self._folder / job.run_name(number, shard)
            some = None if kept is None else kept[at]
            self._engine.write_chunk(str(path), first, planes[at], factors[at], lists[at], own[at], some)


class _Work:
    """The folder of a build in its place: what is finished there survives."""

    def __init__(self, place: Place, folder: str) -> None:
        self._place, self._folder = place, folder

    def begin(self, about: dict[str, Any]) -> dict[str, Any]:
        """As `bebr.bulk.work.Work.begin`, of what cannot be changed."""
        about = json.loads(json.dumps(about))
        found = self._read("build.json")
        if found is None:
            self._place.write(f"{self._folder}/build.json", [json.dumps(about, indent=1).encode()])
            return about
        began: dict[str, Any] = json.loads(found)
        for name, value in about.items():
            if name != "rows" and began.get(name) != value:
                raise ValueError(
                    f"{self._folder} holds a build that began with another {name}: give that again to go on, or delete "
                    "the folder to begin anew"
                )
        return began

    def model(self) -> Binarizer | None:
        found = self._read("model.safetensors")
        return None if found is None else Binarizer.from_bytes(found)

    def keep_model(self, bz: Binarizer) -> None:
        self._place.write(f"{self._folder}/model.safetensors", [bz.to_bytes()])

    def centroids(self) -> Floats | None:
        found = self._read("centroids.f32")
        shape = None if found is None else np.frombuffer(found[:16], "<i8")
        return None if found is None else np.frombuffer(found[16:], "<f4").reshape(shape).copy()

    def keep_centroids(self, centroids: Floats) -> None:
        head = np.array(centroids.shape, "<i8").tobytes()
        self._place.write(f"{self._folder}/centroids.f32", [head, centroids.astype("<f4").tobytes()])

    def has(self, name: str) -> bool:
        return name in self._place.sizes(self._folder)

    @property
    def merging(self) -> bool:
        """Whether results may be there that are this build's own."""
        return self.has("merging")

    def begin_merge(self) -> None:
        self._place.write(f"{self._folder}/merging", [b""])

    def remove(self) -> None:
        for name in sorted(self._place.sizes(self._folder), key=lambda name: name == "build.json"):
            self._place.remove(f"{self._folder}/{name}")
        self._place.remove_folder(self._folder)

    def _read(self, name: str) -> bytes | None:
        try:
            return b"".join(self._place.read(f"{self._folder}/{name}"))
        except FileNotFoundError:
            return None
