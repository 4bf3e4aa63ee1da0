"""bebr.build: the file is that of an index built in memory, whatever the source, the memory and the kills."""

from __future__ import annotations

import inspect
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import bebr
from bebr.bulk.options import Asked, Options
from bebr.vectors import write_columns, write_vectors
from tests.conftest import model_of

LISTS = 40


@pytest.fixture(scope="module")
def bz(vectors):
    return model_of(vectors, bytes_per_vector=18)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of 700 rows, read 256 at a time: a few thousand vectors then pass through all there is."""
    monkeypatch.setattr("bebr.bulk.budget.Budget.chunk", lambda self, stored: 700)
    monkeypatch.setattr("bebr.bulk.budget.Budget.block", 256)


def in_memory(index: bebr.IVFIndex, x: np.ndarray, ids: np.ndarray | None, path: Path) -> bytes:
    """The file of an IVFIndex with the same centroids, made by add and save."""
    twin = bebr.IVFIndex(index.binarizer, index.nlist, rescore=index.raw_type)
    twin._engine, twin._trained = twin._with(index._engine.centroids), True
    twin.add(x, ids)
    twin.save(path)
    return path.read_bytes()


# The same file from every kind of source


def as_array(x, folder):
    return x, {}


def as_npy(x, folder):
    np.save(folder / "x.npy", x)
    return folder / "x.npy", {}


def as_fvecs(x, folder):
    write_vectors(folder / "x.fvecs", x)
    return folder / "x.fvecs", {}


def as_folder_of_parquet(x, folder):
    (folder / "parts").mkdir()
    for i in range(3):
        write_columns(folder / "parts" / f"{i}.parquet", {"vector": x[i * 1000 : (i + 1) * 1000]})
    return folder / "parts", {}


def as_function(x, folder):
    return lambda start: (x[i : i + 333] for i in range(start, len(x), 333)), {"rows": len(x)}


@pytest.mark.parametrize("source", [as_array, as_npy, as_fvecs, as_folder_of_parquet, as_function])
def test_the_file_is_that_of_an_index_built_in_memory(source, vectors, bz, tmp_path):
    given, options = source(vectors, tmp_path)
    index = bebr.build(given, tmp_path / "o.bebr", nlist=LISTS, binarizer=bz, **options)
    assert index.nlist == LISTS and len(index) == len(vectors)
    assert (tmp_path / "o.bebr").read_bytes() == in_memory(index, vectors, None, tmp_path / "twin.bebr")
    assert not (tmp_path / "o.bebr.build").exists()
    bebr.open_index(tmp_path / "o.bebr", verify=True)


def test_a_source_without_a_model_trains_one_and_finds_its_vectors(vectors, queries, tmp_path):
    stages: list[str] = []
    index = bebr.build(
        vectors, tmp_path / "o.bebr", bytes_per_vector=24, metric="l2", progress=lambda s, d, t: stages.append(s)
    )
    assert index.binarizer.bytes_per_vector == 24 and index.binarizer.metric == "l2" and index.nlist == 256
    exact = np.argsort(((queries[:, None] - vectors[None]) ** 2).sum(2), axis=1)[:, :10]
    found = index.search(queries, 10, nprobe=index.nlist).ids
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)]) > 5
    assert list(dict.fromkeys(stages))[-4:] == ["reading a sample", "finding centroids", "encoding", "merging"]


@pytest.mark.parametrize("order", ["ascending with gaps", "shuffled", "shuffled, far apart"])
def test_ids_in_any_order(order, vectors, bz, tmp_path, monkeypatch):
    ids = np.arange(len(vectors), dtype=np.int64) * 3 + 7
    if order != "ascending with gaps":
        ids = np.random.default_rng(0).permutation(ids)
    if order == "shuffled, far apart":
        ids *= 1 << 45
    np.save(tmp_path / "ids.npy", ids)
    index = bebr.build(
        vectors, tmp_path / "o.bebr", nlist=LISTS, binarizer=bz, ids=np.load(tmp_path / "ids.npy", mmap_mode="r")
    )
    assert (tmp_path / "o.bebr").read_bytes() == in_memory(index, vectors, ids, tmp_path / "twin.bebr")
    assert int(ids[1234]) in index and int(ids[1234]) + 1 not in index


@pytest.mark.parametrize("kind", ["float16", "int8"])
@pytest.mark.parametrize("order", ["rows", "ascending", "shuffled"])
def test_vectors_are_kept_beside_their_codes(kind, order, vectors, queries, bz, tmp_path):
    ids = None if order == "rows" else np.arange(len(vectors), dtype=np.int64) * 5 + 3
    if order == "shuffled":
        ids = np.random.default_rng(1).permutation(ids)
    index = bebr.build(vectors, tmp_path / "o.bebr", nlist=LISTS, binarizer=bz, ids=ids, rescore=kind)
    assert index.raw_type == kind
    assert (tmp_path / "o.bebr").read_bytes() == in_memory(index, vectors, ids, tmp_path / "twin.bebr")
    found = bebr.open_index(tmp_path / "o.bebr", verify=True).search(queries, 5, nprobe=LISTS, rescore=200)
    exact = np.argsort(-queries @ vectors.T, axis=1, kind="stable")[:, :5]
    assert np.mean(found.ids == (exact if ids is None else ids[exact])) > 0.9  # int8 orders near ones otherwise


def test_a_vector_that_cannot_be_kept_is_named(vectors, tmp_path):
    x = vectors.copy()
    x[1234, 5] = 1e6
    model = model_of(vectors, bytes_per_vector=18, metric="ip")
    with pytest.raises(ValueError, match=r"rows from 1024 on, vector 210 .*float16 cannot hold"):
        bebr.build(x, tmp_path / "o.bebr", nlist=LISTS, binarizer=model, rescore="float16")
    assert not (tmp_path / "o.bebr").exists()
    with pytest.raises(ValueError, match="rescore is 'float8'"):
        bebr.build(x, tmp_path / "p.bebr", nlist=LISTS, binarizer=model, rescore="float8")


def test_the_first_rows_only_and_plain_codes(vectors, bz, tmp_path):
    index = bebr.build(vectors, tmp_path / "o.bebr", nlist=LISTS, binarizer=bz, rows=1000, optimize=False)
    codes, _ = index.codes(np.arange(1000))
    assert len(index) == 1000
    np.testing.assert_array_equal(codes.planes, bz.encode(vectors[:1000], optimize=False).planes)


def test_each_option_is_typed_and_shown():
    shown = inspect.signature(bebr.build).parameters
    assert set(Asked.__annotations__) == {field.name for field in fields(Options)} < set(shown)
    assert list(shown)[:2] == ["source", "path"] and shown["memory"].default == "4GiB" and "options" not in shown


# Kills

CHILD = """
import os, sys, time
import numpy as np
import bebr, bebr.bulk.budget as budget
budget.Budget.chunk = lambda self, stored: 700
budget.Budget.block = 256
x, model, out, pause = np.load(sys.argv[1]), bebr.Binarizer.load(sys.argv[2]), sys.argv[3], float(sys.argv[4])

