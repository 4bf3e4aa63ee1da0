"""What a catalog promises, whichever database it is in: a file of SQLite or a schema of PostgreSQL."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from bebr.collection.protocol import AlreadyExists
from bebr.errors import CorruptFile
from bebr.store.catalog import records
from bebr.store.catalog.file import FileCatalog
from bebr.store.catalog.protocol import Catalog
from bebr.store.catalog.records import Operation, SegmentRow, Settings
from bebr.store.catalog.shared import SharedCatalog
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


@dataclass
class Place:
    """`open`: the catalog that is there, by a process that writes all of its collections; `execute`: a statement of
    somebody else's; `byte`: how such a statement writes one."""

    open: Callable[[], Catalog]
    execute: Callable[[str], None]
    byte: str


class Writing(SharedCatalog):
    """Takes every lease that a write needs."""

    def _own_row(self, db, collection):
        return self._row(db, collection, lock=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path) -> Place:
    if request.param == "sqlite":
        engine = sa.create_engine(f"sqlite:///{tmp_path}/catalog.db")
        opened, byte = lambda: FileCatalog(Folder(tmp_path)), "x'07'"
    else:
        url = sa.make_url(request.getfixturevalue("postgres").schema())
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
        opened, byte = lambda: Writing(url), r"'\x07'::bytea"

    def execute(statement: str) -> None:
        with engine.begin() as db:
            assert db.exec_driver_sql(statement).rowcount == 1
        engine.dispose()

    return Place(opened, execute, byte)


@pytest.fixture
def catalog(place) -> Iterator[Catalog]:
    """Two collections, 1 and 2; the first with two segments, one with dead rows, and three writes."""
    with closing(place.open()) as made:
        made.add_model("00112233445566aa")
        for name in ("docs", "other"):
            made.create_collection(name, "00112233445566aa")
        made.commit([(1, upsert(0)), (2, upsert(0, payloads=["{}", "", '{"a": 1}']))])
        made.install(1, [segment("a"), segment("b")], [], {}, 1)
        made.install(1, [segment("c")], ["b.bebr"], {"a.bebr": b"\x07" + bytes(7)}, 1)
        made.commit([(1, upsert(10)), (1, delete(10)), (2, delete(1)), (1, upsert(20, payloads=["{}"] * 3))])
        yield made


def test_writes_of_several_collections_share_a_transaction_and_come_back(catalog, place):
    def check(catalog):
        assert journal(catalog, 1) == [
            (4, "upsert", [10, 11, 12], []),
            (5, "delete", [10], []),
            (6, "upsert", [20, 21, 22], ["{}"] * 3),
        ]
        assert journal(catalog, 2) == [(1, "upsert", [0, 1, 2], ["{}", "", '{"a": 1}']), (2, "delete", [1], [])]
        operation = next(catalog.operations(1))
        assert operation.planes.tolist() == [[10] * 8] * 3 and operation.factors.shape == (3, 2)
        manifest = catalog.manifest(1)
        assert (manifest.version, manifest.sealed, manifest.operations) == (6, 1, 3)
        assert manifest.segments == (segment("a", b"\x07" + bytes(7)), segment("c"))
        assert manifest.journal_bytes == 3 * (8 + 8 + 2) + 8 + 3 * (8 + 8 + 2) + 3 * (4 + 2)
        assert catalog.files() == {"a.bebr", "c.bebr"} and catalog.removed() == ["b.bebr"]
        for after, versions in ((None, [4, 5, 6]), (4, [5, 6]), (6, [])):
            with catalog.contents(1, after) as (now, operations):
                assert now == manifest and [operation.version for operation in operations] == versions
        return manifest

    manifest = check(catalog)
    with pytest.raises(KeyError, match="9"):
        catalog.commit([(1, upsert(30)), (9, upsert(30))])
    assert catalog.manifest(1) == manifest
    catalog.close()
    with closing(place.open()) as again:
        check(again)
        again.forget(["b.bebr"])
        assert again.removed() == [] and again.models() == ["00112233445566aa"] and again.sound


