"""Builds of many processes: here one, which does their work as it comes, dies, and is followed by another."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import bebr
from bebr.bulk.options import Options
from bebr.cluster import building
from bebr.vectors import write_columns
from tests.conftest import model_of

LISTS = 20


class Killed(BaseException):
    pass


class Here:
    """In this process, from a pickle, as in another one; the last items first. After `life` of them it dies."""

    def __init__(self, life: int = 1000) -> None:
        self.life, self.done = life, 0

    def map(self, work, common, items, memory):
        for item in reversed(items):
            if self.done == self.life:
                raise Killed
            self.done += 1
            yield work(pickle.loads(pickle.dumps(common)), item)


@pytest.fixture(autouse=True)
def small_runs(monkeypatch):
    monkeypatch.setattr(building, "_RUN_ROWS", 700)
    monkeypatch.setattr("bebr.bulk.budget.Budget.block", 256)


@pytest.fixture(scope="module")
def bz(vectors):
    return model_of(vectors, bytes_per_vector=18)


@pytest.fixture(scope="module")
def parquet(vectors, tmp_path_factory):
    """The URL of a folder of three files."""
    folder = tmp_path_factory.mktemp("parquet")
    for part in range(3):
        write_columns(folder / f"{part}.parquet", {"vector": vectors[part * 1000 : (part + 1) * 1000]})
    return f"file://{folder}"


@pytest.mark.parametrize("options", [{}, {"rescore": "int8"}, {"ids": np.arange(3000)[::-1] * 7}, {"rows": 2500}])
def test_the_bytes_are_those_of_one_machine(options, parquet, vectors, bz, tmp_path):
    about = {"nlist": LISTS, "binarizer": bz, **options}
    bebr.build(vectors, tmp_path / "plain.bebr", **about)
    assert building.build(parquet, f"file://{tmp_path}/many.bebr", Here(), Options(**about)) == ["many.bebr"]
    assert (tmp_path / "many.bebr").read_bytes() == (tmp_path / "plain.bebr").read_bytes()
    assert not (tmp_path / "many.bebr.build").exists()


@pytest.mark.parametrize("life", [0, 2, 5, 6])
def test_what_a_driver_that_died_had_finished_is_not_done_again(life, parquet, vectors, tmp_path):
    about = Options(nlist=LISTS, bytes_per_vector=18)
    whole = building.build(f"{parquet}/*.parquet", str(tmp_path / "a.bebr"), Here(), about, shards=2)
    with pytest.raises(Killed):
        building.build(parquet, str(tmp_path / "b.bebr"), Here(life), about, shards=2)
    with pytest.raises(ValueError, match="began with another shards"):
        building.build(parquet, str(tmp_path / "b.bebr"), Here(), about, shards=3)
    again = Here()
    names = building.build(parquet, str(tmp_path / "b.bebr"), again, about, shards=2)
    assert again.done == 5 + 2 - min(life, 5)
    for one, other in zip(whole, names, strict=True):
        assert (tmp_path / one).read_bytes() == (tmp_path / other).read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        building.build(parquet, str(tmp_path / "b.bebr"), Here(), about, shards=2)


def test_files_of_shards_are_those_of_a_collections_shards(here, parquet, vectors, queries, bz, tmp_path):
    names = building.build(parquet, str(tmp_path / "docs.bebr"), Here(), Options(nlist=LISTS, binarizer=bz), 3)
    assert names == ["docs.0of3.bebr", "docs.1of3.bebr", "docs.2of3.bebr"]
    with bebr.open(tmp_path / "db") as db:
        for shard, name in enumerate(names):
            assert db.create_collection(f"docs.{shard}of3", bz).attach(tmp_path / name) > 800
        root = here.root([here.leaf(db)], shards=3)
        with bebr.connect(root) as client:
            docs, flat = client.collection("docs"), bebr.FlatIndex(bz)
            flat.add(vectors)
            assert len(docs) == 3000 and docs.delete([5, 17]) == 2  # each row is where the root looks for it
            np.testing.assert_array_equal(docs.search(queries, 9, exact=True).scores[:, 0].shape, (50,))
            hits, wanted = docs.search(queries, 5, exact=True), flat.search(queries, 7, exact=True)
            for query in range(len(queries)):
                rest = [id for id in wanted.ids[query].tolist() if id not in (5, 17)]
                assert hits.ids[query].tolist() == rest[:5]
        here.stop(root)


def test_what_cannot_be_built_is_refused_before_any_work(parquet, bz, tmp_path):
    for change, words in (
        ({"path": "docs.bebr"}, "want the URL, or the path, of a .bebr file"),
        ({"shards": 0}, "shards is 0: want 1 to 1024"),
        ({"ids": np.arange(5)}, "ids has 5 entries for 3000 vectors"),
    ):
        path, shards = change.pop("path", str(tmp_path / "o.bebr")), change.pop("shards", 1)
        with pytest.raises(ValueError, match=words):
            building.build(parquet, path, Here(0), Options(binarizer=bz, **change), shards)
    with pytest.raises(FileNotFoundError, match="there are no Parquet files"):
        building.build(f"file://{tmp_path}/nothing", str(tmp_path / "o.bebr"), Here(0), Options(binarizer=bz))
    with pytest.raises(ValueError, match='shards goes with on="ray"'):
        bebr.build(np.ones((9, 64), np.float32), tmp_path / "o.bebr", binarizer=bz, shards=2)
    with pytest.raises(ValueError, match="on is 'spark': want 'ray'"):
        bebr.build(parquet, tmp_path / "o.bebr", binarizer=bz, on="spark")
