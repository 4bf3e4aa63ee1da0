"""Qdrant Edge, Qdrant's engine in the process: HNSW whose links know the fields, which have indexes."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.databases.base import Below, Setting, version
from benchmarks.datasets import Floats, Ids

_PIECE = 4096


class Qdrant:
    """Vectors in float32. Links, candidates while building and the scan of few rows are its defaults."""

    settings: Sequence[Setting] = ({"hnsw_ef": 64}, {"hnsw_ef": 256})
    efforts = tuple({"hnsw_ef": ef} for ef in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512))

    def __init__(self, folder: Path, dim: int, fields: Sequence[str]) -> None:
        edge = self._edge = importlib.import_module("qdrant_edge")
        parameters = edge.EdgeVectorParams(size=dim, distance=edge.Distance.Cosine)
        links = edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10_000)
        self._shard: Any = edge.EdgeShard.create(str(folder), edge.EdgeConfig(parameters, hnsw_config=links))
        for name in fields:
            self._shard.update(edge.UpdateOperation.create_field_index(name, edge.PayloadSchemaType.Integer))

    def add(self, ids: Ids, vectors: Floats, fields: Mapping[str, Ids]) -> None:
        columns = {name: values.tolist() for name, values in fields.items()}
        payloads = [{name: values[row] for name, values in columns.items()} for row in range(len(ids))]
        for begin in range(0, len(ids), _PIECE):
            some = slice(begin, begin + _PIECE)
            rows = zip(ids[some].tolist(), vectors[some].tolist(), payloads[some], strict=True)
            points = [self._edge.Point(*row) for row in rows]
            self._shard.update(self._edge.UpdateOperation.upsert_points(points))

    def finish(self) -> None:
        self._shard.flush()
        while self._shard.optimize():
            pass

    def search(self, query: Floats, k: int, below: Below | None, setting: Setting) -> Iterable[int]:
        edge = self._edge
        filter = None
        if below is not None:
            filter = edge.Filter(must=[edge.FieldCondition(below.field, range=edge.RangeFloat(lt=below.bound))])
        request = edge.QueryRequest(
            limit=k,
            query=edge.Query.Nearest(query.tolist()),
            filter=filter,
            params=edge.SearchParams(hnsw_ef=setting["hnsw_ef"]),
        )
        return [point.id for point in self._shard.query(request)]

    def close(self) -> None:
        self._shard.close()


def make(folder: Path, dim: int, fields: Sequence[str]) -> tuple[Qdrant, str]:
    installed = version("qdrant-edge-py")
    return Qdrant(folder, dim, fields), installed