def test_writes_may_go_on_beside_a_seal(catalog):
    changed = replace(catalog.collection("docs"), settings=Settings(keep="int8"))
    assert catalog.install(1, [segment("d")], [], {}, 5, changed) == 7
    assert catalog.collection("docs").settings.keep == "int8"
    assert journal(catalog, 1) == [(6, "upsert", [20, 21, 22], ["{}"] * 3)]
    assert catalog.commit([(1, delete(20))]) == [8]
    assert [version for version, *_ in journal(catalog, 1)] == [6, 8]
    for wrong in ({"through_version": 4}, {"through_version": 9}, {"removed": ["x.bebr"]}, {"dead": {"x.bebr": b""}}):
        with pytest.raises(ValueError, match=r"want 5 to 8|no segment"):
            catalog.install(**{"collection": 1, "added": [], "removed": [], "dead": {}, "through_version": 8} | wrong)


def test_a_write_of_many_rows_is_stored_in_parts(catalog, monkeypatch):
    monkeypatch.setattr(records, "PART_ROWS", 4)
    monkeypatch.setattr(records, "PART_PAYLOADS", 10)
    assert catalog.commit([(2, upsert(100, 10)), (2, upsert(200, 5, ["123456", "", "12345678", "", "1"]))]) == [3, 4]
    parts = [(version, ids, texts) for version, _, ids, texts in journal(catalog, 2)[2:]]
    assert [(v, len(ids)) for v, ids, _ in parts] == [(3, 4), (3, 4), (3, 2), (4, 3), (4, 2)]
    assert [ids for v, ids, _ in parts if v == 4] == [[200, 201, 202], [203, 204]]
    assert [texts for v, _, texts in parts if v == 4] == [["123456", "", "12345678"], ["", "1"]]


def test_names_are_taken_once_and_numbers_never_again(catalog):
    with pytest.raises(AlreadyExists, match="'docs' already exists"):
        catalog.create_collection("docs", "")
    assert sorted(catalog.drop_collection("docs")) == ["a.bebr", "c.bebr"]
    assert sorted(catalog.removed()) == ["a.bebr", "b.bebr", "c.bebr"]
    for call in (lambda: catalog.manifest(1), lambda: next(catalog.operations(1)), lambda: catalog.collection("docs")):
        with pytest.raises(KeyError):
            call()
    assert catalog.create_collection("docs", "").id == 3
    assert journal(catalog, 3) == [] and catalog.files() == set()


def test_aliases_go_with_their_collection(catalog, place):
    seen = []
    catalog.watch_aliases(lambda aliases: seen.append(dict(aliases)))
    catalog.set_alias("live", "docs")
    with pytest.raises(AlreadyExists, match="alias of 'docs'"):
        catalog.create_collection("live", "")
    with pytest.raises(AlreadyExists, match="'other' is a collection"):
        catalog.set_alias("other", "docs")
    catalog.set_alias("live", "other")
    changes = [aliases for aliases, _ in groupby(seen)]
    assert catalog.resolved("live") == "other" and changes == [{}, {"live": "docs"}, {"live": "other"}]
    told = len(seen)
    catalog.create_collection("more", "")
    assert len(seen) > told  # a listing of all names is another now
    catalog.set_alias("old", "docs")
    catalog.drop_collection("docs")
    assert catalog.aliases() == {"live": "other"}
    catalog.close()
    with closing(place.open()) as again:
        assert again.aliases() == {"live": "other"}
        again.drop_alias("live")
        with pytest.raises(KeyError, match="no alias"):
            again.drop_alias("live")


