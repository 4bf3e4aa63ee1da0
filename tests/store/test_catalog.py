"""The catalog in a file: that no changed, lost or added row goes unnoticed. What holds of every catalog:
test_catalog_contract."""

from __future__ import annotations

import logging
import re
import shutil
import sqlite3
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import bebr
from bebr.errors import CorruptFile, LimitExceeded
from bebr.store.backup.doctor import examine
from bebr.store.catalog.file import FileCatalog
from bebr.store.catalog.names import successor_of
from bebr.store.catalog.records import Operation, SegmentRow
from bebr.store.catalog.versions import Slot, read_slots
from bebr.store.files.folder import Folder


def upsert(first, count=3, payloads=()):
    ids = np.arange(first, first + count)
    return Operation(
        "upsert", ids, np.full((count, 8), first % 256, np.uint8), np.ones((count, 2), np.uint8), list(payloads)
    )


def delete(*ids):
    return Operation("delete", np.array(ids))


def segment(name, dead=b""):
    return SegmentRow(f"{name}.bebr", 100, 6400, "0123456789abcdef", dead)


def journal(catalog, id):
    return [(o.version, o.kind, o.ids.tolist(), o.payloads) for o in catalog.operations(id)]


@pytest.fixture
def catalog(tmp_path):
    """Two collections, 1 and 2; the first with two segments, one with dead rows, and three writes."""
    made = FileCatalog(Folder(tmp_path))
    made.add_model("00112233445566aa")
    for name in ("docs", "other"):
        made.create_collection(name, "00112233445566aa")
    made.commit([(1, upsert(0)), (2, upsert(0, payloads=["{}", "", '{"a": 1}']))])
    made.install(1, [segment("a"), segment("b")], [], {}, 1)
    made.install(1, [segment("c")], ["b.bebr"], {"a.bebr": b"\x07" + bytes(7)}, 1)
    made.commit([(1, upsert(10)), (1, delete(10)), (2, delete(1)), (1, upsert(20, payloads=["{}"] * 3))])
    yield made
    made.close()


CHANGES = {
    "meta": ["value"],
    "models": ["digest"],
    "collections": [
        "name",
        "model",
        "created",
        "dropped",
        "version",
        "sealed",
        "segments",
        "operations",
        "journal_bytes",
    ],
    "segments": ["number", "file", "rows", "bytes", "digest", "dead"],
    "operations": ["version", "part", "kind", "ids", "planes", "factors", "payloads"],
}
COLUMNS = [(table, column) for table, columns in CHANGES.items() for column in [*columns, "crc"]]


def read_all(catalog):
    for name in ("docs", "other"):
        for id in (catalog.collection(name).id,):
            catalog.manifest(id), list(catalog.operations(id))


def changed(tmp_path, statement, *parameters):
    """The catalog of `tmp_path`, closed, after a statement of somebody else's; opened again."""
    with sqlite3.connect(tmp_path / "catalog.db") as db:
        assert db.execute(statement, parameters).rowcount == 1
    db.close()
    return FileCatalog(Folder(tmp_path))


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda x: str(x))
@pytest.mark.parametrize("kind", ["value", "type"])
def test_any_changed_field_is_noticed_and_costs_its_collection_only(catalog, tmp_path, table, column, kind, caplog):
    catalog.close()
    where = {"collections": "id = 1", "meta": "key = 'next_collection'", "models": "1"}.get(table, "collection = 1")
    value = f"CASE typeof({column}) WHEN 'integer' THEN {column} + 2 WHEN 'text' THEN {column} || '1' ELSE x'07' END"
    new = "1.5" if kind == "type" else value
    key = {"segments": "number", "operations": "version"}.get(table)
    where += f" AND {key} = (SELECT max({key}) FROM {table} WHERE {where})" if key else ""
    opened = changed(tmp_path, f"UPDATE {table} SET {column} = {new} WHERE {where}")
    message = rf"catalog\.db: table '{table}'.*(checksum expected|holds a)"
    if table == "models":
        assert re.search(message, caplog.text) and opened.models() == []
    elif table == "meta":
        with pytest.raises(CorruptFile, match=message + ".*no collection can be created"):
            opened.create_collection("new", "")
    else:
        with pytest.raises(CorruptFile, match=message + ".*'docs'|" + message) as error:
            read_all(opened)
        assert "docs" in str(error.value) and "costs this collection" in str(error.value)
        assert len(journal(opened, 2)) == 2 and opened.collections() == ["docs", "other"]
    opened.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM segments WHERE file = 'a.bebr'",
        "DELETE FROM operations WHERE collection = 1 AND version = 6",
        "INSERT INTO operations SELECT collection, 9, part, kind, ids, planes, factors, payloads, vectors, model, "
        "id_keys, bare, crc FROM operations WHERE collection = 1 AND version = 6",
        "UPDATE operations SET collection = 2 WHERE collection = 1 AND version = 6",
    ],
)
def test_a_lost_or_added_row_is_noticed(catalog, tmp_path, statement):
    catalog.close()
    opened = changed(tmp_path, statement)
    with pytest.raises(CorruptFile, match=r"has \d rows of collection|checksum expected"):
        read_all(opened)
    opened.close()


