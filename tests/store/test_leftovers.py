"""What a killed writer left in the object store is deleted by the next one, and what a living one is about to commit is
not."""

from __future__ import annotations

import pytest

from tests.commands import run
from tests.conftest import model_of
from tests.store.leases import expire, seen

NAME = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def bz(vectors):
    return model_of(vectors, widths=[48, 16])


def tidied(db) -> None:
    """What the thread does every third of a lease."""
    db._home._follower._renew()


def test_only_what_nobody_can_commit_any_more_is_deleted(shared, postgres, bz, vectors, tmp_path):
    folder = tmp_path / "segments" / "segments"
    with shared.open() as first, shared.open() as second:
        docs, other = first.create_collection("docs", bz), first.create_collection("other", bz)
        docs.upsert(range(50), vectors[:50])
        docs.flush()
        other.upsert(range(50), vectors[:50])
        seen(second)
        tidied(first)
        listed = {path.name for path in folder.iterdir()}
        ours, theirs, gone = (f"{number}-{NAME}.bebr" for number in (docs.number, other.number, 99))
        for name in (ours, f"{ours}.tmp0a1b", theirs, gone, "notes.txt"):
            (folder / name).write_bytes(b"?")
        tidied(first)  # it has taken no lease since
        assert {path.name for path in folder.iterdir()} - listed == {ours, f"{ours}.tmp0a1b", theirs, gone, "notes.txt"}
        expire(postgres, shared)
        second.collection("docs").upsert([50], vectors[50:51])  # `first` was not heard of for so long
        tidied(second)
        assert {path.name for path in folder.iterdir()} - listed == {theirs, "notes.txt"}
        second.collection("docs").settle()
        assert len(second.collection("docs")) == 51


def test_a_writers_own_files_on_their_way_stay(shared, bz, vectors, tmp_path, monkeypatch):
    with shared.open() as db:
        docs, files = db.create_collection("docs", bz), db._home.files
        docs.upsert(range(50), vectors[:50])
        publish = files.publish

        def tidied_meanwhile(row) -> None:
            publish(row)
            tidied(db)

        monkeypatch.setattr(files, "publish", tidied_meanwhile)
        docs.flush()
        assert docs.stats().segments == 1
    with shared.open() as db:
        assert len(db.collection("docs")) == 50


def test_a_seal_whose_file_was_deleted_meanwhile_is_made_anew(
    two, shared, postgres, bz, vectors, tmp_path, monkeypatch
):
    """Another process had the lease while the file was on its way, and wrote nothing: the collection is as it was, and
    yet the file is gone."""
    first, second = two
    docs = first.create_collection("docs", bz)
    docs.upsert(range(50), vectors[:50])
    seen(second)
    there, files, deleted = second.collection("docs"), first._home.files, []
    publish = files.publish

    def late(row) -> None:
        publish(row)
        if not deleted:
            expire(postgres, shared)
            assert there.delete([10_000]) == 0
            deleted.extend(second._home._leftovers.remove([docs.number]))
            tidied(first)  # it hears that it lost the lease
            expire(postgres, shared)

    monkeypatch.setattr(files, "publish", late)
    docs.flush()
    assert len(deleted) == 1
    with shared.open() as third:
        assert len(third.collection("docs")) == 50 and third.collection("docs").stats().segments == 1


def test_doctor_reads_every_byte_of_a_shared_database(shared, postgres, bz, vectors, tmp_path):
    folder = tmp_path / "segments" / "segments"
    with shared.open() as db:
        docs = db.create_collection("docs", bz)
        docs.upsert(range(50), vectors[:50])
        docs.flush()
        docs.upsert(range(50, 60), vectors[50:60])
        fine = run("doctor", shared.url, "--segments", shared.segments)  # while it is open
        assert fine.exit_code == 0 and fine.stdout.strip().endswith("healthy"), fine.output
    file = next(folder.iterdir())
    (folder / f"99-{NAME}.bebr").write_bytes(b"?")
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    postgres.execute("UPDATE operations SET crc = crc + 1", shared.url)
    told = run("doctor", shared.url, "--segments", shared.segments).stdout
    assert "2 damages" in told and file.name in told and "table 'operations'" in told and f"99-{NAME}" in told
    file.unlink()
    assert f"{file.name} is missing" in run("doctor", shared.url, "--segments", shared.segments).stdout
    assert "there is no database" in run("doctor", postgres.schema(), "--segments", shared.segments).stderr
    assert "--segments is missing" in run("doctor", shared.url).stderr
