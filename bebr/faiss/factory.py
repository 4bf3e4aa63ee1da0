"""`index_factory`: an index by its description."""

from __future__ import annotations

import re

from bebr.faiss.index import METRIC_L2, Index, Rescore
from bebr.faiss.kinds import IndexBEBR, IndexFlat, IndexHNSW, IndexHNSWFlat, IndexIVF

_REFINE: dict[str, Rescore] = {"Refine(SQfp16)": "float16", "Refine(SQ8)": "int8"}
_WANTED = "want [IDMap,][IVF<lists>,|HNSW<links>,]BEBR<bytes>|Flat[,Refine(SQfp16)|,Refine(SQ8)], as 'IVF1024,BEBR52'"
# Parts that FAISS knows, with what to do here.
_INSTEAD = {
    r"(PCA|OPQ|ITQ|RR|Pad).*": "bebr's codes learn their own rotation: leave it out",
    r"(PQ|SQ|RQ|LSQ|RaBitQ|LSH|PRQ|PLSQ|EDEN|TurboQuant|Q).*": "want BEBR<bytes>",
    r"RFlat|Refine\(.*\)": "bebr keeps float16 or int8 vectors: want Refine(SQfp16) or Refine(SQ8)",
    r"L2norm": "call normalize_L2 on the vectors",
    r"(IVF|IMI|HNSW|NSG)\S+": "want IVF<lists> or HNSW<links>",
}


def index_factory(d: int, description: str, metric: int = METRIC_L2) -> Index:
    """An empty index of ``d`` dimensions. ``ValueError`` names the part of the description that is not understood.

    ``"BEBR52"``: codes of 52 bytes; ``"Flat"``: codes and float16 vectors; before either ``"IVF1024"`` (lists) or
    ``"HNSW32"`` (a graph); after the first ``"Refine(SQfp16)"`` or ``"Refine(SQ8)"``, vectors for exact scores.
    ``"IDMap"`` changes nothing: every index takes ids.
    """
    parts = [part.strip() for part in description.split(",")]
    if parts[0] in ("IDMap", "IDMap2"):
        parts = parts[1:]
    shape = re.fullmatch(r"(IVF|HNSW)(\d+)", parts[0]) if parts else None
    parts = parts[1:] if shape else parts
    if shape and shape[1] == "HNSW" and not parts:
        parts = ["Flat"]
    code = re.fullmatch(r"BEBR(\d+)|Flat", parts[0]) if parts else None
    refine = parts[1] if code and len(parts) > 1 else None
    unknown = parts[2:] if code else parts
    if refine is not None and (refine not in _REFINE or parts[0] == "Flat"):
        unknown = [refine]
    if code is None or unknown:
        raise ValueError(f"description is {description!r}: {_said(unknown)}")
    size = None if code[1] is None else int(code[1])
    rescore = "float16" if size is None else None if refine is None else _REFINE[refine]
    if shape is None:
        return IndexFlat(d, metric) if size is None else IndexBEBR(d, size, metric, rescore=rescore)
    number = int(shape[2])
    if shape[1] == "IVF":
        return IndexIVF(d, number, metric, bytes_per_vector=size, rescore=rescore)
    if size is None:
        return IndexHNSWFlat(d, number, metric)
    return IndexHNSW(d, number, metric, bytes_per_vector=size, rescore=rescore)


def _said(unknown: list[str]) -> str:
    for part in unknown:
        for pattern, instead in _INSTEAD.items():
            if re.fullmatch(pattern, part):
                return f"{part!r} is FAISS's: {instead}"
    return _WANTED