def test_a_lost_collection_is_missed(catalog, tmp_path):
    catalog.close()
    opened = changed(tmp_path, "DELETE FROM collections WHERE name = 'docs'")
    assert opened.collections() == ["docs", "other"] and not opened.sound
    with pytest.raises(CorruptFile, match="lacks the last 6 of 6 acknowledged writes and seals of collection 'docs'"):
        opened.collection("docs")
    opened.drop_collection("docs")
    opened.close()
    opened = FileCatalog(Folder(tmp_path))
    assert opened.collections() == ["other"] and opened.sound
    opened.close()


def killed(catalog, tmp_path):
    """A copy of the folder as a killed process would leave it; its write-ahead log."""
    copy = tmp_path / "killed"
    copy.mkdir()
    for file in tmp_path.iterdir():
        if file.is_file():
            shutil.copy(file, copy)
    return copy / "catalog.db-wal"


def test_every_damage_of_the_log_is_noticed_and_names_what_was_lost(catalog, tmp_path):
    log = killed(catalog, tmp_path)
    whole, folder = log.read_bytes(), log.parent
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    frame = 24 + 4096
    assert (len(whole) - 32) % frame == 0
    costs = set()
    for at in (*range(0, len(whole), 2 * frame), 10, len(whole) - 1):
        for file, data in kept.items():
            (folder / file).write_bytes(data)
        log.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        opened = FileCatalog(Folder(folder))
        lost = set()
        for name in opened.collections():
            try:
                opened.manifest(opened.collection(name).id)
            except CorruptFile as error:
                missing, of = re.search(r"the last (\d) of (\d) ack", str(error)).groups()
                lost.add((name, int(missing), int(of)))
        opened.close()
        assert lost and lost <= {("docs", n, 6) for n in range(7)} | {("other", n, 2) for n in range(3)}
        costs |= lost
        assert any(file.name.startswith("catalog.db-wal.") for file in (folder / "quarantine").iterdir())
    assert {("docs", 6, 6), ("docs", 3, 6)} <= costs


def test_a_missing_log_is_noticed(catalog, tmp_path):
    log = killed(catalog, tmp_path)
    log.unlink()
    opened = FileCatalog(Folder(log.parent))
    assert opened.collections() == ["docs", "other"]
    with pytest.raises(CorruptFile, match="6 of 6"):
        opened.collection("docs")
    opened.close()


def test_versions_may_be_older_than_the_catalog_but_damage_to_them_is_named(catalog, tmp_path, caplog):
    path = tmp_path / "catalog.versions"
    catalog.close()
    before = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        for data in (before[:256] + before[256:].replace(b"other", b"othes"), before[:300], before + b"x"):
            path.write_bytes(data)
            caplog.clear()
            opened = FileCatalog(Folder(tmp_path))
            read_all(opened)
            opened.close()
            assert re.search(r"catalog\.versions: slot [12] (checksum expected|has \d+ of 256)", caplog.text)
            assert path.read_bytes() == before
        path.unlink()
        caplog.clear()
        opened = FileCatalog(Folder(tmp_path))
        read_all(opened)
        opened.commit([(1, delete(1))])
        opened.close()
        assert "catalog.versions is missing or empty" in caplog.text and len(path.read_bytes()) == len(before)
    path.write_bytes(before)  # as after a power failure: it is not synced
    opened = FileCatalog(Folder(tmp_path))
    assert opened.sound and opened.manifest(1).version == 7
    opened.close()


