"""Snapshots of a database in another place, and their return."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import bebr
from bebr.store.backup import snapshots as backup
from bebr.store.backup.manifests import Manifest
from bebr.store.database import Database
from bebr.store.files import places
from tests.commands import done, refused, run
from tests.conftest import payloads_of


@pytest.fixture(scope="module")
def bz() -> bebr.Binarizer:
    return bebr.untrained(64, 10)


@pytest.fixture
def db(tmp_path, bz, vectors):
    """A database with a segment and a tail, ids 0 to 199."""
    with Database(tmp_path / "data") as made:
        docs = made.create_collection("docs", bz)
        docs.upsert(np.arange(100), vectors[:100], [{"n": n} for n in range(100)])
        docs.settle()
        docs.upsert(np.arange(100, 200), vectors[100:200])
        docs.delete([3, 150])
        yield made


def answers(db, queries):
    """All that a search says, of all rows."""
    docs = db.collection("docs")
    hits = docs.search(queries, len(docs), exact=True, with_payloads=True)
    return hits.scores.tobytes(), hits.ids.tobytes(), hits.payloads


def files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file())


def test_a_restored_database_is_its_source_to_the_bit(db, tmp_path, queries):
    made = db.snapshot(tmp_path / "place")
    assert bebr.snapshots(tmp_path / "place") == [made]
    assert made.collections == {"docs": 4}  # two upserts, a seal and a delete
    assert bebr.restore(tmp_path / "place", tmp_path / "back") == made
    with bebr.open(tmp_path / "back") as back:
        assert answers(back, queries) == answers(db, queries)
        assert back.models() == db.models()
        back.collection("docs").delete([7])  # it goes on by itself
    assert len(db.collection("docs")) == 198


def test_later_writes_are_not_in_it(db, tmp_path, vectors, queries):
    before = answers(db, queries)
    db.snapshot(tmp_path / "place")
    db.collection("docs").upsert([0, 500], vectors[:2])
    db.collection("docs").settle()
    bebr.restore(tmp_path / "place", tmp_path / "back")
    with bebr.open(tmp_path / "back") as back:
        assert answers(back, queries) == before


def test_a_second_snapshot_copies_what_is_new(db, tmp_path, bz, vectors):
    place = tmp_path / "place"
    first = db.snapshot(place)
    assert (first.new_files, first.new_bytes) == (first.files, first.bytes)
    db.collection("docs").upsert([900], vectors[:1])
    second = db.snapshot(place)
    assert second.new_files <= 2 < second.files  # the catalog and the versions
    other = db.create_collection("other", bz, keep="float16")
    other.upsert(np.arange(300), vectors[:300])
    other.settle()
    before = set(files(place))
    third = db.snapshot(place)
    new = [path.parent.name for path in files(place) if path not in before]
    assert sorted(new) == ["catalogs", "catalogs", "segments", "snapshots"]
    assert third.new_files == 3
    assert [info.name for info in bebr.snapshots(place)] == [first.name, second.name, third.name]


def test_space_that_a_seal_freed_is_not_copied(db, tmp_path, vectors):
    docs = db.collection("docs")
    docs.upsert(np.arange(3000), vectors, [{"text": "x" * 300}] * 3000)
    docs.settle()
    assert sum(path.stat().st_size for path in (tmp_path / "data").glob("catalog.db*")) > 500_000
    db.snapshot(tmp_path / "place")
    assert all(path.stat().st_size < 100_000 for path in files(tmp_path / "place" / "catalogs"))


def test_damage_in_the_catalog_is_named(db, tmp_path):
    db.close()
    catalog = tmp_path / "data" / "catalog.db"
    data = catalog.read_bytes()
    at = data.index(b"docs")
    for damaged in (
        data[:at] + b"docz" + data[at + 4 :],
        data[:4096] + b"\xff" * 4096 + data[8192:],
        b"no database" * 9,
    ):
        catalog.write_bytes(damaged)
        with pytest.raises(bebr.CorruptFile, match=r"catalog\.db"):
            backup.create(backup.Folder(tmp_path / "data"), tmp_path / "place")
        catalog.write_bytes(data)
    backup.create(backup.Folder(tmp_path / "data"), tmp_path / "place")


def test_an_older_snapshot_is_restored_by_its_name(db, tmp_path):
    first = db.snapshot(tmp_path / "place")
    db.drop_collection("docs")
    db.snapshot(tmp_path / "place")
    bebr.restore(tmp_path / "place", tmp_path / "newest")
    bebr.restore(tmp_path / "place", tmp_path / "first", snapshot=first.name)
    with bebr.open(tmp_path / "newest") as newest, bebr.open(tmp_path / "first") as old:
        assert newest.collections() == []
        assert len(old.collection("docs")) == 198


def test_snapshots_taken_while_it_is_written_to_hold_whole_writes_up_to_one(tmp_path, bz, vectors, same_answers):
    """Write w puts rows 10 w to 10 w + 9 and replaces row 0."""
    stop = threading.Event()
    with Database(tmp_path / "data", seal_rows=40) as db:
        docs = db.create_collection("docs", bz)

        def write():
            for w in range(200):
                if stop.is_set():
                    return
                ids = [*range(10 * w, 10 * w + 10), *([0] if w else [])]
                docs.upsert(ids, vectors[[*ids[:10], *([w] if w else [])]], [{"write": w}] * len(ids))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            made = []
            for _ in range(6):
                made.append(db.snapshot(tmp_path / "place"))
                docs.settle()  # merges, which remove segments
        finally:
            stop.set()
            writer.join()
    assert made[0].collections["docs"] < made[-1].collections["docs"]
    for info in made:
        bebr.restore(tmp_path / "place", tmp_path / info.name, snapshot=info.name)
        with bebr.open(tmp_path / info.name) as back:
            docs = back.collection("docs")
            writes = len(docs) // 10
            rows = {n: vectors[n] for n in range(10 * writes)}
            if writes > 1:
                rows[0] = vectors[writes - 1]
            same_answers(docs, rows)
            payloads = payloads_of(docs, np.arange(10 * writes))
            assert [p["write"] for p in payloads[1:]] == [n // 10 for n in range(1, 10 * writes)]


def test_damage_in_a_place_is_named_and_costs_the_snapshots_that_share_it(db, tmp_path):
    place = tmp_path / "place"
    db.snapshot(place)
    for folder in ("segments", "models", "catalogs"):
        for path in files(place / folder):
            data = path.read_bytes()
            at = len(data) // 2 if folder != "catalogs" or len(data) > 300 else 20
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(bebr.CorruptFile, match=path.name):
                bebr.restore(place, tmp_path / "back")
            path.unlink()
            with pytest.raises(bebr.CorruptFile, match=f"{path.name} is missing"):
                bebr.restore(place, tmp_path / "back")
            path.write_bytes(data)
    assert not (tmp_path / "back").exists()
    assert not list(tmp_path.glob("back*"))
    bebr.restore(place, tmp_path / "back")


def test_a_damaged_manifest_costs_its_snapshot_only(db, tmp_path, caplog):
    place = tmp_path / "place"
    first, second = db.snapshot(place), db.snapshot(place)
    path = place / "snapshots" / f"{second.name}.json"
    for damaged in (path.read_bytes().replace(b'"docs": 4', b'"docs": 5'), b"{}", b"\0" * 100):
        path.write_bytes(damaged)
        with pytest.raises(bebr.CorruptFile, match=path.name):
            bebr.restore(place, tmp_path / "back")
    assert bebr.snapshots(place) == [first]
    assert path.name in caplog.text
    bebr.restore(place, tmp_path / "back", snapshot=first.name)


def test_a_manifest_names_no_file_outside(db, tmp_path):
    place = tmp_path / "place"
    made = db.snapshot(place)
    path = place / "snapshots" / f"{made.name}.json"
    manifest = Manifest.parse(path.read_bytes(), "")
    for name in ("../outside", "models/../../outside", "/outside"):
        entries = dict(manifest.files) | {name: manifest.files["catalog.db"]}
        path.write_bytes(Manifest(made, entries).packed())
        with pytest.raises(bebr.CorruptFile, match="no name of a snapshot or of a file"):
            bebr.restore(place, tmp_path / "back")


def test_damage_in_the_source_is_named_and_makes_no_snapshot(db, tmp_path):
    place = tmp_path / "place"
    (segment,) = (tmp_path / "data" / "segments").glob("*.bebr")
    data = segment.read_bytes()
    segment.write_bytes(data[:-70] + bytes([data[-70] ^ 1]) + data[-69:])
    with pytest.raises(bebr.CorruptFile, match=str(segment)):
        db.snapshot(place)
    segment.unlink()
    with pytest.raises(bebr.CorruptFile, match=f"{segment} is missing"):
        db.snapshot(place)
    assert bebr.snapshots(place) == []
    segment.write_bytes(data)
    db.snapshot(place)


def test_a_snapshot_that_ends_half_way_leaves_the_older_ones(db, tmp_path, vectors, queries, monkeypatch):
    place = tmp_path / "place"
    first, before = db.snapshot(place), answers(db, queries)
    db.collection("docs").upsert([900], vectors[:1])
    db.collection("docs").settle()
    write = places.FolderPlace.write
    for folder in ("segments", "catalogs", "snapshots"):

        def fail(self, name, pieces, folder=folder):
            if name.startswith(folder):
                raise OSError("the place is gone")
            write(self, name, pieces)

        monkeypatch.setattr(places.FolderPlace, "write", fail)
        with pytest.raises(OSError, match="the place is gone"):
            db.snapshot(place)
        monkeypatch.undo()
        assert bebr.snapshots(place) == [first]
    db.snapshot(place)
    bebr.restore(place, tmp_path / "back", snapshot=first.name)
    with bebr.open(tmp_path / "back") as back:
        assert answers(back, queries) == before
    assert not list((tmp_path / "data").glob("links.tmp*"))


def test_a_manifest_that_did_not_get_its_name_is_no_snapshot(db, tmp_path):
    folder = tmp_path / "place" / "snapshots"
    made = db.snapshot(tmp_path / "place")
    whole = (folder / f"{made.name}.json").rename(folder / f"{made.name}.json.tmp0123456789abcdef.json")
    assert whole.exists()
    assert bebr.snapshots(tmp_path / "place") == []


KILLED = """
import sys, threading
import numpy as np
import bebr
from bebr.store.database import Database