def blocks(start):
    for i in range(start, len(x), 100):
        time.sleep(pause)
        yield x[i : i + 100]

bebr.build(blocks, out, rows=len(x), nlist=40, binarizer=model, progress=lambda *a: print(*a, flush=True))
"""


def test_a_killed_build_goes_on_where_it_was(vectors, bz, tmp_path):
    np.save(tmp_path / "x.npy", vectors)
    bz.save(tmp_path / "m.safetensors")
    out, work = tmp_path / "o.bebr", tmp_path / "o.bebr.build"

    def child(pause: float) -> subprocess.Popen:
        arguments = [sys.executable, "-c", CHILD, tmp_path / "x.npy", tmp_path / "m.safetensors", out, str(pause)]
        return subprocess.Popen([str(a) for a in arguments], stdout=subprocess.PIPE, text=True)

    for chunks in (1, 3):  # dies twice, each time later
        with child(0.03) as process:
            for _ in process.stdout:
                if len(list(work.glob("chunk-*.bebr"))) >= chunks:
                    break
            os.kill(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL and not out.exists()
    kept = {path: path.stat().st_mtime_ns for path in work.glob("chunk-*.bebr")}
    assert 3 <= len(kept) < 5
    copy = tmp_path / "copy"
    shutil.copytree(work, copy)  # what the last life begins with, to see that it uses it
    with child(0) as process:
        first = next(line for line in process.stdout if line.startswith("encoding"))
        process.stdout.read()
    assert process.returncode == 0 and int(first.split()[1]) > 700 * len(kept)
    assert not work.exists()
    index = bebr.open_index(out, verify=True)
    assert out.read_bytes() == in_memory(index, vectors, None, tmp_path / "twin.bebr")


def interrupted(vectors, bz, path, after=2000, **options):
    """A build that breaks off when its source does."""

    def blocks(start):
        for i in range(start, len(vectors), 100):
            if i >= after:
                raise OSError("the disk went away")
            yield vectors[i : i + 100]

    monkey = {"rows": len(vectors), "nlist": LISTS, "binarizer": bz} | options
    with pytest.raises(OSError, match="the disk went away"):
        bebr.build(blocks, path, **monkey)


def test_going_on_with_other_arguments_is_refused(vectors, bz, tmp_path, monkeypatch):
    monkeypatch.setattr("bebr.bulk.setup.sampled", lambda stream, count, block: iter([vectors]))
    out = tmp_path / "o.bebr"
    interrupted(vectors, bz, out)
    assert not out.exists() and len(list((tmp_path / "o.bebr.build").glob("chunk-*"))) == 2
    whole = lambda x: lambda start: (x[i : i + 100] for i in range(start, len(x), 100))  # noqa: E731
    for changed, what in [({"nlist": 41}, "nlist 40, not 41"), ({"seed": 3}, "seed 0, not 3")]:
        with pytest.raises(ValueError, match=f"began with {what}"):
            bebr.build(whole(vectors), out, **{"rows": len(vectors), "nlist": LISTS, "binarizer": bz} | changed)
    with pytest.raises(ValueError, match="began with vectors"):
        bebr.build(whole(vectors[::-1]), out, rows=len(vectors), nlist=LISTS, binarizer=bz)
    index = bebr.build(whole(vectors), out, rows=len(vectors), nlist=LISTS, binarizer=bz)
    assert out.read_bytes() == in_memory(index, vectors, None, tmp_path / "twin.bebr")


def test_going_on_with_what_was_changed_in_its_middle_is_refused(vectors, bz, tmp_path):
    """Chunks hold the rows and ids of before."""
    ids = np.arange(len(vectors))
    options = {"nlist": LISTS, "binarizer": bz, "ids": ids}

    def stop(stage, done, total):
        if stage == "merging":
            raise OSError("the disk went away")

    out = tmp_path / "o.bebr"
    with pytest.raises(OSError, match="the disk went away"):
        bebr.build(vectors, out, progress=stop, **options)
    other, late = ids.copy(), vectors.copy()
    other[1500], late[1500, 3] = 10**6, 0
    with pytest.raises(ValueError, match="began with ids"):
        bebr.build(vectors, out, **options | {"ids": other})
    with pytest.raises(ValueError, match="began with source"):
        bebr.build(late, out, **options)
    assert len(bebr.build(vectors, out, **options)) == len(vectors)


@pytest.mark.parametrize("source", [None, 3, [[0.5, 0.5]], iter([])])
def test_what_is_no_source_is_named(source, bz, tmp_path):
    with pytest.raises(ValueError, match=r"source is of type \w+: want a path"):
        bebr.build(source, tmp_path / "o.bebr", binarizer=bz)


def test_a_tensor_is_an_array(vectors, bz, tmp_path):
    torch = pytest.importorskip("torch")
    bebr.build(torch.tensor(vectors), tmp_path / "t.bebr", nlist=LISTS, binarizer=bz)
    bebr.build(vectors, tmp_path / "a.bebr", nlist=LISTS, binarizer=bz)
    assert (tmp_path / "t.bebr").read_bytes() == (tmp_path / "a.bebr").read_bytes()


def test_a_damaged_chunk_is_found_and_named(vectors, bz, tmp_path, monkeypatch):
    monkeypatch.setattr("bebr.bulk.setup.sampled", lambda stream, count, block: iter([vectors]))
    out = tmp_path / "o.bebr"
    interrupted(vectors, bz, out)
    chunk = tmp_path / "o.bebr.build" / "chunk-000001.bebr"
    for at in (len(chunk.read_bytes()) * 3 // 4, 70):  # in the codes; in the section table
        data = bytearray(chunk.read_bytes())
        data[at] ^= 1
        chunk.write_bytes(data)
        with pytest.raises(bebr.CorruptFile, match=r"chunk-000001\.bebr"):
            bebr.build(lambda start: iter([vectors[start:]]), out, rows=len(vectors), nlist=LISTS, binarizer=bz)
        assert not out.exists()
    chunk.unlink()  # as the message says
    index = bebr.build(lambda start: iter([vectors[start:]]), out, rows=len(vectors), nlist=LISTS, binarizer=bz)
    assert out.read_bytes() == in_memory(index, vectors, None, tmp_path / "twin.bebr")


# Memory

MEASURED = """
import re, sys
import numpy as np
import bebr

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10

