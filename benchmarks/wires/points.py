"""Searches of bebr's server, Points/Search."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bebr.v1 import bebr_pb2 as pb
from benchmarks.datasets import Floats
from benchmarks.wires.http2 import Calls, call


@dataclass(frozen=True)
class Points:
    """A collection of a server at HOST:PORT. ``setting``: fields of a SearchRequest."""

    target: str
    collection: str
    k: int
    setting: Mapping[str, int]

    def connect(self) -> Calls:
        host, port = self.target.rsplit(":", 1)
        connected = socket.create_connection((host, int(port)))
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return Calls(connected)
        except BaseException:
            connected.close()
            raise

    def request(self, query: Floats) -> bytes:
        queries = pb.Vectors(f32=query.astype("<f4").tobytes(), dimension=len(query), count=1)
        asked = pb.SearchRequest(collection=self.collection, queries=queries, k=self.k, **self.setting)
        return call("/bebr.v1.Points/Search", asked.SerializeToString())

    def ids(self, reply: bytes) -> list[int]:
        return np.frombuffer(pb.SearchResponse.FromString(reply).ids, "<i8").tolist()
