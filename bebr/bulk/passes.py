"""The passes of a build over its source: a sample to learn from, then all of it into chunks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.on_device import DeviceEncoder
from bebr.bulk.work import Work
from bebr.index.base import row_format
from bebr.index.raw import RawType
from bebr.training.linear.closed_form import Progress
from bebr.vectors import VectorStream

_PIECES = 256  # of a sample, spread evenly over the source


def sampled(stream: VectorStream, count: int, block: int) -> Iterator[Floats]:
    """About ``count`` vectors (all, if there are no more), in runs spread evenly over the source."""
    if count >= stream.rows:
        yield from stream.blocks(0, stream.rows, block)
        return
    pieces = min(_PIECES, count)
    length = count // pieces
    for start in np.linspace(0, stream.rows - length, pieces).astype(int).tolist():
        yield from stream.blocks(start, start + length, block)


def gathered(blocks: Iterator[Floats], count: int) -> Floats:
    """Blocks in one array of at most ``count`` rows, without holding them twice."""
    out = np.empty((0, 0), np.float32)
    filled = 0
    for block in blocks:
        if filled == 0:
            out = np.empty((count, block.shape[1]), np.float32)
        out[filled : filled + len(block)] = block
        filled += len(block)
    return out[:filled]


def ahead(blocks: Iterator[Floats]) -> Iterator[Floats]:
    """The same blocks, read in a thread of their own while those before are worked on."""
    waiting: queue.Queue[Floats | BaseException | None] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def put(item: Floats | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                pass

    def read() -> None:
        try:
            for block in blocks:
                put(block)
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    reader = threading.Thread(target=read, name="bebr-build-reader", daemon=True)
    reader.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        reader.join()


def engine_of(bz: Binarizer, centroids: Floats, rescore: RawType | None) -> core.IvfBuild:
    """What assigns rows to lists, writes chunks and merges them."""
    return core.IvfBuild(row_format(bz), centroids, bz.metric == "ip", rescore)


class Encoding:
    """Pass 2: blocks are encoded and assigned to lists; a full chunk is written while the next one is filled."""

    def __init__(
        self,
        stream: VectorStream,
        bz: Binarizer,
        engine: core.IvfBuild,
        work: Work,
        ids: Ids | None,
        chunk: int,
        block: int,
        optimize: bool,
        raw: int,
        encoder: Binarizer | DeviceEncoder,
        assign: Callable[[Floats], NDArray[np.uint32]],
    ) -> None:
        """raw: bytes of a vector that is kept beside its code; 0: none is. encoder, assign: on the CPU or a device."""
        self._raw, self._encoder, self._assign = raw, encoder, assign
        self._stream, self._bz, self._engine, self._work, self._ids = stream, bz, engine, work, ids
        self._chunk, self._block, self._optimize = min(chunk, stream.rows), block, optimize

    @property
    def chunks(self) -> list[str]:
        """Files of all chunks, there or not."""
        return [str(self._work.chunk(i)) for i in range(-(-self._stream.rows // self._chunk))]

    def run(self, progress: Progress) -> None:
        """Make the chunks that are not there."""
        missing = [i for i, path in enumerate(self.chunks) if not self._made(i, path)]
        with ThreadPoolExecutor(1, "bebr-build-writer") as writer:
            for run in _runs(missing):
                self._encode(run, writer, progress)

    def only(self, number: int) -> None:
        """Make this one."""
        with ThreadPoolExecutor(1, "bebr-build-writer") as writer:
            self._encode(range(number, number + 1), writer, lambda stage, done, total: None)

    def _span(self, number: int) -> tuple[int, int]:
        return number * self._chunk, min((number + 1) * self._chunk, self._stream.rows)

    def _made(self, number: int, path: str) -> bool:
        if not self._work.chunk(number).exists():
            return False
        first, stop = self._span(number)
        if self._engine.chunk_rows(path) != (first, stop - first):
            raise ValueError(f"{path}: holds other rows than {first} to {stop}: delete it and build again")
        return True

    def _encode(self, run: range, writer: ThreadPoolExecutor, progress: Progress) -> None:
        """The chunks of a run of numbers."""
        start, end = self._span(run.start)[0], self._span(run.stop - 1)[1]
        planes = [np.empty((self._chunk, self._bz.settings.code_bytes), np.uint8) for _ in range(2)]
        width = self._bz.settings.factor_bytes * self._bz.settings.factor_count
        factors = [np.empty((self._chunk, width), np.uint8) for _ in range(2)]
        lists = [np.empty(self._chunk, np.uint32) for _ in range(2)]
        raw = [np.empty((self._chunk, self._raw), np.uint8) for _ in range(2)]
        pending: Future[None] | None = None
        number, filled, row = run.start, 0, start
        for block in ahead(self._stream.blocks(start, end, self._block)):
            codes = self._encoder.encode(block, optimize=self._optimize)
            vectors = self._bz.vectors(block)
            assigned = self._assign(vectors)
            stored = self._stored(vectors, row)
            rows = codes.factor_rows()
            at = 0
            while at < len(block):
                first, stop = self._span(number)
                take = min(len(block) - at, stop - first - filled)
                into, part = slice(filled, filled + take), slice(at, at + take)
                side = number % 2
                planes[side][into], factors[side][into] = codes.planes[part], rows[part]
                lists[side][into] = assigned[part]
                raw[side][into] = stored[part]
                filled, at = filled + take, at + take
                if filled == stop - first:
                    if pending is not None:
                        pending.result()
                    pending = writer.submit(
                        self._write,
                        number,
                        first,
                        planes[side][:filled],
                        factors[side][:filled],
                        lists[side][:filled],
                        raw[side][:filled],
                    )
                    number, filled = number + 1, 0
            row += len(block)
            progress("encoding", row, self._stream.rows)
        if pending is not None:
            pending.result()

    def _stored(self, vectors: Floats, row: int) -> NDArray[np.uint8]:
        """Vectors as they are kept; ``row``: the first one's number, for an error to name."""
        if not self._raw:
            return np.empty((len(vectors), 0), np.uint8)
        try:
            return self._engine.raw_rows(vectors)
        except ValueError as error:
            raise ValueError(f"of the rows from {row} on, {error}") from None

    def _write(
        self,
        number: int,
        first: int,
        planes: NDArray[np.uint8],
        factors: NDArray[np.uint8],
        lists: NDArray[np.uint32],
        raw: NDArray[np.uint8],
    ) -> None:
        ids = None if self._ids is None else np.ascontiguousarray(self._ids[first : first + len(lists)], np.int64)
        kept = raw if self._raw else None
        self._engine.write_chunk(str(self._work.chunk(number)), first, planes, factors, lists, ids, kept)


def _runs(numbers: Sequence[int]) -> Iterator[range]:
    """Ascending numbers as ranges without holes."""
    first = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or numbers[i] != numbers[i - 1] + 1:
            yield range(numbers[first], numbers[i - 1] + 1)
            first = i
