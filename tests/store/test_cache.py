"""Segments in an object store, and the cache of each process: bounded, checked, and enough while the store is away."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

import bebr
from bebr.errors import CorruptFile, LimitExceeded
from bebr.store.database import Database
from benchmarks.object_stores import KINDS, ObjectStore, is_there
from tests.conftest import model_of


@pytest.fixture(scope="module")
def bz(vectors):
    return model_of(vectors, widths=[48, 16])


@pytest.fixture
def made(shared, bz, vectors):
    """Collections a, b and c with a segment each; the bytes of one."""
    with shared.open() as db:
        for name in "abc":
            docs = db.create_collection(name, bz)
            docs.upsert(range(500), vectors[:500])
            docs.flush()
        return db.collection("a").snapshot.segments[0].part.row.bytes


def cached(folder: Path) -> list[str]:
    """The collections whose segments are there, by number."""
    return sorted(file.name.partition("-")[0] for file in (folder / "segments").iterdir())


def test_what_was_not_used_for_longest_goes(shared, made, tmp_path):
    options = {"cache": tmp_path / "small", "cache_bytes": 2 * made}
    with shared.open(**options) as db:
        db.collection("a"), db.collection("b")
        assert cached(db.path) == ["1", "2"]
        with pytest.raises(LimitExceeded, match=rf"may have {2 * made} bytes, .* need {made} more: .*cache_bytes"):
            db.collection("c")  # both are held by snapshots
        assert len(db.collection("a")) == 500
    with shared.open(**options) as db:
        db.collection("a")
        db.collection("c")
        assert cached(db.path) == ["1", "3"]
    with shared.open(**options) as db:
        held = db.collection("c").snapshot
        db.drop_collection("c")
        gc.collect()
        assert len(held) == 500 and cached(db.path) == ["1"]


def test_what_arrives_damaged_is_named_and_costs_its_collection(shared, made, tmp_path):
    file = next((tmp_path / "segments" / "segments").glob("2-*"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with shared.open() as db:
        for _ in range(2):
            with pytest.raises(CorruptFile, match=rf"file://.*/segments/{file.name}.*checksum"):
                db.collection("b")
        assert len(db.collection("a")) == 500 and cached(db.path) == ["1"]
        file.unlink()
        with pytest.raises(CorruptFile, match=rf"{file.name} is missing: the catalog lists it with 500 rows"):
            db.collection("b")


def test_what_is_damaged_in_the_cache_is_fetched_anew(shared, made, tmp_path, caplog, same_answers, vectors):
    options = {"cache": tmp_path / "mine"}
    with shared.open(**options) as db:
        db.collection("a")
    for file in [*(tmp_path / "mine" / "segments").iterdir(), *(tmp_path / "mine" / "models").iterdir()]:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    with shared.open(**options) as db:
        same_answers(db.collection("a"), dict(enumerate(vectors[:500])))
    assert "it is fetched anew" in caplog.text


def test_while_the_store_is_away_writes_that_need_it_fail_and_reads_go_on(
    shared, made, tmp_path, monkeypatch, vectors, same_answers
):
    with shared.open() as db:
        docs = db.collection("a")
        place = db._home._store._place

        def away(*_):
            raise OSError("the network is down")

        with monkeypatch.context() as patch:
            for call in ("read", "write", "remove"):
                patch.setattr(place, call, away)
            with pytest.raises(ConnectionError, match=r"cannot be reached: .*network is down.*was not written"):
                db.register_model(bebr.untrained(64, 10))
            docs.upsert(range(500, 600), vectors[500:600])  # the journal is in PostgreSQL
            with pytest.raises(ConnectionError, match="cannot be reached"):
                docs.flush()
            same_answers(docs, dict(enumerate(vectors[:600])))
            with pytest.raises(ConnectionError):
                db.collection("b")
        docs.settle()
        same_answers(docs, dict(enumerate(vectors[:600])))
        assert docs.stats().segments == 2 and docs.stats().tail_rows == 0
        assert len(db.collection("b")) == 500
    with shared.open() as db:
        same_answers(db.collection("a"), dict(enumerate(vectors[:600])))
        assert len(list((tmp_path / "segments" / "segments").iterdir())) == 4


def test_an_index_file_is_attached(shared, bz, vectors, tmp_path, same_answers):
    index = bebr.FlatIndex(bz)
    index.add(vectors[:300], range(300))
    index.save(tmp_path / "index.bebr")
    with shared.open() as db:
        docs = db.create_collection("docs", bz)
        docs.upsert(range(290, 310), vectors[690:710])
        docs.attach(tmp_path / "index.bebr")
    with shared.open() as db:
        rows = dict(enumerate(vectors[:300])) | {i: vectors[i + 400] for i in range(300, 310)}
        same_answers(db.collection("docs"), rows)


@pytest.mark.parametrize("kind", KINDS)
def test_s3(kind, postgres, tmp_path, monkeypatch, bz, vectors, same_answers):
    """By SeaweedFS, an object store, and by moto's server, which only acts like one."""
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs: pip install s3fs")
    if not is_there(kind):
        pytest.skip(f"needs {kind}: pip install 'bebr[test]'")
    store = ObjectStore(kind, tmp_path, "bebr")
    try:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # of another store
        url = postgres.schema()
        with Database(url, segments="s3://bebr/data", cache=tmp_path / "one") as db:
            docs = db.create_collection("docs", bz)
            docs.upsert(range(300), vectors[:300])
            docs.flush()
            with Database(url, segments="s3://bebr/data", cache=tmp_path / "two") as other:
                same_answers(other.collection("docs"), dict(enumerate(vectors[:300])))
            docs.upsert(range(300, 600), vectors[300:600])
            docs.settle()
        with Database(url, segments="s3://bebr/data", cache=tmp_path / "three") as db:
            same_answers(db.collection("docs"), dict(enumerate(vectors[:600])))
            assert len(s3fs.S3FileSystem().ls("bebr/data/segments", refresh=True)) == 1
    finally:
        store.close()
    with Database(url, segments="s3://bebr/data", cache=tmp_path / "three") as db:  # the store is away
        same_answers(db.collection("docs"), dict(enumerate(vectors[:600])))
