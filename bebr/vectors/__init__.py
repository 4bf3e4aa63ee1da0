"""Vector files: reading float32 vectors and int64 ids, writing any matrix, by file name suffix.

=========  ==========================================================  =======================
suffix     content                                                     read without a copy
=========  ==========================================================  =======================
.npy       one NumPy array [n, d]                                      little-endian float32
.fvecs     Texmex: each row is a little-endian int32 d, d float32      yes (rows are strided)
.bvecs     the same with d uint8                                       no, converted
.ivecs     the same with d int32                                       no, converted
.fbin      big-ann: uint32 rows and dimensions, then float32 values    yes (not written)
.u8bin     the same with uint8                                         no, converted
.i8bin     the same with int8                                          no, converted
.parquet   a list or fixed-size-list column of numbers                 no
=========  ==========================================================  =======================

Every error names the file, what was found and what was wanted. Writers write to a temporary name in the same folder
and rename it when all is on disk, so a reader never sees half a file.
"""

from __future__ import annotations

from bebr.vectors.output import check_output
from bebr.vectors.reader import READABLE, read_ids, read_vectors
from bebr.vectors.rows import RowWriter
from bebr.vectors.stream import Blocks, VectorStream, stream
from bebr.vectors.writer import SUFFIXES, VectorWriter, write_columns, write_vectors

__all__ = [
    "READABLE",
    "SUFFIXES",
    "Blocks",
    "RowWriter",
    "VectorStream",
    "VectorWriter",
    "check_output",
    "read_ids",
    "read_vectors",
    "stream",
    "write_columns",
    "write_vectors",
]
