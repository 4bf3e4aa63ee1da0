"""The service that embeds: what `bebr serve --producer NAME` adds to a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from bebr.arrays import Floats
from bebr.errors import LimitExceeded
from bebr.serve import convert
from bebr.serve.calls import elapsed_us
from bebr.serve.limits import Limits
from bebr.v1 import bebr_pb2 as pb


class Producer(Protocol):
    """What is served: see :class:`bebr.models.Producer`."""

    name: str
    version: str
    dim: int
    metric: str
    modality: str

    def embed(self, items: Sequence[Any]) -> Floats: ...


class Producing:
    """One call at a time, in a thread of its own: a network uses all cores as it is, and searches go on beside it."""

    def __init__(self, producer: Producer | None, limits: Limits) -> None:
        self._producer = producer
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "bebr-embed")

    async def Describe(self, request: pb.DescribeProducerRequest) -> pb.DescribeProducerResponse:
        producer = self._there()
        return pb.DescribeProducerResponse(
            name=producer.name,
            version=producer.version,
            dimension=producer.dim,
            metric=convert.METRICS[producer.metric],
            modality=producer.modality,
        )

    async def Embed(self, request: pb.EmbedRequest) -> pb.EmbedResponse:
        start = time.perf_counter_ns()
        producer, items = self._there(), _items(request)
        if len(items) > self._limits.queries:
            raise LimitExceeded(
                f"{len(items)} items in one call: this server takes at most {self._limits.queries}; split them"
            )
        vectors = await asyncio.get_running_loop().run_in_executor(self._thread, producer.embed, items)
        if not np.isfinite(vectors).all():
            raise ValueError(f"{producer.name} gave vectors that are not finite for these items")
        reply = pb.EmbedResponse(vectors=convert.vectors_to_message(vectors))
        self._limits.check_reply(reply.ByteSize())
        reply.elapsed_us = elapsed_us(start)
        return reply

    def _there(self) -> Producer:
        if self._producer is None:
            raise KeyError("this server has no producer: start it with `bebr serve --producer NAME`, or send vectors")
        return self._producer

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)


def _items(request: pb.EmbedRequest) -> list[Any]:
    """Texts, pictures or pairs. ``ValueError`` for nothing, or numbers that differ."""
    texts, images = list(request.texts), list(request.images)
    if texts and images and len(texts) != len(images):
        raise ValueError(f"{len(texts)} texts and {len(images)} images: want as many of both, or one kind")
    if not texts and not images:
        raise ValueError("no texts and no images: want at least one item")
    return list(zip(images, texts, strict=True)) if texts and images else texts or images