def test_a_damaged_structure_is_read_as_far_as_possible_and_not_written(catalog, tmp_path):
    for n in range(40):
        catalog.commit([(2, upsert(n * 100, 100))])
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.db") as db:
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'segments'").fetchone()[0]
    db.close()
    data = bytearray((tmp_path / "catalog.db").read_bytes())
    data[(root - 1) * 4096 : root * 4096] = bytes(4096)
    (tmp_path / "catalog.db").write_bytes(data)
    opened = FileCatalog(Folder(tmp_path))
    with pytest.raises(CorruptFile, match=r"catalog\.db is damaged: .*it costs this collection"):
        opened.manifest(1)
    assert len(journal(opened, 2)) == 42
    for call in (lambda: opened.commit([(2, delete(1))]), lambda: opened.drop_collection("docs")):
        with pytest.raises(CorruptFile, match="nothing more is written to a damaged catalog"):
            call()
    opened.close()


def test_a_full_disk_refuses_writes_but_lets_through_what_frees_space(catalog, tmp_path):
    class Full:
        def __init__(self):
            self.tries = self.released = 0

        def release(self):
            self.released += 1
            return self.released == 1

        def fill(self, log_bytes):
            pass

    full = catalog._sql._reserve = Full()
    original = catalog._sql._write_once

    def write_once(work, done):
        full.tries += 1
        if not full.released:
            raise LimitExceeded("no space left")
        return original(work, done)

    catalog._sql._write_once = write_once
    with pytest.raises(LimitExceeded):
        catalog.commit([(1, upsert(50))])
    assert full.tries == 1 and catalog.commit([(1, delete(20))]) == [7] and full.tries == 3


def test_concurrent_commits_and_reads(catalog):
    def work(n):
        for i in range(20):
            catalog.commit([(1, upsert(1000 * n + i, 1)), (2, delete(i))])
            catalog.manifest(2)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert catalog.manifest(1).version == 86 and catalog.manifest(2).operations == 82
    assert [version for version, *_ in journal(catalog, 1)] == list(range(4, 87))
    slots, _ = read_slots(catalog._versions.path.read_bytes())
    assert {slot.name: slot.version for slot in slots.values()} == {"docs": 86, "other": 82}


def test_aliases_stay_and_a_damaged_one_costs_itself_only(tmp_path):
    with bebr.open(tmp_path) as db:
        docs = db.create_collection("docs", dim=8)
        docs.upsert([1], np.ones((1, 8)))
        db.set_alias("live", "docs")
        db.set_alias("latest", "docs")
    with bebr.open(tmp_path) as db:
        assert db.aliases() == {"latest": "docs", "live": "docs"} and len(db.collection("live")) == 1
    with sqlite3.connect(tmp_path / "catalog.db") as db:
        db.execute("UPDATE aliases SET target = 7 WHERE name = 'live'")
    db.close()
    findings = examine(tmp_path)
    assert findings and all("'live'" in finding.problem and finding.costs == "nothing" for finding in findings)
    with bebr.open(tmp_path) as db:
        assert db.aliases() == {"latest": "docs"} and len(db.collection("docs")) == 1
        db.set_alias("live", "docs")
    with bebr.open(tmp_path) as db:
        assert db.aliases() == {"latest": "docs", "live": "docs"}
    assert examine(tmp_path) == []


def test_the_slot_of_a_successor_holds_the_longest_name() -> None:
    slot = Slot(7, successor_of("n" * 128), 3)
    assert read_slots(slot.packed(0)) == ({0: slot}, {})


@pytest.mark.parametrize("texts", [[], ["", "", ""], ['{"a": 1}', "", "{}"], ['{"a": "ü"}', "", '{"b": "日本"}']])
def test_payloads_of_a_write_come_back_from_the_bytes_of_the_journal(texts):
    (part,) = upsert(0, payloads=texts).parts()
    assert len(part["payloads"]) == (4 * 3 + len("".join(texts).encode()) if any(texts) else 0)
    assert Operation.of_part(SimpleNamespace(**part, version=1)).payloads == (texts if any(texts) else [])
