"""What a user of FAISS types, over bebr's indexes: ``import bebr.faiss as faiss`` (docs/faiss.md).

>>> index = faiss.index_factory(384, "IVF1024,BEBR52", faiss.METRIC_INNER_PRODUCT)
>>> index.train(x); index.add(x); index.nprobe = 32
>>> D, I = index.search(q, 10)

Shapes, dtypes, the order of results and the padding with -1 are FAISS's. What has no counterpart is refused by name.
"""

from __future__ import annotations

from typing import Any

from bebr.faiss.factory import index_factory
from bebr.faiss.files import IO_FLAG_MMAP, deserialize_index, read_index, serialize_index, write_index
from bebr.faiss.index import METRIC_INNER_PRODUCT, METRIC_L2, Index
from bebr.faiss.kinds import (
    IndexBEBR,
    IndexFlat,
    IndexFlatIP,
    IndexFlatL2,
    IndexHNSW,
    IndexHNSWFlat,
    IndexIVF,
    IndexIVFFlat,
)
from bebr.faiss.others import (
    IndexIDMap,
    IndexIDMap2,
    downcast_index,
    extract_index_ivf,
    normalize_L2,
    omp_get_max_threads,
    omp_set_num_threads,
)
from bebr.faiss.selectors import (
    IDSelector,
    IDSelectorAll,
    IDSelectorAnd,
    IDSelectorArray,
    IDSelectorBatch,
    IDSelectorNot,
    IDSelectorOr,
    IDSelectorRange,
    SearchParameters,
    SearchParametersHNSW,
    SearchParametersIVF,
)

__all__ = [
    "IO_FLAG_MMAP",
    "METRIC_INNER_PRODUCT",
    "METRIC_L2",
    "IDSelector",
    "IDSelectorAll",
    "IDSelectorAnd",
    "IDSelectorArray",
    "IDSelectorBatch",
    "IDSelectorNot",
    "IDSelectorOr",
    "IDSelectorRange",
    "Index",
    "IndexBEBR",
    "IndexFlat",
    "IndexFlatIP",
    "IndexFlatL2",
    "IndexHNSW",
    "IndexHNSWFlat",
    "IndexIDMap",
    "IndexIDMap2",
    "IndexIVF",
    "IndexIVFFlat",
    "SearchParameters",
    "SearchParametersHNSW",
    "SearchParametersIVF",
    "deserialize_index",
    "downcast_index",
    "extract_index_ivf",
    "index_factory",
    "normalize_L2",
    "omp_get_max_threads",
    "omp_set_num_threads",
    "read_index",
    "serialize_index",
    "write_index",
]

# Beginnings of names that FAISS has and this has not, with what to use.
_INSTEAD = {
    "IndexBinary": "codes of bebr are made of float vectors: IndexBEBR(d, bytes)",
    "IndexIVF": "IndexIVF(d, nlist, bytes_per_vector=...), or index_factory(d, 'IVF1024,BEBR52')",
    "IndexHNSW": "IndexHNSW(d, M, bytes_per_vector=...), or index_factory(d, 'HNSW32,BEBR52')",
    "IndexRefine": "index_factory(d, '...,Refine(SQfp16)')",
    "IndexPreTransform": "nothing: bebr's codes learn their own rotation",
    "Index": "IndexBEBR(d, bytes), or index_factory(d, 'BEBR52')",
    "PCAMatrix": "nothing: bebr's codes learn their own rotation",
    "OPQMatrix": "nothing: bebr's codes learn their own rotation",
    "GpuIndex": "nothing: bebr.faiss runs on processors",
    "index_cpu_to": "nothing: bebr.faiss runs on processors",
    "StandardGpuResources": "nothing: bebr.faiss runs on processors",
    "METRIC_": "METRIC_L2, or METRIC_INNER_PRODUCT, with vectors of unit length for cosines",
}


def __getattr__(name: str) -> Any:
    instead = next((said for start, said in _INSTEAD.items() if name.startswith(start)), "see docs/faiss.md")
    raise AttributeError(f"bebr.faiss has no {name}: {instead}")
