"""Every public object can be pickled and copied, or says in words what to do instead."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields, is_dataclass
from datetime import datetime
from types import FunctionType
from typing import Any

import numpy as np
import pytest

import bebr
import bebr.faiss
from bebr.collection.protocol import (
    BatchingStats,
    CollectionHits,
    CollectionStats,
    ModelInfo,
    RecallEstimate,
    Row,
    SnapshotInfo,
)
from bebr.index.base import RangeHits
from tests.conftest import model_of

WAYS = pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        *(lambda it, p=p: pickle.loads(pickle.dumps(it, p)) for p in (2, pickle.HIGHEST_PROTOCOL)),
    ],
    ids=["copy", "deepcopy", "pickle-2", "pickle"],
)


@pytest.fixture(scope="module")
def rows(vectors) -> np.ndarray:
    return vectors[:400]


@pytest.fixture(scope="module")
def made(rows, tmp_path_factory) -> dict[str, list[Any]]:
    """By public name: objects of the class, or what the function returns."""
    bz = model_of(rows, bytes_per_vector=18)
    indexes: dict[str, Any] = {
        "FlatIndex": bebr.FlatIndex(bz, rescore="float16"),
        "IVFIndex": bebr.IVFIndex(bz, 4),
        "GraphIndex": bebr.GraphIndex(bz),
        "MaxSimIndex": bebr.MaxSimIndex(bebr.FlatIndex(bz)),
    }
    for name, index in indexes.items():
        index.add(rows.reshape(100, 4, 64) if name == "MaxSimIndex" else rows)
    flat, path = indexes["FlatIndex"], tmp_path_factory.mktemp("copies")
    flat.save(path / "flat.bebr")
    untrained = bebr.IVFIndex(bz, 4)
    staged = model_of(rows, widths=[64, 64], stage_factor=True)
    hits = flat.search(rows[:3], 5)
    info = ModelInfo.of(bz)
    stats = CollectionStats(4, 1, 2, 0, 9, info, BatchingStats(1, 2, 3, 4), rows_by_kind={"flat": 4})
    groups = CollectionHits(*hits, payloads=[[{"a": 1}] * 5] * 3, groups=[["x"] * 5] * 3)
    when = bebr.F("day") < datetime(2026, 1, 2)
    return {name: [index] for name, index in indexes.items()} | {
        "TLS": [bebr.TLS(ca="ca.pem", server_name="here")],
        "Binarizer": [bz, staged.settings, staged.prepare(rows[:3])],
        "Codes": [bz.encode(rows[:3])],
        "F": [bebr.F("a.b")],
        "Filter": [~((bebr.F("a") == 1) & bebr.F("b").isin(["x", 2.5])) | when | bebr.F("c").exists()],
        "Hits": [hits, groups, flat.search_range(rows[:3], 0.5), Row(7, {"a": [1]}, rows[0])],
        "open": [stats, RecallEstimate(0.9, 0.8, 1.0, 100, 10)],
        "HNSWIndex": [indexes["GraphIndex"]],
        "Index": [untrained],
        "info": [bebr.info()],
        "open_index": [bebr.open_index(path / "flat.bebr")],
        "snapshots": [SnapshotInfo("1", "2026-11-29T10:00:00Z", {"docs": 3}, 1, 2, 3, 4)],
        "plan": [bebr.plan(rows, bytes_per_vector=18)],
        "untrained": [bebr.untrained(8, 6)],
    }


# What returns nothing of its own, or what the others return; databases and clients are tests/serve's.
WITHOUT = {"build", "connect", "connect_async", "get_num_threads", "load_released", "restore", "set_num_threads"}
WITHOUT |= {"train"}


def errors(base: type[BaseException] = bebr.Error) -> list[type[BaseException]]:
    """``base`` and all errors of bebr that derive from it."""
    below = [kind for one in base.__subclasses__() for kind in errors(one)]
    return [kind for kind in (base, *below) if kind.__module__.startswith("bebr.")]


def same(one: Any, other: Any, rows: np.ndarray) -> bool:
    """Whether they cannot be told apart by what they do."""
    if type(one) is not type(other):
        return False
    if isinstance(one, bebr.Index | bebr.MaxSimIndex):
        return len(one) == len(other) and (
            len(one) == 0 or same(one.search(rows[:9], 5), other.search(rows[:9], 5), rows)
        )
    if isinstance(one, bebr.Binarizer):
        return one.digest == other.digest
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, tuple):
        return all(same(a, b, rows) for a, b in zip(one, other, strict=True)) and (
            getattr(one, "__dict__", None) == getattr(other, "__dict__", None)
        )
    if isinstance(one, bebr.F):
        return repr(one) == repr(other)
    if is_dataclass(one) and not isinstance(one, bebr.Filter):
        return all(same(getattr(one, f.name), getattr(other, f.name), rows) for f in fields(one) if f.name != "stage")
    return bool(one == other)


def test_no_public_name_is_forgotten(made):
    wanted = {name for name in bebr.__all__ if getattr(bebr, name) not in errors()}
    assert set(made) | WITHOUT == wanted and not set(made) & WITHOUT


@WAYS
def test_a_copy_does_what_its_original_does(made, rows, copied):
    for name, objects in made.items():
        for one in objects:
            again = copied(one)
            assert same(one, again, rows), f"{name}: {one!r} became {again!r}"
            if getattr(one, "stage", None):
                assert same(one.stage(one.vectors), again.stage(again.vectors), rows)


@WAYS
def test_functions_and_classes_are_themselves(copied):
    for name in bebr.__all__:
        public = getattr(bebr, name)
        assert isinstance(public, type | FunctionType) and copied(public) is public, name


@WAYS
def test_errors_keep_what_they_say(copied):
    kinds = errors()
    assert {bebr.Error, bebr.CorruptFile, bebr.LimitExceeded} <= set(kinds)
    for kind in kinds:
        again = copied(kind("x.bebr: section 'codes': checksum expected 1, found 2"))
        assert type(again) is kind and str(again).endswith("found 2"), kind


@WAYS
def test_a_copy_of_several_vectors_a_document_or_of_faiss_is_one_of_its_own(made, rows, copied):
    [documents] = made["MaxSimIndex"]
    again = copied(documents)
    assert again.remove([3]) == 1 and 3 in documents and len(again) == len(documents) - 1
    faiss = bebr.faiss.index_factory(64, "BEBR18")
    faiss.train(rows)
    faiss.add(rows[:50])
    another = copied(faiss)
    another.add(rows[50:60])
    assert (faiss.ntotal, another.ntotal) == (50, 60)
    np.testing.assert_array_equal(another.search(rows[:5], 1)[1], faiss.search(rows[:5], 1)[1])


@WAYS
def test_an_open_folder_says_what_to_do(tmp_path, copied):
    with bebr.open(tmp_path) as db:
        for handle in (db, db.create_collection("docs", dim=8)):
            with pytest.raises(
                TypeError, match=r"cannot be pickled or copied: open it anew .*bebr\.connect .*bebr\.open"
            ):
                copied(handle)


def test_range_hits_are_those_of_a_range_search(made):
    assert any(isinstance(one, RangeHits) for one in made["Hits"])
