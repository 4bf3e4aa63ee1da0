# SPDX-License-Identifier: Apache-2.0
"""A bebr server for VectorDBBench (zilliztech/VectorDBBench); README.md beside this file says how it gets there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from vectordb_bench.backend.clients.api import VectorDB
from vectordb_bench.backend.filter import Filter, FilterOp

import bebr


class Bebr(VectorDB):
    """One collection of a server, over gRPC. Rows have the payload {"id": …}, and with labels {"label": …} beside it.

    db_config: ``target`` and ``token``, as of `bebr.connect`. db_case_config: see config.py.
    """

    name = "Bebr"
    supported_filter_types = (FilterOp.NonFilter, FilterOp.NumGE, FilterOp.StrEqual)

    def __init__(
        self,
        dim: int,
        db_config: dict[str, Any],
        db_case_config: Any,
        collection_name: str = "vectordb_bench",
        drop_old: bool = False,
        with_scalar_labels: bool = False,
        **more: Any,
    ) -> None:
        self._server, self._collection_name, self._labelled = db_config, collection_name, with_scalar_labels
        self._how = db_case_config.search_param()
        self._filter: dict[str, Any] | None = None
        self._collection: Any = None  # while `init` is under way: it is none before this object goes to other processes
        with bebr.connect(**self._server) as client:
            if drop_old and collection_name in client:
                client.drop_collection(collection_name)
            client.create_collection(collection_name, dim=dim, exist_ok=True, **db_case_config.index_param())

    @contextmanager
    def init(self) -> Iterator[None]:
        with bebr.connect(**self._server) as client:
            self._collection = client.collection(self._collection_name)
            try:
                yield
            finally:
                self._collection = None

    def insert_embeddings(
        self, embeddings: Sequence[Sequence[float]], metadata: list[int], labels_data: list[str] | None = None, **_: Any
    ) -> tuple[int, Exception | None]:
        payloads: list[dict[str, Any]] = [{"id": id} for id in metadata]
        if self._labelled and labels_data is not None:
            payloads = [{**payload, "label": label} for payload, label in zip(payloads, labels_data, strict=True)]
        try:
            self._collection.upsert(metadata, np.asarray(embeddings, np.float32), payloads)
        except (bebr.Error, OSError, ValueError) as error:  # the benchmark tries again
            return 0, error
        return len(metadata), None

    def optimize(self, data_size: int | None = None) -> None:
        """Waits for the model to be trained on all rows, and for their files to be in their last shape."""
        while self._collection.stats().target:
            time.sleep(0.2)
        self._collection.settle()

    def prepare_filter(self, filters: Filter) -> None:
        if filters.type == FilterOp.NonFilter:
            self._filter = None
        elif filters.type == FilterOp.NumGE:
            self._filter = {"id": {"gte": filters.int_value}}
        elif filters.type == FilterOp.StrEqual:
            self._filter = {"label": filters.label_value}
        else:
            raise ValueError(f"filters has type {filters.type!r}: want {', '.join(self.supported_filter_types)}")

    def search_embedding(self, query: Sequence[float], k: int = 100, **_: Any) -> list[int]:
        ids = self._collection.search(np.asarray(query, np.float32), k, filter=self._filter, **self._how).ids[0]
        return [int(id) for id in ids if id >= 0]
