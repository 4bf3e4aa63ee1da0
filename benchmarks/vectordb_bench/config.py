# SPDX-License-Identifier: Apache-2.0
"""What VectorDBBench is told of a bebr server, and of a collection on it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, SecretStr
from vectordb_bench.backend.clients.api import DBCaseConfig, DBConfig, MetricType

_METRICS = {MetricType.COSINE: "cosine", MetricType.IP: "ip", MetricType.DP: "ip", MetricType.L2: "l2"}


class BebrConfig(DBConfig):
    target: str = "localhost:7777"
    token: SecretStr | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"target": self.target, "token": self.token.get_secret_value() if self.token else None}


class BebrCaseConfig(BaseModel, DBCaseConfig):
    """The first four as of `create_collection`, the others as of `search`; None leaves them to bebr."""

    metric_type: MetricType | None = None
    bytes_per_vector: int | None = None
    keep: str | None = "float16"
    index: str = "auto"
    target_recall: float = 0.95
    rescore: int | None = None
    nprobe: int | None = None
    ef_search: int | None = None

    def index_param(self) -> dict[str, Any]:
        return {
            "metric": _METRICS[self.metric_type or MetricType.COSINE],
            "bytes_per_vector": self.bytes_per_vector,
            "keep": self.keep,
            "index": self.index,
            "target_recall": self.target_recall,
        }

    def search_param(self) -> dict[str, Any]:
        how = {"rescore": self.rescore, "nprobe": self.nprobe, "ef_search": self.ef_search}
        return {name: value for name, value in how.items() if value is not None}