def test_a_successor_takes_the_place_of_a_collection(catalog):
    row, heir = catalog.create_successor(catalog.collection("docs"), "00112233445566aa", Settings(keep="int8"))
    catalog.commit([(1, upsert(40)), (heir.id, upsert(40))])
    catalog.set_alias("live", "docs")
    assert catalog.collections() == ["docs", "other"] and row.settings.successor in catalog.collections(hidden=True)
    first, second = catalog.exchange(row, Settings(keep="int8", successor=row.settings.successor), Settings())
    assert (first.id, first.name, second.id) == (heir.id, "docs", 1)
    assert catalog.collection("docs") == first and catalog.resolved("live") == "docs"
    left, files = catalog.drop_successor(first)
    assert sorted(files) == ["a.bebr", "c.bebr"] and left.settings.successor == ""
    assert catalog.collections(hidden=True) == ["docs", "other"] and len(journal(catalog, heir.id)) == 1


CHANGES = {
    "collections": ["version", "sealed", "segments", "journal_bytes"],
    "segments": ["file", "rows", "dead"],
    "operations": ["kind", "ids", "payloads"],
}


@pytest.mark.parametrize(("table", "column"), [(table, column) for table in CHANGES for column in CHANGES[table]])
def test_a_changed_field_is_noticed_and_costs_its_collection_only(catalog, place, table, column):
    catalog.close()
    kinds = {"file": "'x'", "kind": "'x'", "dead": place.byte, "ids": place.byte, "payloads": place.byte}
    new = kinds.get(column, f"{column} + 2")
    keys = {"collections": "id = 1", "segments": "collection = 1 AND number = 1"}
    where = keys.get(table, "collection = 1 AND version = 6")
    place.execute(f"UPDATE {table} SET {column} = {new} WHERE {where}")
    with closing(place.open()) as opened:
        with pytest.raises(CorruptFile, match=rf"table '{table}'.*checksum expected.*costs this collection") as error:
            opened.manifest(opened.collection("docs").id), list(opened.operations(1))
        assert re.search("docs", str(error.value))
        assert len(journal(opened, 2)) == 2 and opened.collections() == ["docs", "other"]


def test_a_lost_row_is_noticed(catalog, place):
    catalog.close()
    place.execute("DELETE FROM operations WHERE collection = 1 AND version = 5")
    with closing(place.open()) as opened, pytest.raises(CorruptFile, match="has 2 rows of collection 'docs'"):
        journal(opened, 1)


def test_commits_and_reads_beside_each_other(catalog):
    def work(n):
        for i in range(5):
            catalog.commit([(1, upsert(1000 * n + i, 1)), (2, delete(i))])
            with catalog.contents(2) as (manifest, operations):
                assert manifest.operations == len(list(operations))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert catalog.manifest(1).version == 26 and catalog.manifest(2).operations == 22
    assert [version for version, *_ in journal(catalog, 1)] == list(range(4, 27))


WRITES = st.lists(st.one_of(st.integers(0, 9).map(upsert), st.just(None), st.booleans()), max_size=12)


@given(WRITES)
@settings(max_examples=15, deadline=None)
def test_a_journal_is_a_list_that_seals_shorten(_catalogs, writes):
    """None: all is sealed; True: all but the last write."""
    for catalog in _catalogs:
        number = catalog.create_collection(f"c{len(catalog.collections())}", "").id
        version = sealed = files = 0
        expected = []
        for write in writes:
            if isinstance(write, Operation):
                version = catalog.commit([(number, write)])[0]
                expected.append((version, "upsert", write.ids.tolist(), []))
            else:
                through = max(sealed, version - (1 if write and expected else 0))
                version = catalog.install(number, [segment(f"{number}-{files}")], [], {}, through)
                sealed, files, expected = through, files + 1, [each for each in expected if each[0] > through]
            manifest = catalog.manifest(number)
            assert (manifest.version, manifest.sealed, len(manifest.segments)) == (version, sealed, files)
            assert journal(catalog, number) == expected and manifest.operations == len(expected)


@pytest.fixture(scope="module")
def _catalogs(postgres, tmp_path_factory):
    file, shared = FileCatalog(Folder(tmp_path_factory.mktemp("catalog"))), Writing(sa.make_url(postgres.schema()))
    yield file, shared
    file.close()
    shared.close()
