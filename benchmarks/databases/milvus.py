"""Milvus Lite, by its client: HNSW of faiss, and an inverted index of each field."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.databases.base import Below, Setting, version
from benchmarks.datasets import Floats, Ids

_NAME = "rows"
_PIECE = 4096


class Milvus:
    settings: Sequence[Setting] = ({"ef": 64}, {"ef": 256})
    efforts = tuple({"ef": ef} for ef in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512))

    def __init__(self, folder: Path, dim: int, fields: Sequence[str]) -> None:
        milvus: Any = importlib.import_module("pymilvus")
        self._client: Any = milvus.MilvusClient(str(folder / "rows.db"))
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", milvus.DataType.INT64, is_primary=True)
        schema.add_field("vector", milvus.DataType.FLOAT_VECTOR, dim=dim)
        for name in fields:
            schema.add_field(name, milvus.DataType.INT64)
        # Indexes come first: making them of rows that are there takes longer than a call of the client may.
        wanted = self._client.prepare_index_params()
        links = {"M": 16, "efConstruction": 200}
        wanted.add_index("vector", index_type="HNSW", metric_type="COSINE", params=links)
        for name in fields:
            wanted.add_index(name, index_type="INVERTED")
        self._client.create_collection(_NAME, schema=schema, index_params=wanted)

    def add(self, ids: Ids, vectors: Floats, fields: Mapping[str, Ids]) -> None:
        columns = {"id": ids.tolist(), "vector": list(vectors), **{name: fields[name].tolist() for name in fields}}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for begin in range(0, len(rows), _PIECE):
            self._client.insert(_NAME, rows[begin : begin + _PIECE])

    def finish(self) -> None:
        self._client.flush(_NAME)
        self._client.release_collection(_NAME)
        self._client.load_collection(_NAME)

    def search(self, query: Floats, k: int, below: Below | None, setting: Setting) -> Iterable[int]:
        how = {"metric_type": "COSINE", "params": {"ef": setting["ef"]}}
        condition = "" if below is None else f"{below.field} < {below.bound}"
        found = self._client.search(_NAME, [query], limit=k, filter=condition, search_params=how)
        return [hit["id"] for hit in found[0]]

    def close(self) -> None:
        self._client.close()


def make(folder: Path, dim: int, fields: Sequence[str]) -> tuple[Milvus, str]:
    installed = version("milvus-lite", "pymilvus")
    return Milvus(folder, dim, fields), installed