model = bebr.Binarizer.load(sys.argv[2])
bebr.build(np.load(sys.argv[1], mmap_mode="r")[:3000].copy(), sys.argv[3] + ".bebr", binarizer=model, nlist=64)
before = peak()
options = {"binarizer": model} if sys.argv[4] == "model" else {"bytes_per_vector": 18}
bebr.build(sys.argv[1], sys.argv[3], nlist=256, memory="64MiB", **options)
print(peak() - before)
"""


@pytest.mark.parametrize("learn", ["model", "no model"])
def test_the_memory_asked_for_is_kept(learn, vectors, bz, tmp_path):
    source = tmp_path / "x.npy"
    np.save(source, np.tile(vectors, (110, 1)))  # 81 MiB
    bz.save(tmp_path / "m.safetensors")
    arguments = [source, tmp_path / "m.safetensors", tmp_path / "o.bebr", learn]
    done = subprocess.run([sys.executable, "-c", MEASURED, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 << 20
    assert len(bebr.open_index(tmp_path / "o.bebr")) == 330_000


# Bad input


def test_what_is_there_is_not_replaced_unless_told(vectors, bz, tmp_path):
    out = tmp_path / "o.bebr"
    out.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"o\.bebr is there already"):
        bebr.build(vectors, out, nlist=LISTS, binarizer=bz)
    assert out.read_bytes() == b"mine"
    assert len(bebr.build(vectors, out, nlist=LISTS, binarizer=bz, overwrite=True)) == len(vectors)


def test_nan_names_file_and_row(vectors, bz, tmp_path):
    x = vectors.copy()
    x[2345, 6] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ValueError, match=r"x\.npy: got nan at row 2345, dim 6, wanted finite numbers"):
        bebr.build(tmp_path / "x.npy", tmp_path / "o.bebr", nlist=LISTS, binarizer=bz)
    assert not (tmp_path / "o.bebr").exists()


def test_a_full_disk_is_said_before_the_work(vectors, bz, tmp_path, monkeypatch):
    free = 100_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 40, 0, free))
    with pytest.raises(bebr.LimitExceeded, match=r"o\.bebr: wants about .* bytes of disk .* has 100,000 free"):
        bebr.build(vectors, tmp_path / "o.bebr", nlist=LISTS, binarizer=bz)
    assert not list((tmp_path / "o.bebr.build").glob("chunk-*"))


def test_files_of_different_dimensions(vectors, bz, tmp_path):
    np.save(tmp_path / "a.npy", vectors)
    np.save(tmp_path / "b.npy", vectors[:, :32])
    with pytest.raises(ValueError, match=r"b\.npy: got 32 dimensions, wanted 64 as in .*a\.npy"):
        bebr.build([tmp_path / "a.npy", tmp_path / "b.npy"], tmp_path / "o.bebr", nlist=LISTS, binarizer=bz)
    with pytest.raises(ValueError, match="source has 32 dimensions: the binarizer takes 64"):
        bebr.build(tmp_path / "b.npy", tmp_path / "o.bebr", nlist=LISTS, binarizer=bz)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (lambda n: np.arange(n - 1), "ids has 2999 entries for 3000 vectors"),
        (lambda n: np.arange(n) * 1.5, "ids has dtype float64"),
        (lambda n: np.arange(n) - 5, "the id of row 0 is -5: want ids >= 0"),
        (lambda n: np.where(np.arange(n) == 2900, 17, np.arange(n)), "id 17 comes twice"),
    ],
)
def test_bad_ids(ids, message, vectors, bz, tmp_path):
    with pytest.raises((ValueError, KeyError), match=message):
        bebr.build(vectors, tmp_path / "o.bebr", nlist=LISTS, binarizer=bz, ids=ids(len(vectors)))
    assert not (tmp_path / "o.bebr").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bytes_per_vector": 18}, ValueError, "exactly one of bytes_per_vector and binarizer"),
        ({"binarizer": None}, ValueError, "exactly one of bytes_per_vector and binarizer"),
        ({"metric": "ip"}, ValueError, "metric is 'ip': the binarizer's is 'cosine'"),
        ({"nlist": 0}, ValueError, "nlist is 0: want an integer from 1 to 3000"),
        ({"memory": "much"}, ValueError, "memory is 'much'"),
        ({"memory": "1MiB"}, ValueError, "want at least 64MiB"),
        ({"rows": 0}, ValueError, "rows: got 0"),
        ({"column": "v"}, ValueError, "only Parquet files have named columns"),
    ],
)
def test_bad_arguments(options, error, message, vectors, bz, tmp_path):
    np.save(tmp_path / "x.npy", vectors)
    with pytest.raises(error, match=message):
        bebr.build(tmp_path / "x.npy", tmp_path / "o.bebr", **{"nlist": LISTS, "binarizer": bz} | options)


@pytest.mark.parametrize("options", [{"metric": "hamming"}, {"bytes_per_vector": 1}])
def test_what_only_the_training_refuses_leaves_no_folder(options, vectors, tmp_path):
    """It would stand in the way of the build with the right arguments: "began with metric hamming"."""
    with pytest.raises(ValueError, match=r"metric is 'hamming'|bytes_per_vector is 1"):
        bebr.build(vectors, tmp_path / "o.bebr", nlist=LISTS, **{"bytes_per_vector": 18} | options)
    assert not list(tmp_path.iterdir())


def test_too_many_lists_for_the_memory(vectors, bz, tmp_path):
    with pytest.raises(bebr.LimitExceeded, match="200,000 centroids of 64 dimensions want"):
        bebr.build(
            lambda start: iter([vectors]), tmp_path / "o.bebr", rows=10**6, nlist=200_000, binarizer=bz, memory="64MiB"
        )


def test_a_source_that_ends_early(vectors, bz, tmp_path):
    with pytest.raises(ValueError, match="it ended after 3000 rows, wanted 4000"):
        bebr.build(lambda start: iter([vectors[start:]]), tmp_path / "o.bebr", rows=4000, nlist=LISTS, binarizer=bz)


# Centroids in two levels


def test_more_lists_than_4096_are_found_in_two_levels_and_keep_their_balance(tmp_path):
    from bebr import _core
    from bebr.index.kmeans import _lloyd, kmeans
    from tests.conftest import clustered

    x = clustered(40_000, 16)
    centroids = kmeans(x, 5000, seed=0)
    assert centroids.shape == (5000, 16) and np.isfinite(centroids).all()
    np.testing.assert_array_equal(centroids, kmeans(x, 5000, seed=0))
    of = _core.Centroids(centroids).assign(x)
    assert np.bincount(of, minlength=5000).max() < 4 * 8
    # As near as the lists of one level, nearly.
    spread = ((x - centroids[of]) ** 2).sum(axis=1).mean()
    one_level = _lloyd(x, 5000, np.random.default_rng(0), None)
    assert spread < 1.05 * ((x - one_level[_core.Centroids(one_level).assign(x)]) ** 2).sum(axis=1).mean()
    # Assigned through groups, almost every row is in its nearest list.
    distances = (centroids**2).sum(1) / 2 - x[:2000] @ centroids.T
    assert (of[:2000] == distances.argmin(axis=1)).mean() > 0.97


def test_a_list_far_larger_than_the_others_is_said_aloud(vectors, bz, tmp_path):
    equal = np.concatenate([vectors, np.repeat(vectors[:1], 5000, axis=0)])
    with pytest.warns(UserWarning, match=r"the largest list holds 5,\d+ rows, .* times the mean"):
        bebr.build(equal, tmp_path / "o.bebr", nlist=LISTS, binarizer=bz)


def test_shares_are_in_proportion_and_never_more_than_there_is():
    from bebr.index.kmeans import _shares

    assert _shares(np.array([10, 0, 30, 60]), 10).tolist() == [1, 0, 3, 6]
    assert _shares(np.array([1, 1, 98]), 50).tolist() == [1, 0, 49]
    assert _shares(np.array([3, 1, 2]), 6).tolist() == [3, 1, 2]


def test_means_of_lists_are_those_of_numpy_and_an_empty_list_keeps_its_own() -> None:
    from bebr import _core

    rng = np.random.default_rng(0)
    x, before = rng.standard_normal((500, 12), np.float32), rng.standard_normal((7, 12), np.float32)
    lists = rng.choice([0, 1, 2, 4, 5, 6], 500).astype(np.uint32)
    sizes, means = _core.list_means(x, lists, before)
    np.testing.assert_array_equal(sizes, np.bincount(lists, minlength=7))
    expected = [x[lists == i].astype(np.float64).mean(axis=0) if i != 3 else before[3] for i in range(7)]
    np.testing.assert_allclose(means, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(means[3], before[3])
    with pytest.raises(IndexError, match="7 of 7"):
        _core.list_means(x, np.full(500, 7, np.uint32), before)