folder, place, model = sys.argv[1:]
x = np.random.default_rng(0).standard_normal((4000, 64)).astype("f4")
db = Database(folder, seal_rows=100)
docs = db.create_collection("docs", bebr.Binarizer.load(model))

def write():
    for w in range(10**6):
        docs.upsert(np.arange(10 * w % 4000, 10 * w % 4000 + 10), x[:10], [{"write": w}] * 10)

threading.Thread(target=write, daemon=True).start()
while True:
    print(db.snapshot(place).name, flush=True)
"""


def test_a_kill_leaves_whole_snapshots_and_nothing_else(tmp_path, bz):
    bz.save(tmp_path / "m.safetensors")
    place = tmp_path / "place"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "data"), str(place), str(tmp_path / "m.safetensors")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(3)]
        time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    names = [info.name for info in bebr.snapshots(place)]
    assert names[:3] == told
    for name in names:
        bebr.restore(place, tmp_path / name, snapshot=name)
        with bebr.open(tmp_path / name) as back:
            docs = back.collection("docs")
            assert len(docs) % 10 == 0
            assert None not in docs.get(np.arange(len(docs)))
    bebr.open(tmp_path / "data").close()
    assert not list((tmp_path / "data").glob("links.tmp*"))


def test_a_place_may_be_a_url(db, tmp_path, queries):
    pytest.importorskip("fsspec")
    url = f"memory://{tmp_path.name}/place"
    assert bebr.snapshots(url) == []
    made = db.snapshot(url)
    assert db.snapshot(url).new_files == 0
    assert bebr.snapshots(url)[0] == made
    bebr.restore(url, tmp_path / "back")
    with bebr.open(tmp_path / "back") as back:
        assert answers(back, queries) == answers(db, queries)


def test_a_url_is_read_like_a_folder(db, tmp_path):
    pytest.importorskip("fsspec")
    made = db.snapshot((tmp_path / "place").as_uri())
    assert bebr.snapshots(tmp_path / "place") == [made]


def test_the_shell_takes_urls(db, tmp_path):
    pytest.importorskip("fsspec")
    url = (tmp_path / "place").as_uri()
    assert f"{url}: no snapshots" in done("snapshot", "list", url).stderr
    made = db.snapshot(url)
    assert made.name in done("snapshot", "list", url).stdout
    assert made.name in done("snapshot", "restore", url, tmp_path / "back").stdout
    assert made.name in done("snapshot", "restore", url, tmp_path / "back", "--collection", "docs", "--as", "2").stdout


def test_a_url_that_cannot_be_reached_is_named(db, tmp_path, monkeypatch):
    memory = pytest.importorskip("fsspec.implementations.memory")

    def away(*arguments: object, **options: object) -> None:
        raise RuntimeError("no credentials")

    url = f"memory://{tmp_path.name}"
    monkeypatch.setattr(memory.MemoryFileSystem, "ls", away)
    said = f"{url} cannot be reached: RuntimeError('no credentials')"
    assert said in refused("snapshot", "list", url)
    with pytest.raises(ConnectionError) as error:
        db.snapshot(url)
    assert str(error.value) == said


def test_a_url_whose_package_is_missing_is_said_in_one_line(monkeypatch):
    pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    assert refused("snapshot", "list", "gs://bucket/x").startswith("error: reaching gs://bucket/x: ")


def test_a_restore_makes_the_folder_that_one_is_in_or_a_link_leads_to(db, tmp_path, queries, monkeypatch):
    db.snapshot(tmp_path / "place")
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "here")
    done("snapshot", "restore", tmp_path / "place", ".")
    done("snapshot", "restore", tmp_path / "place", tmp_path / "link")
    for name in ("here", "there"):
        with bebr.open(tmp_path / name) as back:
            assert answers(back, queries) == answers(db, queries)
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "mounted")
    (tmp_path / "mounted").mkdir()
    assert "where a file system is mounted" in refused("snapshot", "restore", tmp_path / "place", tmp_path / "mounted")


def test_bad_input_is_named(db, tmp_path):
    place = tmp_path / "place"
    with pytest.raises(KeyError, match="no snapshot in"):
        bebr.restore(place, tmp_path / "back")
    db.snapshot(place)
    with pytest.raises(KeyError, match="no snapshot 'yesterday' in"):
        bebr.restore(place, tmp_path / "back", snapshot="yesterday")
    with pytest.raises(ValueError, match="want a folder that is empty, or that is not there"):
        bebr.restore(place, tmp_path / "data")
    (tmp_path / "empty").mkdir()
    bebr.restore(place, tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="holds no database"):
        backup.create(backup.Folder(tmp_path / "nowhere"), place)
    db.close()
    with pytest.raises(ValueError, match="is closed"):
        db.snapshot(place)


def test_the_command_line_makes_lists_and_restores(db, tmp_path):
    place = tmp_path / "place"
    made = done("snapshot", "create", tmp_path / "data", place)  # which is open here
    listed = done("snapshot", "list", place).output
    assert "docs at 4" in listed
    assert made.output.split(":")[0] in listed
    back = done("snapshot", "restore", place, tmp_path / "back")
    assert json.loads(next((place / "snapshots").glob("*.json")).read_text())["info"]["name"] in back.output
    assert run("snapshot", "restore", place, tmp_path / "back").exit_code == 2
