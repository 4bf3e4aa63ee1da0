"""Databases of vectors with fields behind one small interface, one file a database: what `benchmarks.filters_peers`
compares. None is needed to use bebr, and none is imported before it is opened."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.databases import lance, milvus, ours, pgvector, qdrant
from benchmarks.databases.base import Absent, Below, Database, Maker, Setting, Wired

__all__ = ["MAKERS", "Absent", "Below", "Database", "Maker", "Setting", "Wired"]

MAKERS: Mapping[str, Maker] = {
    "bebr, codes": ours.codes,
    "bebr, codes and int8": ours.kept,
    "lancedb": lance.make,
    "qdrant-edge": qdrant.make,
    "pgvector": pgvector.make,
    "milvus-lite": milvus.make,
}
"""Each opens an empty database, and tells its version."""
